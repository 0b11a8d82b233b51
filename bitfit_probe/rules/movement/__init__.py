"""BP3xx, movement and numbers: whether the right things moved, by a sane amount."""
