"""Figures and names as text, and text from files made safe to print."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

__all__ = [
    "LIKENESS_OF",
    "format_interval",
    "format_number",
    "grid_name",
    "in_bytes",
    "in_thousands",
    "join_names",
    "part_name",
    "percent",
    "plural",
    "printable",
    "sentence",
    "shell_lines",
    "short_name",
    "shorten",
]

_THOUSAND = 1000
#: What a `Likeness` compares.
LIKENESS_OF = {"biases": "bias changes", "updates": "the ΔW of adapters"}


def printable(text: str) -> str:
    r"""`text` with everything that a terminal would obey written out.

    >>> printable("layer\x1b[31m.0")
    'layer\\x1b[31m.0'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii")
        for char in text
    )


def short_name(method: str) -> str:
    """How a method is called where there is little room."""
    from bitfit_probe.records.recommendation import METHODS

    return "full" if method == "full" else METHODS.get(method, method)


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` columns, with its middle left out where it is longer.

    >>> shorten("encoder.layer.0.output.dense.bias", 20)
    'encoder.l…dense.bias'
    """
    if len(text) <= width:
        return text
    tail = width // 2
    return f"{text[: max(width - tail - 1, 0)]}…{text[-tail:]}"


def sentence(text: str) -> str:
    """`text` with a capital at its start."""
    return text[:1].upper() + text[1:]


def plural(count: int, one: str, many: str | None = None) -> str:
    """`count` with the noun in its number.

    >>> plural(1, "bias", "biases"), plural(3, "tensor")
    ('1 bias', '3 tensors')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def join_names(names: Sequence[str], most: int | None = None) -> str:
    """Names with commas and an "and"; where there are more than `most`, those and how many more.

    >>> join_names(["q", "k", "v"]), join_names(["q", "k", "v"], 1)
    ('q, k and v', 'q and 2 more')
    """
    shown = list(names[:most])
    rest = len(names) - len(shown)
    if rest:
        return f"{', '.join(shown)} and {rest:,} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)


# Figures ------------------------------------------------------------------------------------------


def format_number(value: float | int | str | bool | None, form: str = "#.3g") -> str:
    """A figure in three digits, a dash where nothing was computed; words as they are.

    >>> format_number(0.012), format_number(None), format_number(1234), format_number(True)
    ('0.0120', '–', '1,234', 'yes')
    >>> format_number(100.0), format_number(0.5, ".0%")
    ('100', '50%')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else format(value, form).rstrip(".")


def part_name(stack: str) -> str:
    """How a part of a model, or a stack of layers, is called in a sentence.

    >>> part_name("vision_tower")
    'vision tower'
    """
    return stack.replace("_", " ")


def format_interval(bounds: tuple[float, float] | None, form: str = "#.3g") -> str:
    """Both ends in brackets; empty where there is no interval.

    >>> format_interval((-0.5, 2.0), ".1f")
    '[-0.5, 2.0]'
    """
    return "" if bounds is None else f"[{', '.join(format_number(end, form) for end in bounds)}]"


def grid_name(dtype: str) -> str:
    """How a quantised element type is called in a sentence.

    >>> grid_name("nf4"), grid_name("int4_scaled"), grid_name("gptq_int4")
    ('NF4', 'int4 with scales', 'GPTQ, int4')
    """
    if dtype.endswith("_scaled"):
        return f"{dtype.removesuffix('_scaled')} with scales"
    method, _, kind = dtype.partition("_int")
    return f"{method.upper()}, int{kind}" if kind else dtype.upper()


def percent(share: float) -> str:
    """A share as whole percent, rounded down so that nothing but all is 100 %.

    >>> percent(0.4399), percent(0.9999), percent(1.0), percent(0.001)
    ('43 %', '99 %', '100 %', 'under 1 %')
    """
    # A float may lie a hair below the whole number that it stands for.
    whole = int(100 * share + 1e-9)
    return f"{whole} %" if whole or not share else "under 1 %"


def in_bytes(count: int) -> str:
    """A size in three digits at most.

    >>> in_bytes(411_666), in_bytes(1_340_000_000), in_bytes(96)
    ('412 kB', '1.34 GB', '96 B')
    """
    return f"{in_thousands(count)}B" if count >= _THOUSAND else f"{count} B"


def in_thousands(count: int) -> str:
    """A count in three digits at most, and the power of a thousand that they stand for.

    >>> in_thousands(66_438), in_thousands(335_143_938), in_thousands(999_999), in_thousands(96)
    ('66.4 k', '335 M', '1 M', '96')
    """
    size, prefixes = float(count), iter(("", "k", "M", "G", "T", "P"))
    prefix = next(prefixes)
    while size >= _THOUSAND - 0.5 and (larger := next(prefixes, None)) is not None:
        size, prefix = size / _THOUSAND, larger
    return f"{size:.3g} {prefix}" if prefix else str(count)


# Commands -----------------------------------------------------------------------------------------


def shell_lines(command: str, width: int) -> list[str]:
    r"""A shell command in lines of at most `width` columns, broken between words where a shell allows it.

    >>> shell_lines("bitfit-probe tune base --data 'my file'", 24)
    ['bitfit-probe tune base \\', "  --data 'my file'"]
    """
    lines = [""]
    for piece in _with_values([shlex.quote(word) for word in shlex.split(command)]):
        if lines[-1].strip() and len(lines[-1]) + len(piece) + 3 > width:
            lines[-1] += " \\"
            lines.append("  ")
        lines[-1] += f"{' ' if lines[-1].strip() else ''}{piece}"
    return lines


def _with_values(words: Sequence[str]) -> list[str]:
    """Options with their values, which stay on one line."""
    pieces: list[str] = []
    for at, word in enumerate(words):
        follows = at > 0 and words[at - 1].startswith("-") and not word.startswith("-")
        if follows and pieces:
            pieces[-1] += f" {word}"
        else:
            pieces.append(word)
    return pieces
