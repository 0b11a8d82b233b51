"""BP111."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.errors import QuantisedError
from bitfit_probe.pair import Pair
from bitfit_probe.records import Coverage, Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["quantised"]

_WHOLE_NUMBERS = ("int8", "uint8", "int32")
_ADVICE = "Call model.dequantize() and save, or compare the weights from before quantising."


@rule(
    "BP111",
    "quantised-against-float",
    "warning",
    needs=(),
    explains=("BP105", "BP107", "BP301", "BP307", "BP308", "BP309", "BP412", "BP404", "BP601", "BP602"),
    catalogue=(43,),
)
def quantised(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The tuned weights are quantised in a form that can't be compared with the base's.

    What it means
    -------------
    The matrices are stored as codes with scales beside them, in a layout that is not read; or GPTQ or AWQ
    quantised one side, which moves weights by more than a step of its grid.

    Why it matters
    --------------
    Codes are no weights: their differences from the base mean nothing. Biases and norms, which stay in
    floating point, are compared as ever. NF4, int8, MXFP4 and most other forms are unpacked and compared
    above the quantiser's step, and are none of this rule's.

    How it is recognised
    --------------------
    Names such as ``absmax``, ``SCB``, ``qweight`` or ``weight_scale`` that are left after everything known
    was unpacked; matrices in whole-number types that are floats in the base; whole numbers in place of a
    matrix of the base under its name with something added (``_blocks``, ``_scales``, ``._data``); weights
    of GPTQ or AWQ beside others.

    What to do
    ----------
    Dequantise first (``model.dequantize()`` in transformers), or compare what was saved before quantising.
    An error where less than 95 % of the base's parameters could be compared.

    References
    ----------
    bitsandbytes-foundation/bitsandbytes#1946
    """
    if isinstance(pair.error, QuantisedError):
        yield this.finding(
            f"The tuned checkpoint can't be compared: it holds {pair.error.what}.",
            severity="error",
            subjects=(str(pair.path),),
            evidence=(Evidence("quantised_tensors", pair.error.tensors, "tensors"),),
            advice=_ADVICE,
        )
        return
    tuned = pair.tuned
    codes = [name for name, tensor in tuned.tensors.items() if _is_code(name, tensor, pair.base)]
    coverage = pair.comparison.coverage if pair.compared else None
    lost = 0 if coverage is None else coverage.lacking("quantised")
    if coverage is not None and lost:
        yield _partly(this, pair, coverage)
    elif codes:
        yield this.finding(
            f"The tuned checkpoint is quantised ({len(codes)} tensors of whole numbers such as '{codes[0]}') "
            "and the base is not: dequantise it before comparing matrices.",
            severity="error" if coverage is None else "warning",
            subjects=tuple(codes)[:10],
            evidence=(Evidence("quantised_tensors", len(codes), "tensors", about="whole numbers"),),
            advice=_ADVICE,
        )


def _partly(this: Rule, pair: Pair, coverage: Coverage) -> Finding:
    lost = [item.name for item in pair.comparison.unmatched_base if item.why == "codes"]
    share = coverage.lacking("quantised") / coverage.base_parameters
    return this.finding(
        f"{100 * share:.0f} % of the base's parameters are quantised on one side, in a form that can't be "
        f"laid beside the other's ({len(lost)} tensors such as '{lost[0]}'), and were not compared.",
        severity="warning" if coverage.enough else "error",
        subjects=tuple(lost)[:10],
        evidence=(
            Evidence("quantised_tensors", len(lost), "tensors"),
            Evidence("compared_share_of_base", coverage.share, "share"),
        ),
        advice=_ADVICE,
    )


def _is_code(name: str, tensor: Tensor, base: Checkpoint) -> bool:
    if tensor.dtype.name not in _WHOLE_NUMBERS or len(tensor.shape) < 2 or not name.endswith("weight"):
        return False
    return name not in base.tensors or base.tensors[name].dtype.name not in _WHOLE_NUMBERS
