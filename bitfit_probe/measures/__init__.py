"""Measures on what moved, one a file; none knows another, none knows a threshold."""
