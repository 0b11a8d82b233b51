"""The differential target: random pairs of checkpoints, compared by the product and by `oracle`.

`data` decides what is made: how many tensors, of which shapes and element types, with which values, in which
container and layout each side lies. Every figure must be the oracle's within what docs/diff.md promises, and
the verdict must follow from the bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from home import empty
from oracle import NUMPY, expected, unexplained, values_of

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.comparison import compare
from bitfit_probe.records import Comparison, TensorDelta

__all__ = ["differential"]

_SAFETENSORS = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
}
_STORAGES = {
    "float64": "Double",
    "float32": "Float",
    "float16": "Half",
    "bfloat16": "BFloat16",
    "int64": "Long",
    "int32": "Int",
    "int16": "Short",
    "int8": "Char",
    "uint8": "Byte",
    "bool": "Bool",
    "complex64": "ComplexFloat",
}
_TYPES = tuple(_SAFETENSORS)
_ITEM = {name: 8 if kind is None and name == "complex64" else 1 for name, kind in NUMPY.items()} | {
    name: kind.itemsize for name, kind in NUMPY.items() if kind is not None
}
_SHAPES = (
    (4,),
    (1,),
    (),
    (0,),
    (7,),
    (65,),
    (3, 5),
    (5, 3),
    (2, 3, 4),
    (64,),
    (16, 16),
    (1, 1),
    (0, 3),
    (130,),
)
#: The last two leave the range in which float64 can square them.
_SCALES = (1.0, 1e-3, 1e3, 1e-30, 1e30, 1e-2, 1e-170, 1e300)
_LARGE = ((65537,), (300, 300), (70000,), (131073,))
_LAYER = "model.layers.0"
_NAMES = tuple(
    f"{_LAYER}.{stem}.{leaf}"
    for stem in ("mlp.down_proj", "self_attn.o_proj", "input_layernorm")
    for leaf in ("weight", "bias")
)

#: What docs/diff.md says of the digits: sums of float64, and of large float32 tensors in rows of float32.
_CLOSE, _NARROW_CLOSE = 1e-12, 2e-6
_NARROW = 1 << 16


class Choices:
    """Decisions, a byte each; zeros when the bytes have run out."""

    def __init__(self, data: bytes) -> None:
        self._bytes = iter(data[:256])
        self.random = np.random.default_rng(int.from_bytes(hashlib.sha256(data).digest()[:8], "little"))

    def pick(self, count: int) -> int:
        """A number below `count`."""
        return next(self._bytes, 0) % count


@dataclass
class Made:
    """One tensor of one side: its element type, shape, and bytes in C order."""

    kind: str
    shape: tuple[int, ...]
    raw: bytes

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


Side = dict[str, Made]


def differential(data: bytes) -> None:
    """Make two checkpoints, compare them, and hold every figure against the oracle's."""
    choices = Choices(data)
    ours: Side = {}
    theirs: Side = {}
    for name in _NAMES[: 1 + choices.pick(len(_NAMES))]:
        ours[name], theirs[name] = _tensors(choices)
    config = {"model_type": "llama", "num_attention_heads": 2, "num_key_value_heads": 1}
    fused = choices.pick(4)
    if fused:
        _add_fused(ours, theirs, fused, choices)
    paths = [empty(name) for name in ("ours", "theirs")]
    opened = []
    for path, side in zip(paths, (ours, theirs), strict=True):
        opened.append(open_checkpoint(_write(path, side, config, choices)))
    for checkpoint, side in zip(opened, (ours, theirs), strict=True):
        assert {name: (t.dtype.name, t.shape) for name, t in checkpoint.tensors.items()} == {
            name: (made.kind, made.shape) for name, made in side.items()
        }
    comparison, _ = compare(*opened, trust_checksums=choices.pick(4) == 3)
    _check(comparison, ours, theirs)


# What is made ---------------------------------------------------------------------------------------


def _tensors(choices: Choices) -> tuple[Made, Made]:
    shapes = _LARGE if choices.pick(24) == 23 else _SHAPES
    shape = shapes[choices.pick(len(shapes))]
    kind = _TYPES[choices.pick(len(_TYPES))]
    other = kind if choices.pick(3) else _TYPES[choices.pick(len(_TYPES))]
    base = Made(kind, shape, _values(kind, math.prod(shape), choices))
    return base, _tuned(base, other, choices)


