"""What no output may replace: an input, what is read beside it, another output, a device."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from bitfit_probe.errors import OutputError, OverwriteError

__all__ = ["refuse_overlap", "refuse_taken"]

#: What is read from a weights file's directory beside it.
_BESIDE = (
    "adapter_config.json",
    "added_tokens.json",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "run_card.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "trainer_state.json",
    "vocab.json",
    "vocab.txt",
)


def refuse_overlap(outs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise unless each of `outs` can be written as a file without harm.

    Parameters
    ----------
    outs
        Files to write.
    inputs
        What was read: files or directories. What is none (an address, say) is passed over.

    Raises
    ------
    OverwriteError
        One is an input, lies over a file in one, or would be read in its place.
    OutputError
        Two are the same file, or one is something else than a regular file.
    """
    outs, inputs = list(outs), list(inputs)
    for one, other in itertools.combinations(outs, 2):
        if _same(one, other):
            raise OutputError("is named for two outputs", advice="give each a file of its own", path=one)
    for out in outs:
        if any(_is_of(out, path) for path in inputs):
            raise OverwriteError("would overwrite an input", advice="choose another file", path=out)
        # Renaming over a device would replace the device.
        if _there(out) and not out.is_file():
            raise OutputError("is no regular file", advice="choose another file", path=out)


def refuse_taken(out: Path) -> None:
    """Raise OverwriteError where `out` is anything but absent or an empty directory."""
    if os.path.lexists(out) and not (out.is_dir() and not out.is_symlink() and not any(out.iterdir())):
        raise OverwriteError("is there already", advice="choose another directory", path=out)


def _is_of(out: Path, given: Path) -> bool:
    """Whether writing `out` would change what `given` is read as."""
    if not _there(given):
        return False
    if _same(out, given):
        return True
    whole = given if given.is_dir() else given.parent if _stands_for_others(given) else None
    if whole is None:
        return any(_same(out, given.parent / name) for name in _BESIDE)
    if _is_read_first(out.name) and _same(out.parent, whole):
        return True
    if not _there(out):
        return False
    # A snapshot of the Hub links to files that lie elsewhere.
    return out.resolve().is_relative_to(whole.resolve()) or any(_same(out, file) for file in _files_of(whole))


def _stands_for_others(path: Path) -> bool:
    """Whether what is read of a file lies in others of its directory: shards, external data."""
    from bitfit_probe.checkpoint.registry import INDEX_END, formats

    having = (known.NAMING.suffixes for known in formats() if known.NAMING.has_companions)
    return path.name.endswith((INDEX_END, *(suffix for suffixes in having for suffix in suffixes)))


def _is_read_first(name: str) -> bool:
    """Whether a file of that name in a model directory is what is read as the model."""
    from bitfit_probe.checkpoint.registry import exported, trained

    return name in (*trained().standard, *trained().adapters, *exported().standard)


def _files_of(folder: Path) -> Iterator[Path]:
    """What lies in a model directory, one directory deep: no format lies deeper."""
    yield from folder.glob("*")
    yield from folder.glob("*/*")


def _same(one: Path, other: Path) -> bool:
    """Whether two paths are one file, be it there or not."""
    if _there(one) and _there(other):
        return one.samefile(other)
    return _place(one) == _place(other)


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that no file can have
        return False


def _place(path: Path) -> Path:
    """Where a file of that name would come to lie: a link that ends it would be replaced, not followed."""
    return path.parent.resolve() / path.name
