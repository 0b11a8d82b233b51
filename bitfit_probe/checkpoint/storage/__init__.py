"""Bytes and what they mean: files, windows on storages, element types."""
