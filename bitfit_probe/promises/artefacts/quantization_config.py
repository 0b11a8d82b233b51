"""config.json: that the weights are quantised, and how."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.checkpoint.quantised.settings import settings_of
from bitfit_probe.promises.case import Case
from bitfit_probe.records.promises import Promise

__all__ = ["promises"]

_AGAIN = "loading quantises them again, which rounds every matrix"
_NO_CODES = "loading looks for codes that are not there, and stops or draws them at random"
_PLAIN = ("float32", "float64", "float16", "bfloat16")


def promises(case: Case) -> Iterator[Promise]:
    """Where config.json names a way to quantise, some weights are stored that way."""
    method = settings_of(case.tuned.config).method
    if method is None or not case.is_model:
        return
    types = {
        held.tensor.dtype.name
        for held in case.held.values()
        if len(held.tensor.shape) > 1 and held.info.kind != "head"
    }
    quantised = sorted(types.difference(_PLAIN))
    again = method in ("bitsandbytes", "bnb")
    yield Promise(
        "quantisation",
        "config.json: quantization_config",
        f"weights quantised by {method}",
        ", ".join(quantised) or "plain floats in all matrices",
        "kept" if quantised else "broken",
        loader=_AGAIN if again else _NO_CODES,
        first="whether it was merged or dequantised: then delete quantization_config",
        severity="warning" if again else "error",
        subjects=("config.json: quantization_config",),
    )
