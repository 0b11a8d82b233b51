"""The target of patches: what `verify` accepts, `apply` writes; what it refuses leaves nothing behind.

`data` is JSON: ``manifest`` and ``tensors`` (entries of a safetensors header). What of the manifest depends
on hashes (the base's, the body's, its own) is filled in unless it says otherwise:
or nothing would get further.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from home import HOME, empty, parsed, write_weights

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.rendering import patch_to_text, printable
from bitfit_probe.tuning.fingerprint import digest_of, fingerprint
from bitfit_probe.tuning.patch import Patch, apply_patch, verify_patch
from bitfit_probe.tuning.patch.manifest import HASH_KEY, MANIFEST_KEY

__all__ = ["patch"]

_BODY = np.arange(32, dtype="<f4").tobytes()
_ITEM = {"F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2), "U8": ("uint8", 1)}


def _base() -> Path:
    folder = HOME / "patched-base"
    if not folder.exists():
        folder.mkdir()
        values = {
            "a.weight": np.ones((2, 4), "<f4"),
            "a.bias": np.zeros(4, "<f4"),
            "b.bias": np.ones(3, "<f4"),
        }
        write_weights(folder / "model.safetensors", values)
        (folder / "config.json").write_text('{"model_type": "bert"}')
    return folder


def patch(data: bytes) -> None:
    """Open, verify, describe and apply it."""
    told = parsed(data)
    folder, base = empty("patch"), _base()
    path = folder / "p.safetensors"
    path.write_bytes(_file(told, base) if told else data)
    try:
        opened = verify_patch(base, path)
    except BitfitProbeError as error:
        printable(str(error)).encode()
        _refused(base, path)
        return
    patch_to_text(opened.manifest, "p", opened.size).encode()
    for out in (folder / "out", folder / "out.safetensors"):
        apply_patch(base, path, out)
        _is_what_it_says(out, opened, base)


def _refused(base: Path, path: Path) -> None:
    out = path.parent / "out"
    try:
        apply_patch(base, path, out)
    except BitfitProbeError:
        assert {item.name for item in path.parent.iterdir()} == {path.name}, "nothing is left behind"
        return
    raise AssertionError("what verify refuses, apply takes")


def _is_what_it_says(out: Path, opened: Patch, base: Path) -> None:
    written, ours = open_checkpoint(out), open_checkpoint(base)
    assert list(written.tensors) == list(opened.manifest.layout)
    for name, source in opened.manifest.layout.items():
        wanted = opened.tensors[name] if source is None else ours.tensors[source]
        assert fingerprint(written)[name] == fingerprint_of(wanted)
        assert written.tensors[name].shape == wanted.shape
        assert written.tensors[name].dtype.name == wanted.dtype.name


def fingerprint_of(tensor: Any) -> str:
    """SHA-256 of a tensor's bytes, by its values rather than by the product's loop."""
    raw = np.empty(tensor.size, tensor.dtype.storage)
    tensor.read(0, tensor.size, raw)
    return hashlib.sha256(raw.tobytes()).hexdigest()


def _file(told: dict[str, Any], base: Path) -> bytes:
    tensors = told.get("tensors")
    tensors = tensors if isinstance(tensors, dict) else {}
    manifest = told.get("manifest")
    text = json.dumps(_filled(manifest, tensors, base) if isinstance(manifest, dict) else manifest)
    sha = hashlib.sha256(text.encode()).hexdigest()
    more = told.get("metadata")
    known = {"format": "pt", MANIFEST_KEY: text, HASH_KEY: sha}
    header = {"__metadata__": known | (more if isinstance(more, dict) else {}), **tensors}
    head = json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + _BODY[: _end(tensors)]


def _end(tensors: dict[str, Any]) -> int:
    ends = [entry["data_offsets"][1] for entry in tensors.values() if _sound(entry)]
    return max(ends, default=0)


def _sound(entry: Any) -> bool:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    return (
        isinstance(offsets, list)
        and len(offsets) == 2
        and all(type(at) is int and 0 <= at <= len(_BODY) for at in offsets)
        and isinstance(entry.get("dtype"), str)
        and isinstance(entry.get("shape"), list)
    )


def _filled(manifest: dict[str, Any], tensors: dict[str, Any], base: Path) -> dict[str, Any]:
    ours = open_checkpoint(base)
    body = {
        name: {
            "dtype": _ITEM.get(entry["dtype"], ("?", 0))[0],
            "shape": entry["shape"],
            "sha256": hashlib.sha256(_BODY[slice(*entry["data_offsets"])]).hexdigest(),
        }
        for name, entry in tensors.items()
        if _sound(entry)
    }
    known = {
        "format_version": 1,
        "base_digest": digest_of(ours),
        "base": {
            name: {"dtype": t.dtype.name, "shape": list(t.shape), "sha256": fingerprint_of(t)}
            for name, t in ours.tensors.items()
        },
        "tensors": body,
    }
    left_out = manifest.get("leave_out")
    left_out = left_out if isinstance(left_out, list) else []
    return {
        key: value
        for key, value in {**known, **manifest}.items()
        if key != "leave_out" and key not in left_out
    }
