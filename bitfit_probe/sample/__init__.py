"""The embedded sample: a tiny pretrained BERT and its BitFit checkpoint.

What it is made from, and how good it is, is in the README beside this file.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["base_path", "tuned_path"]

_FOLDER = Path(__file__).parent


def base_path() -> Path:
    """Return the folder of the pretrained base.

    Returns
    -------
    Path
        A folder that ``AutoModelForMaskedLM`` and ``AutoTokenizer`` read.
    """
    return _FOLDER / "base"


def tuned_path() -> Path:
    """Return the folder of the base's BitFit checkpoint.

    Returns
    -------
    Path
        A folder that ``AutoModelForSequenceClassification`` and ``AutoTokenizer`` read.
    """
    return _FOLDER / "tuned"
