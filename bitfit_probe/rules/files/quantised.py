"""BP111."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.errors import QuantisedError
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.interface import Attempt, Rule, file_rule
from bitfit_probe.rules.loading import opened

__all__ = ["quantised"]

_WHOLE_NUMBERS = ("int8", "uint8", "int32")
_ADVICE = "Call model.dequantize() and save, or compare the weights from before quantising."


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
    Names such as ``absmax``, ``quant_map``, ``SCB``, ``qweight`` or ``weight_scale``, or matrices in
    whole-number types that are floats in the base.

    What to do
    ----------
    Dequantise first (``model.dequantize()`` in transformers), or compare what was saved before quantising.
    An error where nothing at all could be compared.

    References
    ----------
    bitsandbytes-foundation/bitsandbytes#1946
    """
    if isinstance(attempt.error, QuantisedError):
        yield this.finding(
            f"The tuned checkpoint can't be compared: it holds {attempt.error.what}.",
            severity="error",
            subjects=(str(attempt.path),),
            evidence=(Evidence("quantised_tensors", attempt.error.tensors, "tensors"),),
            advice=_ADVICE,
        )
        return
    tuned = opened(attempt)
    codes = [name for name, tensor in tuned.tensors.items() if _is_code(name, tensor, attempt.base)]
    if codes:
        yield this.finding(
            f"The tuned checkpoint is quantised ({len(codes)} tensors of whole numbers such as '{codes[0]}') "
            "and the base is not: dequantise it before comparing matrices.",
            severity="error" if attempt.case is None else "warning",
            subjects=tuple(codes)[:10],
            evidence=(Evidence("quantised_tensors", len(codes), "tensors", about="whole numbers"),),
            advice=_ADVICE,
        )


def _is_code(name: str, tensor: Tensor, base: Checkpoint) -> bool:
    if tensor.dtype.name not in _WHOLE_NUMBERS or len(tensor.shape) < 2 or not name.endswith("weight"):
        return False
    return name not in base.tensors or base.tensors[name].dtype.name not in _WHOLE_NUMBERS
