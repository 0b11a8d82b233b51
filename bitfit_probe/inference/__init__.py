"""One room for a live model on examples: loaded safely, fed in batches, asked, run with other weights.

Models are built from config.json by transformers and filled by our own readers, so that no pickle runs. What
a directory says goes through an allow-list (`settings`, `tokenizer_files`), what it asks for is held against
its own tensors (`limits`), and no connection is opened meanwhile (`offline`). What goes wrong is a ModelError
or a DataError; what that means for a rule or a measure is theirs to say.
"""

from bitfit_probe.inference.config import open_config
from bitfit_probe.inference.encoding import longest_text
from bitfit_probe.inference.libraries import quietly
from bitfit_probe.inference.live import LiveModel, Pooling, Progress
from bitfit_probe.inference.loading import Loaded, load_model, to_torch
from bitfit_probe.inference.purpose import Purpose
from bitfit_probe.inference.question import Question, ask, question_of
from bitfit_probe.inference.running import Asked, Batch, logits_of, running
from bitfit_probe.inference.tokenizer import load_tokenizer, padding_tokenizer

__all__ = [
    "Asked",
    "Batch",
    "LiveModel",
    "Loaded",
    "Pooling",
    "Progress",
    "Purpose",
    "Question",
    "ask",
    "load_model",
    "load_tokenizer",
    "logits_of",
    "longest_text",
    "open_config",
    "padding_tokenizer",
    "question_of",
    "quietly",
    "running",
    "to_torch",
]
