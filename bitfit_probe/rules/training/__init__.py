"""BP2xx, training: whether it trained, and long enough."""
