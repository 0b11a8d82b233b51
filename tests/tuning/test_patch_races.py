"""A base or a patch that is rewritten while it is applied: nothing is written, or the right bytes are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import bitfit_probe as bp
from bitfit_probe.errors import BitfitProbeError

#: Moments of one run at which a file is rewritten.
POINTS = 50
#: What `apply` asks the system for, in its order: reads, then the bytes to the disk, then the name.
STEPS = ("preadv", "fsync", "replace")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Base, tuned and patch of 40 biases, half of them moved; each is read in a step of its own."""
    torch.manual_seed(3)
    base = {f"layer.{number}.bias": torch.randn(50) for number in range(40)}
    moved = {name: tensor + 1 for name, tensor in list(base.items())[::2]}
    for name, tensors in (("base", base), ("tuned", base | moved)):
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / "model.safetensors", {"format": "pt"})
    (tmp_path / "tuned/config.json").write_text("{}")
    bp.extract_patch(tmp_path / "base", tmp_path / "tuned", tmp_path / "patch.safetensors")
    return tmp_path


def in_place(path: Path) -> None:
    """Every value becomes another, under the old time: only the bytes tell."""
    seen, raw = path.stat(), bytearray(path.read_bytes())
    raw[-4000:] = bytes(byte ^ 1 for byte in raw[-4000:])
    with path.open("r+b") as stream:
        stream.write(raw)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def replaced(path: Path) -> None:
    """Another file takes the name."""
    other = path.with_suffix(".other")
    shutil.copyfile(path, other)
    in_place(other)
    other.rename(path)


def emptied(path: Path) -> None:
    """It is cut short."""
    os.truncate(path, 100)


class Interrupted:
    """Counts steps of the system, and does something before one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done, self.at, self.act = 0, -1, lambda: None
        for step in STEPS:
            monkeypatch.setattr(os, step, self._counted(getattr(os, step)))

    def _counted(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            self.done += 1
            if self.done == self.at:
                self.act()
            return step(*args, **options)

        return counted


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Interrupted]:
    yield Interrupted(monkeypatch)
    monkeypatch.undo()


@pytest.mark.parametrize("out", ["again", "again.safetensors"])
@pytest.mark.parametrize("rewrite", [in_place, replaced, emptied])
@pytest.mark.parametrize("victim", ["base/model.safetensors", "patch.safetensors"])
def test_rewritten_at_fifty_moments(
    made: Path, steps: Interrupted, victim: str, rewrite: Callable[[Path], None], out: str
) -> None:
    inputs = {
        path: path.read_bytes() for path in (made / "base/model.safetensors", made / "patch.safetensors")
    }
    right = load_file(made / "tuned/model.safetensors")

    def apply() -> str | None:
        """The error's code, the result being right and the only thing there where there is none."""
        before = {path.name for path in made.iterdir()}
        steps.done = 0
        try:
            bp.apply_patch(made / "base", made / "patch.safetensors", made / out)
        except BitfitProbeError as error:
            assert {path.name for path in made.iterdir()} == before
            return error.code
        whole = made / out if out.endswith(".safetensors") else made / out / "model.safetensors"
        written = load_file(whole)
        assert written.keys() == right.keys()
        assert all(torch.equal(tensor, right[name]) for name, tensor in written.items())
        shutil.rmtree(made / out) if (made / out).is_dir() else (made / out).unlink()
        return None

    assert apply() is None
    count, codes = steps.done, []
    for point in range(POINTS):
        steps.at, steps.act = 1 + point * count // POINTS, lambda: rewrite(made / victim)
        codes.append(apply())
        steps.at = -1
        for path, content in inputs.items():
            path.write_bytes(content)
    assert count > POINTS
    assert set(codes) <= {None, "BE103", "BE106", "BE107", "BE114", "BE601", "BE602"}
    # A file rewritten after its last byte was read does no harm; before that it is noticed.
    assert codes.count(None) < POINTS / 2


def test_a_patch_rewritten_while_it_is_made(made: Path, steps: Interrupted) -> None:
    before = (made / "patch.safetensors").read_bytes()
    bp.extract_patch(made / "base", made / "tuned", made / "other.safetensors")
    count = steps.done
    for point in range(1, count, max(1, count // POINTS)):
        tuned = made / "tuned/model.safetensors"
        content = tuned.read_bytes()
        steps.done, steps.at, steps.act = 0, point, lambda: in_place(made / "tuned/model.safetensors")
        (made / "other.safetensors").unlink(missing_ok=True)
        try:
            patch = bp.extract_patch(made / "base", made / "tuned", made / "other.safetensors")
        except BitfitProbeError:
            assert not (made / "other.safetensors").exists()
        else:  # whole, of the values before or of those after
            assert bp.verify_patch(made / "base", patch.path).path == patch.path
        steps.at = -1
        tuned.write_bytes(content)
    assert (made / "patch.safetensors").read_bytes() == before
