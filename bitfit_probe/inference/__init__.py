"""Live models: built from config.json by transformers, filled by our own readers, so that no pickle runs.

What a directory says goes through an allow-list (`settings`, `tokenizers`), what it asks for is held against
its own tensors (`limits`), and no connection is opened meanwhile (`offline`).
"""

from bitfit_probe.inference.config import open_config
from bitfit_probe.inference.libraries import quietly
from bitfit_probe.inference.loading import Loaded, Purpose, load_model, to_torch
from bitfit_probe.inference.running import longest_text, running
from bitfit_probe.inference.tokenizer import load_tokenizer, padding_tokenizer

__all__ = [
    "Loaded",
    "Purpose",
    "load_model",
    "load_tokenizer",
    "longest_text",
    "open_config",
    "padding_tokenizer",
    "quietly",
    "running",
    "to_torch",
]
