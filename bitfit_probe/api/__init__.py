"""What the package offers: from paths and examples to a record. One module a question, one call a command."""
