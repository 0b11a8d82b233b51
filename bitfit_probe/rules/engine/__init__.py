"""How rules are written, and how they are run; which rules there are it does not know."""
