"""Kill commands at random moments, run them once more, and look at what lies there.

``python -m benchmarks.kills [KILLS]`` (30 a command where not given). A command runs in a forked child, whose
heavy imports are done, so that the moments fall into the work. Prints a row a command: how many runs were
killed, how many kills left something that was not yet named, in how many something named was not whole, and
how many times something was left after the next run. The last two must be 0. Linux.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from bitfit_probe import sample

COMMANDS = {
    "patch extract": "patch extract base tuned -o p.safetensors",
    "patch apply": "patch apply base patch.safetensors -o again",
    "report": "report base tuned --no-spectra --quiet -o page.html",
    "tune": "tune base --data data.csv -o run --epochs 2 --max-length 16 --search --quiet --cpu",
    "recommend --trial": (
        "recommend base --data data.csv --no-reference --examples 20 --quiet "
        "--trial 0.05 --work-dir w --out o.txt"
    ),
}
_RESUMED = " --resume"


def prepared(folder: Path) -> None:
    """Put the inputs of all commands into `folder`, and import what the children need."""
    import accelerate  # noqa: F401
    import torch
    import transformers

    import bitfit_probe as bp
    import bitfit_probe.api.task
    import bitfit_probe.rendering.document.html
    import bitfit_probe.tuning.tune

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    shutil.copytree(sample.base_path(), folder / "base")
    shutil.copytree(sample.tuned_path(), folder / "tuned")
    rows = "".join(f"{('where is', 'who was')[n % 2]} number {n} ?,{'ab'[n % 2]}\n" for n in range(80))
    (folder / "data.csv").write_text("text,label\n" + rows)
    bp.extract_patch(folder / "base", folder / "tuned", folder / "patch.safetensors")
    (folder / "tmp").mkdir()
    tempfile.tempdir = str(folder / "tmp")


def started(command: str) -> int:
    """The process of a forked run that says nothing."""
    child = os.fork()
    if child:
        return child
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    from bitfit_probe.cli import main

    try:
        main(command.split())
    except SystemExit as ended:
        os._exit(ended.code if isinstance(ended.code, int) else 0)
    finally:
        os._exit(70)


def status_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def new_in(folder: Path, before: set[Path]) -> list[Path]:
    return sorted(set(folder.rglob("*")) - before)


def is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts) or "tmp" in path.parts[-2:]


def is_whole(path: Path) -> bool:
    """Whether a named output holds all that it should."""
    if path.is_dir() and path.name in ("run", "again"):
        from bitfit_probe.checkpoint import open_checkpoint

        return bool(open_checkpoint(path).tensors) and (path / "tokenizer.json").is_file()
    if path.name == "p.safetensors":
        from bitfit_probe.tuning.patch import open_patch

        return bool(open_patch(path).tensors)
    if path.suffix == ".html":
        return path.read_text().rstrip().endswith("</html>")
    if path.name == "trial.jsonl":
        return all(json.loads(line) for line in path.read_text().splitlines())
    return True


def cleared(folder: Path, before: set[Path]) -> None:
    for path in new_in(folder, before):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def swept(folder: Path, command: str, kills: int, draw: random.Random) -> tuple[int, int, int, int]:
    """Kills that came in time, and of those: with leftovers, with something torn, not tidied by the next."""
    before = set(folder.rglob("*"))
    start = time.monotonic()
    assert status_of(started(command)) == 0, command
    whole, expected = time.monotonic() - start, {path.name for path in folder.iterdir()}
    killed = leftovers = torn = untidy = 0
    for _ in range(kills):
        cleared(folder, before)
        child = started(command)
        time.sleep(draw.uniform(0, whole))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        if status_of(child) != -signal.SIGKILL:
            continue
        killed += 1
        found = new_in(folder, before)
        leftovers += any(is_hidden(path, folder) for path in found)
        torn += not all(is_whole(path) for path in found if not is_hidden(path, folder))
        again = status_of(started(command))
        if again == 2 and command.startswith("tune"):  # an interrupted run is named, and gone on with
            again = status_of(started(command + _RESUMED))
        done_before = any(path.name in ("run", "again") for path in found)
        tidy = {path.name for path in folder.iterdir()} == expected and not any((folder / "tmp").iterdir())
        untidy += not (tidy and (again == 0 or done_before))
    cleared(folder, before)
    return killed, leftovers, torn, untidy


def main() -> None:
    kills, draw = int(sys.argv[1]) if len(sys.argv) > 1 else 30, random.Random(0)
    asked = sys.argv[2:] or list(COMMANDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(folder)
        os.chdir(folder)
        print(f"{'command':20}{'killed':>8}{'unnamed':>9}{'torn':>6}{'untidy':>8}")
        for label in asked:
            killed, leftovers, torn, untidy = swept(folder, COMMANDS[label], kills, draw)
            print(f"{label:20}{killed:8}{leftovers:9}{torn:6}{untidy:8}", flush=True)
        os.chdir("/")


if __name__ == "__main__":
    main()
