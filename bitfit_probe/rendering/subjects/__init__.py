"""Builders: a module a subject, records in, blocks out. They write no markup and escape nothing."""
