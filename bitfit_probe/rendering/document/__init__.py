"""Documents: a tree of blocks, and three writers of which each writes any of them."""
