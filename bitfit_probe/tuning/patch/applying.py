"""From a base and a patch to the tuned model, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.checkpoint.storage.file import File
from bitfit_probe.outputs import Content, new_folder, refuse_taken, write_files
from bitfit_probe.tuning.patch.reading import Patch, open_patch
from bitfit_probe.tuning.patch.writing import header_of, safetensors_content

__all__ = ["apply_patch", "verify_patch"]

#: Files of a tokenizer: a patch does not change it, so they come from the base's directory.
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "spm.model",
)


_BLOCK = 1 << 20


@dataclass(frozen=True)
class _Ready:
    """A patch that was found to be right, its base, and what they make together."""

    patch: Patch
    base: Checkpoint
    weights: Content

    @property
    def inputs(self) -> list[Path]:
        return [self.patch.path, *self.base.infos]

    def check_unchanged(self) -> None:
        """Raise ChangedError where a file is not what it was when it was opened."""
        self.patch.file.check_unchanged()
        self.base.check_unchanged()


def verify_patch(base: str | Path, patch: str | Path) -> Patch:
    """Check a patch, and that `base` is the one it was made for: then `apply_patch` can apply it.

    Raises
    ------
    DamagedPatchError
        The patch is not what was written.
    WrongBaseError
        The base is another one; the message names what differs.
    PatchError
        The model that they make can't be written.
    """
    ready = _ready(base, patch)
    ready.check_unchanged()
    return ready.patch


def _ready(base: str | Path, patch: str | Path) -> _Ready:
    opened, ours = open_patch(patch), open_checkpoint(base).as_stored
    opened.manifest.check_base(ours)
    tensors = {
        name: opened.tensors[name] if source is None else ours.tensors[source]
        for name, source in opened.manifest.layout.items()
    }
    hashes = {name: entry.sha256 for name, entry in opened.manifest.result.items()}
    header = header_of(tensors, {"format": "pt"}, opened.path)
    return _Ready(opened, ours, safetensors_content(header, tensors, hashes, opened.path))


def apply_patch(base: str | Path, patch: str | Path, out: str | Path) -> Patch:
    """Write the tuned model.

    Parameters
    ----------
    base
        The base that the patch was made for, in any format that is read.
    patch
        The patch.
    out
        A directory to make, with model.safetensors, config.json and the base's tokenizer; or, where its name
        ends in ``.safetensors``, a file with the weights alone.

    Raises
    ------
    PatchError
        The patch is damaged or the base is another one. Nothing is written then.
    ChangedError
        One of them was rewritten meanwhile. Nothing is written then.
    OutputError
        `out` is taken, or can't be written.
    """
    out = Path(out)
    alone = out.suffix == ".safetensors"
    if not alone:
        refuse_taken(out)
    ready = _ready(base, patch)
    if alone:
        write_files([(out, ready.weights)], ready.inputs, check=ready.check_unchanged)
    else:
        _write_directory(out, ready)
    return ready.patch


def _write_directory(out: Path, ready: _Ready) -> None:
    manifest = ready.patch.manifest
    files: dict[str, Content] = {"model.safetensors": ready.weights}
    described = {"config.json": manifest.config, "run_card.json": manifest.card}
    files |= {name: _as_text(content) for name, content in described.items() if content}
    with new_folder(out) as folder:
        copied = _tokenizer(ready.base)
        files |= {name: _copy_of(file) for name, file in copied.items()}

        def unchanged() -> None:
            ready.check_unchanged()
            for file in copied.values():
                file.check_unchanged()

        write_files([(folder / name, content) for name, content in files.items()], (), check=unchanged)


def _as_text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _tokenizer(base: Checkpoint) -> dict[str, File]:
    return {name: File(base.folder / name) for name in _TOKENIZER if (base.folder / name).is_file()}


def _copy_of(file: File) -> Callable[[IO[bytes]], None]:
    def write(stream: IO[bytes]) -> None:
        for start in range(0, file.size, _BLOCK):
            stream.write(file.read(start, min(_BLOCK, file.size - start)))

    return write