def _values(kind: str, size: int, choices: Choices) -> bytes:
    held, rng = NUMPY[kind], choices.random
    how = choices.pick(8)
    if kind == "bool":
        return rng.integers(0, 2, size).astype(np.uint8).tobytes()
    if held is None or how == 0:
        return bytes(rng.bytes(size * _ITEM[kind]))
    if held.kind in "iu":
        bounds = np.iinfo(held)
        low, high = (bounds.min, bounds.max) if how % 2 else (max(bounds.min, -9), 9)
        return rng.integers(low, high, size, dtype=held, endpoint=True).tobytes()
    scale = _SCALES[choices.pick(8)]
    values = rng.standard_normal(size) * scale
    if how == 2:
        values[:] = 0
    if how == 3 and size:
        values[rng.integers(size)] = (np.nan, np.inf, -np.inf, -0.0)[choices.pick(4)]
    if how == 4:
        values += 1e3 * scale
    with np.errstate(all="ignore"):
        return values.astype(held).tobytes()


def _tuned(base: Made, kind: str, choices: Choices) -> Made:
    """What became of `base`: nothing, a cast, a bit, a step, the opposite, or something else."""
    how, held = choices.pick(6), NUMPY[kind]
    if kind == base.kind and how in (0, 1):
        raw = bytearray(base.raw)
        if how == 1 and raw:
            raw[choices.random.integers(len(raw))] ^= 1 if kind == "bool" else 1 << choices.pick(8)
        return Made(kind, base.shape, bytes(raw))
    if held is None or NUMPY[base.kind] is None or kind == "bool" or how == 5:
        return Made(kind, base.shape, _values(kind, base.size, choices))
    with np.errstate(all="ignore"):
        values = values_of(base.raw, base.kind).astype(np.float64)
        if how == 3:
            values = values * (1 + 0.01 * choices.random.standard_normal(base.size))
        if how == 4:
            values = -values
        if held.kind in "iu":  # a cast that a float does not survive is undefined
            values = np.nan_to_num(np.clip(values, -100 if held.kind == "i" else 0, 100))
        return Made(kind, base.shape, values.astype(held).tobytes())


def _add_fused(ours: Side, theirs: Side, how: int, choices: Choices) -> None:
    """A fused q, k, v of 2 + 1 + 1 heads of 2 on one side; on the other it is fused or split."""
    stem = f"{_LAYER}.self_attn"
    for leaf, inner in (("bias", ()), ("weight", (4,))):
        whole = Made("float32", (8, *inner), _values("float32", 8 * math.prod(inner), choices))
        moved = _tuned(whole, "float32", choices)
        for side, made, split in ((ours, whole, how == 1), (theirs, moved, how == 2)):
            if not split:
                side[f"{stem}.qkv_proj.{leaf}"] = made
                continue
            rows = np.frombuffer(made.raw, "<f4").reshape(made.shape)
            for name, part in zip("qkv", (rows[:4], rows[4:6], rows[6:]), strict=True):
                side[f"{stem}.{name}_proj.{leaf}"] = Made("float32", part.shape, part.tobytes())


# How it is written -----------------------------------------------------------------------------------


def _write(folder: Path, side: Side, config: Mapping[str, object], choices: Choices) -> Path:
    """A checkpoint of one side in some container; the path that is opened."""
    (folder / "config.json").write_text(json.dumps(config))
    torch_can = all(made.kind in _STORAGES for made in side.values())
    how = choices.pick(6 if torch_can else 3)
    half = len(side) // 2
    parts = [dict(list(side.items())[:half]), dict(list(side.items())[half:])]
    if how == 0:
        path = folder / "model.safetensors"
        path.write_bytes(_safetensors(side))
        return path if choices.pick(2) else folder
    if how == 1:
        return _sharded(folder, "model", "safetensors", parts, _safetensors)
    if how == 2:
        path = folder / "w.safetensors"
        path.write_bytes(_safetensors(dict(reversed(side.items()))))
        return path
    if how == 3:
        return _sharded(folder, "pytorch_model", "bin", parts, lambda part: _torch(part, choices, folder))
    path = folder / "w.pt"
    path.write_bytes(_torch(side, choices, folder, legacy=how == 5))
    return path


def _sharded(folder: Path, stem: str, suffix: str, parts: list[Side], write) -> Path:
    places = {}
    for number, part in enumerate(parts, 1):
        name = f"{stem}-0000{number}-of-00002.{suffix}"
        (folder / name).write_bytes(write(part))
        places.update(dict.fromkeys(part, name))
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"weight_map": places}))
    return folder


