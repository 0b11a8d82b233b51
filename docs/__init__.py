"""Pages for people, and what writes the derived ones."""
