"""Trials replayed: every method on held-out folds, then on new seeds and a test set, over many tasks."""
