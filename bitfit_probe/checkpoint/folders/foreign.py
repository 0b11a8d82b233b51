"""Models of TensorFlow and JAX: recognised by their files' names, with the conversion to run."""

from __future__ import annotations

from pathlib import Path

from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.errors import UnsupportedError

__all__ = ["FLAX_ADVICE", "TF_ADVICE", "read", "recognises"]

_CONVERT = "convert it with transformers 4: AutoModel.from_pretrained(DIR, from_{}=True).save_pretrained(OUT)"
FLAX_ADVICE, TF_ADVICE = _CONVERT.format("flax"), _CONVERT.format("tf")
_ORBAX_ADVICE = "restore it with orbax.checkpoint, and save the parameters with safetensors.flax.save_file"

_KINDS = (
    ("flax_model.msgpack", "a Flax model (msgpack)", FLAX_ADVICE),
    ("flax_model.msgpack.index.json", "a sharded Flax model (msgpack)", FLAX_ADVICE),
    ("tf_model.h5", "a TensorFlow model (HDF5)", TF_ADVICE),
    ("tf_model.h5.index.json", "a sharded TensorFlow model (HDF5)", TF_ADVICE),
    ("saved_model.pb", "a TensorFlow SavedModel", TF_ADVICE),
    ("*.ckpt*.index", "a TensorFlow checkpoint", TF_ADVICE),
    ("_CHECKPOINT_METADATA", "an Orbax checkpoint (JAX)", _ORBAX_ADVICE),
    ("manifest.ocdbt", "an Orbax checkpoint (JAX)", _ORBAX_ADVICE),
)


def recognises(folder: Path) -> bool:
    """Whether a file in it is named as one of theirs."""
    return any(any(folder.glob(pattern)) for pattern, _, _ in _KINDS)


def read(folder: Path, key: str | None = None) -> Checkpoint:
    """Refuse it.

    Raises
    ------
    UnsupportedError
        Always.
    """
    _, what, advice = next(kind for kind in _KINDS if any(folder.glob(kind[0])))
    raise UnsupportedError(what, advice=advice, path=folder)
