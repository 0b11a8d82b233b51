"""BP111."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.interface import Attempt, Rule, file_rule
from bitfit_probe.rules.loading import opened

__all__ = ["quantised"]

#: What quantisers store beside or instead of a weight, and who does.
_MARKS = {
    "bitsandbytes 4-bit": re.compile(r"\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..*)$"),
    "bitsandbytes 8-bit": re.compile(r"\.(SCB|weight_format)$"),
    "GPTQ or AWQ": re.compile(r"\.(qweight|qzeros|g_idx)$"),
    "HQQ": re.compile(r"\.(W_q)$"),
    "fp8 or int8 scales": re.compile(r"\.(weight_scale|weight_scale_inv|weight_packed|input_scale)$"),
}
_WHOLE_NUMBERS = ("int8", "uint8", "int32")


@file_rule(
    "BP111",
    "quantised-against-float",
    "warning",
    explains=("BP105", "BP107", "BP301", "BP307", "BP308", "BP412", "BP404", "BP601", "BP602"),
    catalogue=(43,),
)
def quantised(attempt: Attempt, this: Rule) -> Iterator[Finding]:
    """The tuned weights are quantised, the base's are not.

    What it means
    -------------
    The matrices are stored as codes of 4 or 8 bits with scales beside them.

    Why it matters
    --------------
    Codes are no weights: their differences from the base mean nothing, and what is left of a small update
    after quantisation can't be told from the file's bytes. Biases and norms, which stay in floating point,
    are compared as ever.

    How it is recognised
    --------------------
    Names such as ``absmax``, ``quant_state``, ``SCB``, ``qweight`` or ``weight_scale`` that the base lacks,
    or matrices in whole-number types that are floats in the base.

    What to do
    ----------
    Dequantise first (``model.dequantize()`` in transformers), or compare what was saved before quantising.
    An error where nothing at all could be compared.

    References
    ----------
    bitsandbytes-foundation/bitsandbytes#1946
    """
    tuned = opened(attempt)
    how, names = _marks(tuned, attempt.base)
    codes = [
        name
        for name, tensor in tuned.tensors.items()
        if tensor.dtype.name in _WHOLE_NUMBERS
        and len(tensor.shape) > 1
        and name.endswith("weight")
        and (name not in attempt.base.tensors or attempt.base.tensors[name].dtype.name not in _WHOLE_NUMBERS)
    ]
    if not names and not codes:
        return
    what = how or "whole numbers"
    yield this.finding(
        f"The tuned checkpoint is quantised ({what}: {len(names) + len(codes)} tensors such as "
        f"'{(names or codes)[0]}') and the base is not: dequantise it before comparing matrices.",
        severity="error" if attempt.case is None else "warning",
        subjects=tuple(names or codes)[:10],
        evidence=(Evidence("quantised_tensors", len(names) + len(codes), "tensors", about=what),),
        advice="Call model.dequantize() and save, or compare the weights from before quantising.",
    )


def _marks(tuned: Checkpoint, base: Checkpoint) -> tuple[str, list[str]]:
    for how, mark in _MARKS.items():
        names = [name for name in tuned.tensors if mark.search(name) and name not in base.tensors]
        if names:
            return how, names
    return "", []
