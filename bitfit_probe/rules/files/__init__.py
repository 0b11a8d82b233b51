"""BP1xx, files and pairing: whether this is the right checkpoint, and all of it."""
