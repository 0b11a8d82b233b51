"""Changes that keep an input's outer form, so that the fuzzer gets behind the first check."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import atheris

__all__ = ["MUTATORS"]

_NUMBERS = (0, 1, -1, 2, 4, 16, 31, 32, 33, 255)
_LARGE = (1 << 31, 1 << 32, (1 << 58) + 1, (1 << 63) - 1, 1 << 63, 1 << 64)
_FLOATS = (1e308, -1e308, 5e-324, 1e-170, float("inf"))
_TYPES = ("F32", "BF16", "F8_E4M3", "BOOL", "U8", "C64")
_TEXTS = ("", "__metadata__", "shape", "\ud800", "a" * 2000, "\x1b[31m")
_ENTRY = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
#: What other files of a checkpoint say of layers, tokens and names, in places where nobody expects it.
_WORDS = ("LORA", "weight", "a.bias", "0", "-1", "query", ".*", "(a|.)*Z", "bert", "[UNK]", "LABEL_0", "=1+1")
_OTHERS = (None, True, 1.5, float("nan"), [], {}, [[]], _ENTRY)


def safetensors(data: bytes, max_size: int, seed: int) -> bytes:
    """Mutate the bytes, or the header as text, or as JSON; the length in front follows the header."""
    rng = random.Random(seed)
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8 or rng.random() < 0.1:
        return atheris.Mutate(data, len(data))[:max_size]
    header, rest = data[8 : 8 + length], data[8 + length :]
    header = _as_json(header, rng) if rng.random() < 0.5 else atheris.Mutate(header, len(header))
    if rng.random() < 0.1:
        rest = bytes(rng.randrange(64))
    return (len(header).to_bytes(8, "little") + header + rest)[:max_size]


def zero(data: bytes, max_size: int, seed: int) -> bytes:
    """Mutate the bytes, or one of the two pickles; the length in front follows the first."""
    rng = random.Random(seed)
    end = 3 + int.from_bytes(data[1:3], "little")
    if not 3 < end < len(data) or rng.random() < 0.1:
        return atheris.Mutate(data, len(data))[:max_size]
    model, optimizer = data[3:end], data[end:]
    if rng.random() < 0.5:
        model = atheris.Mutate(model, len(model))[: max_size - 3]
    else:
        optimizer = atheris.Mutate(optimizer, len(optimizer))
    return (data[:1] + len(model).to_bytes(2, "little") + model + optimizer)[:max_size]


def text(data: bytes, max_size: int, seed: int) -> bytes:
    """Mutate the bytes, or what they mean as JSON."""
    rng = random.Random(seed)
    return (_as_json(data, rng) if rng.random() < 0.5 else atheris.Mutate(data, len(data)))[:max_size]


def table(data: bytes, max_size: int, seed: int) -> bytes:
    """Mutate the table; now and then its suffix. Lines and cells are doubled, swapped and cut, too."""
    rng = random.Random(seed)
    suffix, end, content = data.partition(b"\n")
    if not end or rng.random() < 0.05:
        return atheris.Mutate(data, len(data))[:max_size]
    if suffix == b"parquet" or rng.random() < 0.5:
        content = atheris.Mutate(content, len(content))
    elif suffix.startswith((b"json", b"ndjson")):
        lines = content.split(b"\n")
        at = rng.randrange(len(lines))
        lines[at] = _as_json(lines[at], rng)
        content = b"\n".join(lines)
    else:
        mark = rng.choice((b"\n", b",", b"\t", b'"'))
        cells = content.split(mark)
        cells.insert(
            rng.randrange(len(cells)), rng.choice((*cells, b"", b'"', b"nan", b"1e999", b"\0", b"1_0"))
        )
        content = mark.join(cells)
    return (suffix + end + content)[:max_size]


def _as_json(header: bytes, rng: random.Random) -> bytes:
    try:
        root = json.loads(header)
        for _ in range(rng.randint(1, 3)):
            root = _changed(root, rng)
        return json.dumps(root).encode()
    except (ValueError, RecursionError):
        return bytes(atheris.Mutate(header, len(header)))


def _changed(value: Any, rng: random.Random) -> Any:
    """`value` with one thing in it replaced, doubled or left out."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        kind = rng.random()
        if kind < 0.1:
            return {other: item for other, item in value.items() if other != key}
        if kind < 0.3:
            return value | {rng.choice((key + "x", *_TEXTS)): value[key]}
        return value | {key: _changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        kind = rng.random()
        if kind < 0.1:
            return value[:at] + value[at + 1 :]
        if kind < 0.2:
            return value[: at + 1] * 2
        return [*value[:at], _changed(value[at], rng), *value[at + 1 :]]
    return rng.choice((*_NUMBERS, *_LARGE, *_FLOATS, *_TYPES, *_TEXTS, *_WORDS, *_OTHERS))


MUTATORS: dict[str, Callable[[bytes, int, int], bytes]] = {
    "safetensors": safetensors,
    "index": text,
    "zero": zero,
    "table": table,
    **dict.fromkeys(("adapter_config", "config", "tokenizer", "training", "patch"), text),
}
