"""The findings: what goes wrong with fine-tunes, one small rule a file, in families by code."""
