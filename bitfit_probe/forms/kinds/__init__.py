"""One form a file: `LEVEL`, and `find`, which gives it where it holds."""
