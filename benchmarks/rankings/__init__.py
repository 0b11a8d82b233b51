"""BitFit runs on small bases, and how the ways of ranking their biases agree: docs/rankings.md."""
