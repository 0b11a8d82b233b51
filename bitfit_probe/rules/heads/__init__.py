"""BP4xx, heads, labels, vocabulary and tokenizer."""
