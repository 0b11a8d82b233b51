"""Packed weights that no module here can unpack: known by their names, and refused.

The bytes of such tensors are no weights, so nothing that can be said about their difference means anything.
"""

from __future__ import annotations

from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.errors import QuantisedError

__all__ = ["refuse_quantised"]

_DEQUANTISE = (
    "load it with transformers, call model.dequantize() and save_pretrained(), and give that directory"
)
_LOAD = (
    "load it with transformers, from_pretrained(DIR, quantization_config={}(dequantize=True)), call "
    "save_pretrained(), and give that directory"
)
_COMPRESSED, _FLOAT8 = _LOAD.format("CompressedTensorsConfig"), _LOAD.format("FineGrainedFP8Config")
_ORIGINAL = "compare the checkpoint that it was quantised from: what was packed can't be told from training"

#: What the names of such tensors end in, in the order in which they are looked for.
_ENDS = (
    ((".SCB", ".weight_format"), "bitsandbytes, 8 bits", _DEQUANTISE),
    ((".absmax", ".quant_map", ".nested_absmax"), "bitsandbytes, 4 bits", _DEQUANTISE),
    ((".qweight", ".qzeros"), "GPTQ or AWQ", _ORIGINAL),
    ((".W_q",), "HQQ", _ORIGINAL),
    ((".weight_packed", ".weight_scale"), "compressed tensors", _COMPRESSED),
    (("_scale_inv",), "float8 in blocks", _FLOAT8),
    (("_qdata",), "torchao", _DEQUANTISE),
)


def refuse_quantised(checkpoint: Checkpoint) -> Checkpoint:
    """`checkpoint`, where its tensors are plain ones.

    Raises
    ------
    QuantisedError
        They are not, with what to do instead.
    """
    found = [(name, known) for name in checkpoint.tensors if (known := _kind(name)) is not None]
    if not found:
        return checkpoint
    name, (kind, advice) = found[0]
    stated = checkpoint.config.get("quantization_config")
    method = stated.get("quant_method") if isinstance(stated, dict) else None
    if isinstance(method, str) and method in ("gptq", "awq"):
        kind = method.upper()
    raise QuantisedError(
        f"quantised weights ({kind}; for example {name!r})",
        advice=advice,
        path=checkpoint.path,
        tensors=len(found),
    )


def _kind(name: str) -> tuple[str, str] | None:
    return next(((kind, advice) for ends, kind, advice in _ENDS if name.endswith(ends)), None)
