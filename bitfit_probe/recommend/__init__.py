"""From what was measured to advice: which method to take, and what it costs."""
