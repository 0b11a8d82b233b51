"""The decision: from evidence and findings to the cheapest method that will do."""
