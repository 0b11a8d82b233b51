"""Patches: what a fine-tune moved, in a file of a few hundred kilobytes, and the base it belongs to.

numpy is all it takes; only swapping a patch into a live model (`bitfit_probe.tuning.swap`) needs torch.
"""

from bitfit_probe.tuning.patch.applying import apply_patch, verify_patch
from bitfit_probe.tuning.patch.extracting import extract_patch
from bitfit_probe.tuning.patch.manifest import FORMAT_VERSION, Manifest
from bitfit_probe.tuning.patch.reading import Patch, open_patch
from bitfit_probe.tuning.patch.schema import Entry

__all__ = [
    "FORMAT_VERSION",
    "Entry",
    "Manifest",
    "Patch",
    "apply_patch",
    "extract_patch",
    "open_patch",
    "verify_patch",
]
