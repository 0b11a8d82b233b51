"""From a base and a patch to the tuned model, bit for bit."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from bitfit_probe.checkpoint import Checkpoint, Tensor, open_checkpoint
from bitfit_probe.errors import OutputError, OverwriteError
from bitfit_probe.tuning.patch.reading import Patch, open_patch
from bitfit_probe.tuning.patch.writing import check_output, write_safetensors

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


def verify_patch(base: str | Path, patch: str | Path) -> Patch:
    """Check a patch, and that `base` is the one it was made for.

    Raises
    ------
    DamagedPatchError
        The patch is not what was written.
    WrongBaseError
        The base is another one; the message names what differs.
    """
    opened = open_patch(patch)
    opened.manifest.check_base(open_checkpoint(base))
    return opened


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
    OutputError
        `out` is taken, or can't be written.
    """
    out, opened, ours = Path(out), open_patch(patch), open_checkpoint(base)
    opened.manifest.check_base(ours)
    tensors = {
        name: opened.tensors[name] if source is None else ours.tensors[source]
        for name, source in opened.manifest.layout.items()
    }
    if out.suffix == ".safetensors":
        check_output(out, ours, opened.path)
        write_safetensors(out, tensors, {"format": "pt"})
    else:
        _write_directory(out, tensors, opened, ours)
    ours.check_unchanged()
    return opened


def _write_directory(out: Path, tensors: dict[str, Tensor], patch: Patch, base: Checkpoint) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise OverwriteError("is there already", advice="choose another directory", path=out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
        try:
            folder.chmod(0o755)
            write_safetensors(folder / "model.safetensors", tensors, {"format": "pt"})
            for name, content in (
                ("config.json", patch.manifest.config),
                ("run_card.json", patch.manifest.card),
            ):
                if content:
                    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
                    (folder / name).write_text(text, encoding="utf-8")
            for name in _TOKENIZER:
                if (base.folder / name).is_file():
                    shutil.copyfile(base.folder / name, folder / name)
            folder.replace(out)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except OSError as error:
        raise OutputError(
            f"can't be written ({error.strerror})", advice="check the directory and its space", path=out
        ) from error
