"""A kill at whatever step: what is there is whole, and the next run leaves nothing else behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bitfit_probe as bp
from bitfit_probe import sample
from bitfit_probe.outputs import new_folder, scratch_folder, staging, write_files

DYING = Path(__file__).with_name("dying.py")
COMMANDS = {
    "patch extract base tuned -o o.safetensors": {"o.safetensors"},
    "patch apply base patch.safetensors -o o.safetensors": {"o.safetensors"},
    "patch apply base patch.safetensors -o a/o": {
        *("a", "a/o", "a/o/config.json", "a/o/model.safetensors"),
        *("a/o/tokenizer.json", "a/o/tokenizer_config.json"),
    },
    "report base tuned --no-spectra --quiet --format md -o o.md": {"o.md"},
    "demo -o a/o": {"a", "a/o", "a/o/diff.csv", "a/o/diff.json", "a/o/diff.txt"},
}


#: A second or less for each of some ten kills.
FAST = ("patch extract base tuned -o o.safetensors", "patch apply base patch.safetensors -o o.safetensors")


@pytest.mark.parametrize(
    "command",
    [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in COMMANDS],
)
def test_killed_at_every_step(tmp_path: Path, command: str) -> None:
    base, tuned = sample.base_path(), sample.tuned_path()
    (tmp_path / "base").symlink_to(base)
    (tmp_path / "tuned").symlink_to(tuned)
    bp.extract_patch(base, tuned, tmp_path / "patch.safetensors")
    arguments = [sys.executable, str(DYING), str(tmp_path), *command.split()]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    *kills, last = map(json.loads, done.stdout.splitlines())
    right = last["after"]
    assert last["status"] == 0
    assert right.keys() >= COMMANDS[command]
    assert len(kills) >= 4  # made, on the disk, linked, renamed
    for kill in kills:
        named = {name: sha for name, sha in kill["after"].items() if "bitfit-part" not in name}
        assert named.items() <= right.items()
        status, after = kill["again"]
        # Folders are made once; killed after that, there is nothing left to do.
        assert status == (2 if "a/o/model.safetensors" in kill["after"] else 0)
        assert after == right


def staged_by_a_dead_one(folder: Path) -> list[Path]:
    """What a process leaves that ends without tidying: a file, and a directory with a file."""
    code = (
        "import os, sys; from pathlib import Path; from bitfit_probe.outputs import staging\n"
        "staging._nameless = lambda folder: None\n"
        "handle, path = staging.stage_file(Path(sys.argv[1]) / 'out.txt'); print(path)\n"
        "held, path = staging.stage_folder(Path(sys.argv[1]) / 'out'); print(path)\n"
        "(path / 'half').write_text('half'); sys.stdout.flush()\n"
        "os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    return [Path(line) for line in done.stdout.splitlines()]


def test_what_a_dead_process_staged_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left = staged_by_a_dead_one(tmp_path)
    assert [path.exists() for path in left] == [True, True]
    foreign = [tmp_path / ".hidden", tmp_path / ".out.txt.0123abcd", tmp_path / "x.0123abcd.bitfit-part"]
    for path in foreign:
        path.write_text("someone's")
    (tmp_path / "kept").write_text("kept")
    (tmp_path / ".l.0123abcd.bitfit-part").symlink_to(tmp_path / "kept")
    write_files([(tmp_path / "other.txt", "text")], ())
    assert [path.exists() for path in left] == [False, False]
    assert all(path.read_text() == "someone's" for path in foreign)
    assert (tmp_path / "kept").read_text() == "kept"


def test_what_a_living_process_stages_is_left_alone(tmp_path: Path) -> None:
    handle, path = staging.stage_file(tmp_path / "a.txt")
    os.close(handle)
    with new_folder(tmp_path / "folder") as folder:
        (folder / "x").write_text("x")
        # The same process would hold the lock through another descriptor as well as another process.
        write_files([(tmp_path / "b.txt", "text")], ())
        assert (folder / "x").read_text() == "x"
    assert path is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.txt", "folder"]


def test_scratch_of_the_dead_goes_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = staged_by_a_dead_one(tmp_path)
    with scratch_folder() as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert len(left) == 2
    assert list(tmp_path.iterdir()) == []


def test_folders_above_go_again_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "a/b/out"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    made = new_folder(tmp_path / "a/b/out")
    made.__enter__()
    (tmp_path / "a/b/someone's").write_text("theirs")
    assert not made.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["someone's"]