def _safetensors(side: Side) -> bytes:
    header, data = {}, b""
    for name, made in side.items():
        offsets = [len(data), len(data) + len(made.raw)]
        header[name] = {"dtype": _SAFETENSORS[made.kind], "shape": made.shape, "data_offsets": offsets}
        data += made.raw
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


class _Storages:
    """Storages of a torch file, and windows on them: whole, turned, offset, every second, or one for two."""

    def __init__(self, choices: Choices) -> None:
        self.kept: dict[str, tuple[str, bytes]] = {}
        self._choices = choices
        self._same: dict[tuple[str, bytes], str] = {}

    def window(self, made: Made) -> tuple[str, int, tuple[int, ...]]:
        """The storage's key, and offset and strides in elements."""
        item = _ITEM[made.kind]
        held = np.frombuffer(made.raw, np.dtype((np.void, item))).reshape(made.shape)
        strides = tuple(math.prod(made.shape[axis + 1 :]) for axis in range(len(made.shape)))
        how, offset = self._choices.pick(5), 0
        raw = made.raw
        if how == 1 and len(made.shape) > 1:
            raw = np.ascontiguousarray(held.T).tobytes()
            strides = tuple(math.prod(made.shape[:axis]) for axis in range(len(made.shape)))
        elif how == 2:
            offset = 3
            raw = bytes(3 * item) + raw + bytes(item)
        elif how == 3 and made.shape:
            wide = np.zeros((made.size, 2), np.dtype((np.void, item)))
            wide[:, 0] = held.reshape(-1)
            raw, strides = wide.tobytes(), tuple(2 * step for step in strides)
        elif how == 4 and (made.kind, raw) in self._same:
            return self._same[made.kind, raw], 0, strides
        key = str(len(self.kept))
        self.kept[key] = (made.kind, raw)
        if not offset and how in (0, 4):
            self._same[made.kind, raw] = key
        return key, offset, strides

    def count(self, key: str) -> int:
        """Elements of a storage."""
        kind, raw = self.kept[key]
        return len(raw) // _ITEM[kind]


def _torch(side: Side, choices: Choices, folder: Path, *, legacy: bool = False) -> bytes:
    """What torch.save writes, by its opcodes: PyTorch is not asked."""
    from bad_input.builders import legacy as old

    storages = _Storages(choices)
    windows = {name: storages.window(made) for name, made in side.items()}
    items = b"".join(
        _text(name) + _rebuilt(side[name], *windows[name], storages, legacy=legacy) for name in side
    )
    program = b"\x80\x02}(" + items + b"u."
    path = folder / "made"
    if not legacy:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", program)
            archive.writestr("a/byteorder", b"little")
            archive.writestr("a/version", b"3\n")
            for key, (_, raw) in storages.kept.items():
                archive.writestr(f"a/data/{key}", raw)
    else:
        keys = list(storages.kept)
        content = b"".join(storages.count(key).to_bytes(8, "little") + storages.kept[key][1] for key in keys)
        old(path, program, keys=keys, count=0, data=b"")
        path.write_bytes(path.read_bytes()[:-8] + content)
    written = path.read_bytes()
    path.unlink()
    return written


def _rebuilt(
    made: Made, key: str, offset: int, strides: tuple[int, ...], storages: _Storages, *, legacy: bool
) -> bytes:
    kind = f"ctorch\n{_STORAGES[made.kind]}Storage\n".encode()
    view = b"N" if legacy else b""
    pid = (
        b"(" + _text("storage") + kind + _text(key) + _text("cpu") + _int(storages.count(key)) + view + b"tQ"
    )
    no_hooks = b"ccollections\nOrderedDict\n)R"
    arguments = b"(" + pid + _int(offset) + _ints(made.shape) + _ints(strides) + b"\x89" + no_hooks + b"t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def _text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def _int(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little")


def _ints(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_int, values)) + b"t"


# What must hold --------------------------------------------------------------------------------------


def _check(comparison: Comparison, ours: Side, theirs: Side) -> None:
    covered: dict[str, int] = {}
    for row in comparison.tensors:
        base, tuned = _of(row, row.name, ours), _of(row, row.tuned_name, theirs)
        assert row.base_dtype == base.kind
        assert row.tuned_dtype == tuned.kind
        assert row.shape == base.shape == tuned.shape
        covered[row.tuned_name] = covered.get(row.tuned_name, 0) + tuned.size
        _check_row(row, base, tuned)
    codes = {item.name for item in comparison.unmatched_tuned if item.why == "codes"}
    assert all(_rounds(ours[name].kind) != _rounds(theirs[name].kind) for name in codes)
    rest = {name: made.size for name, made in theirs.items() if name not in codes}
    assert covered == rest, "every element is in one row, but for floats beside whole numbers"
    compared = sum(row.parameters for row in comparison.tensors if row.info.kind != "buffer")
    assert comparison.coverage.compared_parameters == compared
    assert comparison.coverage.enough == (compared >= 0.95 * comparison.coverage.base_parameters)
    _check_verdict(comparison)


