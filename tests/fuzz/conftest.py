"""What the collection of tests leaves alone here."""

#: A program with side effects and what it alone needs, which the collection of doctests would import.
collect_ignore = ["fuzz.py", "mutators.py"]
