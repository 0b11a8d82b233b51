"""What the files of a checkpoint promise of its weights: one file an artefact, found by listing."""

from bitfit_probe.promises.case import Case, word_embedding
from bitfit_probe.promises.registry import promises_of, promises_of_pair

__all__ = ["Case", "promises_of", "promises_of_pair", "word_embedding"]