def _rounds(kind: str) -> bool:
    return "float" in kind and kind != "float8_e8m0fnu"


_PARTS = {"q": slice(0, 4), "k": slice(4, 6), "v": slice(6, 8)}


def _of(row: TensorDelta, name: str, side: Side) -> Made:
    made = side[name]
    if row.part is None or "qkv_proj" not in name:
        return made
    rows = np.frombuffer(made.raw, "<f4").reshape(made.shape)[_PARTS[row.part]]
    return Made(made.kind, rows.shape, rows.tobytes())


def _check_row(row: TensorDelta, base: Made, tuned: Made) -> None:
    same = base.kind == tuned.kind and base.raw == tuned.raw
    assert row.identical is same, "identical means the same bytes of the same type"
    assert row.judged_by == "compared" or (row.judged_by == "checksum" and same)
    if NUMPY[base.kind] is None or NUMPY[tuned.kind] is None:
        assert row.moved is (not same and bool(base.size))
        return
    if row.nonfinite_base is None:  # at rest, and large or known by its checksum: no value was read
        assert same
        assert base.size > _NARROW or row.judged_by == "checksum"
        assert row.l2_delta == 0
        return
    wanted = expected(base.raw, base.kind, tuned.raw, tuned.kind)
    close = _NARROW_CLOSE if base.kind == tuned.kind == "float32" and base.size > _NARROW else _CLOSE
    size = base.size
    assert row.sign_flips == wanted.sign_flips, f"sign flips {row.sign_flips}, not {wanted.sign_flips}"
    assert row.nonfinite_base == wanted.nonfinite_base
    assert row.nonfinite_tuned == wanted.nonfinite_tuned
    assert row.changed_fraction == (wanted.changed / size if size else None)
    for name in (
        "mean_abs_delta",
        "l1_delta",
        "l2_delta",
        "max_abs_delta",
        "relative_l2",
        "base_l2",
        "tuned_l2",
    ):
        _near(name, getattr(row, name), getattr(wanted, name), close)
    _near("mean_shift", row.mean_shift, wanted.mean_shift, close, least=wanted.mean_abs_delta)
    _near("cosine", row.cosine, wanted.cosine, close, least=1.0)
    _check_rounding(row, base, tuned, wanted.changed)


def _near(
    name: str, found: float | None, wanted: float | None, close: float, least: float | None = 0.0
) -> None:
    """Whether a figure is the oracle's, but for rounding of what was summed."""
    if found is None and wanted is not None and not math.isfinite(wanted):
        return  # a figure that float64 can't hold is none
    if found is None or wanted is None:
        assert found is wanted, f"{name} is {found}, not {wanted}"
        return
    if found == wanted:  # infinite ones, too
        return
    # Below the smallest normal number float64 has fewer digits.
    error, allowed = abs(found - wanted), close * max(abs(wanted), least or 0.0) + 1e-307
    assert error <= allowed, f"{name} is {found!r}, not {wanted!r}"


def _check_rounding(row: TensorDelta, base: Made, tuned: Made, changed: int) -> None:
    assert row.above_rounding is not None or not base.size
    above = round((row.above_rounding or 0) * base.size)
    if (row.cast_through or tuned.kind) == base.kind:
        assert above == changed
        return
    least, most = unexplained(base.raw, base.kind, tuned.raw, tuned.kind, through=row.cast_through)
    assert least <= above <= most, f"{above} of {base.size} above rounding, not {least} to {most}"


def _check_verdict(comparison: Comparison) -> None:
    body = [row for row in comparison.tensors if row.info.kind not in ("head", "buffer")]
    if comparison.verdict == "incomparable":
        assert 2 * sum(row.parameters for row in body) <= comparison.coverage.base_parameters
        return
    if any(row.moved for row in body):
        assert comparison.verdict not in ("identical", "rounding-only")
    else:
        assert (comparison.verdict == "identical") == all(row.identical for row in body)
    if comparison.verdict == "bitfit" and not comparison.summary.offenders:
        assert all(row.info.kind == "bias" for row in body if row.moved)
    assert comparison.summary.changed_parameters == sum(
        row.parameters for row in comparison.tensors if row.moved
    )
