"""What the collection of tests leaves alone here."""

#: A program with side effects, which the collection of doctests would import.
collect_ignore = ["fuzz.py"]
