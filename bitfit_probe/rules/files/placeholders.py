"""BP108."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bitfit_probe.align import unwrapped
from bitfit_probe.checkpoint import Tensor
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["placeholders"]

#: What DeepSpeed leaves of a partitioned parameter: nothing today, one element in older versions.
_SHAPES = ((0,), (1,))


@rule(
    "BP108",
    "zero-placeholders",
    "error",
    needs=("tuned",),
    explains=(
        "BP101",
        "BP102",
        "BP103",
        "BP107",
        "BP111",
        "BP114",
        "BP401",
        "BP404",
        "BP405",
        "BP412",
        "BP601",
    ),
    catalogue=(40,),
)
def placeholders(pair: Pair, this: Rule) -> Iterator[Finding]:
    """ZeRO-3 placeholders stand where weights should be.

    What it means
    -------------
    DeepSpeed's ZeRO-3 spreads every parameter over the ranks and leaves a tensor of shape [0] (older
    versions: [1]) in the module. A plain ``state_dict()`` or ``save_pretrained`` saved those.

    Why it matters
    --------------
    The weights are not in the file. Loading fails on the shapes, or starts at random where mismatches are
    ignored.

    How it is recognised
    --------------------
    Tensors of shape [0] or [1] that have more elements in the base.

    What to do
    ----------
    Recover them from the ZeRO checkpoint with ``zero_to_fp32.py``, which lies in its folder; save with
    ``stage3_gather_16bit_weights_on_model_save`` from now on.

    References
    ----------
    huggingface/transformers#20082, microsoft/DeepSpeed#1394
    """
    tuned = pair.tuned
    sizes = _sizes(pair.base.tensors)
    hollow = [
        name
        for name, tensor in tuned.tensors.items()
        if tensor.shape in _SHAPES and _base_size(name, sizes) > tensor.size
    ]
    if not hollow:
        return
    shape = list(tuned.tensors[hollow[0]].shape)
    yield this.finding(
        f"{len(hollow)} of {len(tuned.tensors)} tensors are ZeRO-3 placeholders of shape {shape}, such as "
        f"'{hollow[0]}': their weights were never gathered and are not in the file.",
        subjects=tuple(hollow)[:10],
        evidence=(
            Evidence("placeholders", len(hollow), "tensors"),
            Evidence("tensors", len(tuned.tensors), "tensors"),
        ),
        advice="Run zero_to_fp32.py in the ZeRO checkpoint's folder, and gather on saving from now on.",
    )


def _sizes(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    return {unwrapped(name): tensor.size for name, tensor in tensors.items()}


def _base_size(name: str, sizes: Mapping[str, int]) -> int:
    """Elements that the base has under that name, with or without leading components; 0 where it has none."""
    plain = unwrapped(name)
    for size in (sizes.get(plain), *(count for base, count in sizes.items() if base.endswith(f".{plain}"))):
        if size is not None:
            return size
    rest = plain.partition(".")[2]
    return _base_size(rest, sizes) if rest.count(".") > 1 else 2 if plain.endswith("weight") else 0
