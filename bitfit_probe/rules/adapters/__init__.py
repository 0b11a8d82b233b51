"""BP5xx, adapters and merges."""
