"""How commands end: each command under each state of its streams, hostile arguments, Ctrl-C anywhere."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from bitfit_probe import sample
from bitfit_probe.cli import cli, run

BASE, TUNED = map(str, (sample.base_path(), sample.tuned_path()))
PYTHON = [sys.executable, "-m", "bitfit_probe"]

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's devices and signals")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the commands below need: a table of examples, and a patch."""
    folder = tmp_path_factory.mktemp("places")
    table = folder / "data.csv"
    lines = [f"{('who wrote', 'where is')[n % 2]} book {n}?,{('human', 'place')[n % 2]}" for n in range(40)]
    table.write_text("\n".join(("text,label", *lines)) + "\n")
    patch = folder / "patch.safetensors"
    assert run(["patch", "extract", BASE, TUNED, "-o", str(patch)]) == 0
    return {"data": table, "patch": patch, "folder": folder}


#: One command line of each command, which ends with the status.
COMMANDS = {
    "help": ("--help", 0),
    "version": ("--version", 0),
    "diff": (f"diff {BASE} {TUNED}", 0),
    "diff-json": (f"diff {BASE} {TUNED} --format json", 0),
    "check": (f"check {BASE} {TUNED} --fail-on info", 1),
    "explain": ("explain BP101", 0),
    "explain-all": ("explain", 0),
    "demo": ("demo", 0),
    "report": (f"report {BASE} {TUNED} --format md --no-spectra", 0),
    "patch-extract": (f"patch extract {BASE} {TUNED} -o OUT/p.safetensors", 0),
    "patch-apply": (f"patch apply {BASE} PATCH -o OUT/tuned", 0),
    "patch-verify": (f"patch verify {BASE} PATCH", 0),
}
SLOW = {
    "distance": (f"distance {BASE} --data DATA --no-reach --no-reference --examples 20", 0),
    "recommend": (f"recommend {BASE} --data DATA --no-reference --examples 20", 0),
    "tune": (f"tune {BASE} --data DATA -o OUT/run --epochs 1", 0),
}

#: What a shell does to the streams, and what is to be seen: the status (None: that of the command), and
#: what stderr begins with.
STATES = {
    "as-usual": ("", None, ""),
    "full": (">/dev/full", 2, "error BE"),
    "stdout-closed": (">&-", 2, "error BE300: stdout: can't be written"),
    "stderr-closed": ("2>&-", None, ""),
    "stderr-full": ("2>/dev/full", None, ""),
    "stdin-closed": ("<&-", None, ""),
    "all-closed": ("<&- >&- 2>&-", 2, ""),
    "nobody-reads": ("| true", None, ""),
}


def shell(
    line: str, places: dict[str, Path], out: Path, prefix: str = ""
) -> subprocess.CompletedProcess[str]:
    words = {"OUT": out, "DATA": places["data"], "PATCH": places["patch"]}
    for word, path in words.items():
        line = line.replace(word, str(path))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("BITFIT_PROBE_DEBUG", None)
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{prefix}{shlex.join(PYTHON)} {line}"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def meets(done: subprocess.CompletedProcess[str], status: int, begins: str) -> None:
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(begins)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if begins:
        assert done.stderr.count("\n") == 1


@linux_only
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_under_every_state_of_its_streams(
    command: str, state: str, places: dict[str, Path], tmp_path: Path
) -> None:
    (line, usual), (streams, status, begins) = COMMANDS[command], STATES[state]
    meets(shell(f"{line} {streams}", places, tmp_path), usual if status is None else status, begins)


@linux_only
@pytest.mark.slow
@pytest.mark.parametrize("state", ["full", "stdout-closed", "stderr-closed", "nobody-reads"])
@pytest.mark.parametrize("command", SLOW)
def test_commands_that_run_models_under_states_of_their_streams(
    command: str, state: str, places: dict[str, Path], tmp_path: Path
) -> None:
    (line, usual), (streams, status, begins) = SLOW[command], STATES[state]
    done = shell(f"{line} --quiet {streams}", places, tmp_path)
    assert done.returncode == (usual if status is None else status), done.stderr
    assert "Traceback" not in done.stderr
    if begins:
        assert done.stderr.splitlines()[-1].startswith(begins)


@linux_only
@pytest.mark.parametrize("command", ["diff", "check", "report", "patch-extract"])
def test_a_caller_that_ignores_its_children(command: str, places: dict[str, Path], tmp_path: Path) -> None:
    line, usual = COMMANDS[command]
    meets(shell(line, places, tmp_path, prefix="trap '' CHLD; "), usual, "")


@linux_only
def test_an_output_in_a_file_needs_no_stdout(places: dict[str, Path], tmp_path: Path) -> None:
    done = shell(f"diff {BASE} {TUNED} --format json --out OUT/o.json >&-", places, tmp_path)
    meets(done, 0, "")
    assert (tmp_path / "o.json").read_text().startswith("{")


# Hostile arguments -----------------------------------------------------------------------------------

HOSTILE = {
    "long": "a" * 5000,
    "long-part": "x/" + "b" * 300,
    "deep": "d/" * 2000,
    "surrogate": "\udcff",
    "line-break": "a\nb",
    "bad-host": "http://[::1/x",
    "bad-port": "http://localhost:99999/x",
    "word-port": "http://localhost:port/x",
    "no-host": "http:///x",
    "space": "http://local host/x",
    "empty": "",
    "dot": ".",
    "device": "/dev/full",
    "in-a-file": f"{BASE}/config.json/x",
    "hub": "org/name@../../x",
}


#: Of these no output can be made.
NO_OUTPUT = ("long", "long-part", "device", "in-a-file")


def path_parameters() -> list[tuple[str, str]]:
    """Every parameter that takes a path, of every command."""
    found = []

    def look(group: click.Group, prefix: str) -> None:
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                look(command, f"{prefix}{name} ")
                continue
            for parameter in command.params:
                if isinstance(parameter.type, click.Path):
                    found.append((f"{prefix}{name}", parameter.name or ""))

    look(cli, "")
    found.remove(("fleet run", "tuned"))  # a row of its result
    return found


def arguments(command: str, hostile: str, value: str, places: dict[str, Path], out: Path) -> list[str]:
    """A command line whose parameter `hostile` is `value`, and all else as it should be."""
    words = command.split()
    found = cli
    for word in words:
        found = found.commands[word]  # type: ignore[union-attr]
    usual = {"base": BASE, "tuned": TUNED, "model": BASE, "patch_file": str(places["patch"])}
    usual |= {
        "data": str(places["data"]),
        "out": str(out / "o.html"),
        "folder": str(out),
        "folders": str(out),
    }
    options, positions = list(words), []
    for parameter in found.params:
        name = parameter.name or ""
        wanted = parameter.required or name == "tuned"  # which `fleet run` may take from a file
        given = value if name == hostile else usual.get(name) if wanted else None
        if given is None:
            continue
        if isinstance(parameter, click.Argument):
            positions.append(given)
        else:
            options += [f"--{name.replace('_', '-')}", given]
    more = {"adapter": ["--spectra"], "work": ["--trial", "1"]}.get(hostile, [])
    html = ["--out", str(out / "o.html")] if command == "report" and hostile != "out" else []
    return [*options, *more, *html, "--", *positions]


def _with_marks(command: str, parameter: str) -> Any:
    slow = command in SLOW or (command, parameter) == ("report", "out")
    return pytest.param(command, parameter, marks=[pytest.mark.slow] if slow else [])


@linux_only
@pytest.mark.parametrize(("command", "parameter"), [_with_marks(*pair) for pair in path_parameters()])
def test_hostile_paths(
    command: str,
    parameter: str,
    places: dict[str, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    bad = []
    for kind, value in HOSTILE.items():
        if parameter in ("out", "work", "plot") and kind not in NO_OUTPUT:
            continue  # a name like others
        status = run(arguments(command, parameter, value, places, tmp_path))
        said = capfd.readouterr().err
        lines = [line for line in said.splitlines() if line.startswith(("error BE", "Error:"))]
        if status != 2 or len(lines) != 1 or "Traceback" in said:
            bad.append((kind, status, said[-300:]))
    assert not bad


# What is raised ------------------------------------------------------------------------------------------

PLANTED = """
import errno, sys
from bitfit_probe.cli import cli, run

@cli.command("planted")
def planted():
    raise {error}

sys.exit(run(sys.argv[1:]))
"""


def planted(error: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = PLANTED.format(error=error)
    return subprocess.run(
        [sys.executable, "-c", code, *options, "planted"],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        ("KeyError('secret')", 3, "internal error: KeyError in bitfit_probe/cli/__init__.py:"),
        ("RecursionError", 3, "internal error: RecursionError in "),
        ("AssertionError", 3, "internal error: AssertionError in "),
        ("MemoryError", 2, "error BE002: not enough memory; "),
        (
            "OSError(errno.ENOSPC, 'No space left on device')",
            2,
            "error BE001: the system says: No space left",
        ),
        (
            "OSError(errno.ENOSPC, 'No space left on device', 'a\\x1bb')",
            2,
            "error BE001: a\\x1bb: the system says: No",
        ),
        ("BrokenPipeError(errno.EPIPE, 'Broken pipe')", 2, "error BE001: the system says: Broken pipe"),
        ("ConnectionResetError", 2, "error BE001: the system says: ConnectionResetError; "),
        ("KeyboardInterrupt", 130, "interrupted\n"),
    ],
)
def test_whatever_is_raised_ends_in_one_line(error: str, status: int, line: str) -> None:
    done = planted(error)
    assert done.returncode == status
    assert done.stderr.startswith(line.replace("\\\\", "\\"))
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_an_internal_error_says_how_to_report_it() -> None:
    assert "`bitfit-probe --debug …`" in planted("KeyError('x')").stderr
    for done in (planted("KeyError('x')", "--debug"), planted("KeyError('x')", BITFIT_PROBE_DEBUG="1")):
        assert done.returncode == 3
        assert "KeyError: 'x'" in done.stderr
        assert done.stderr.splitlines()[-1].endswith(
            "please report it with the traceback above and the version"
        )


#: Interrupts the process when `name` is first asked for, in the place of a person who can't aim as well.
AIMED = """
import os, signal, sys

class Aim:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.argv = ["bitfit-probe", *sys.argv[1:]]
from bitfit_probe.__main__ import main
sys.meta_path.insert(0, Aim())
main()
"""


@linux_only
@pytest.mark.parametrize(
    "name",
    [
        "bitfit_probe.cli",
        "click",
        "click.core",
        "bitfit_probe.cli.diff",
        "bitfit_probe.api.report",
        "numpy",
        "numpy._core._multiarray_umath",
        "json",
        "bitfit_probe.comparison.kernel",
        "bitfit_probe.rendering",
    ],
)
def test_ctrl_c_during_any_import(name: str) -> None:
    code = AIMED.format(name=name)
    # What runs the tests in the background may have been told to ignore it, and so would its children.
    done = subprocess.run(
        [sys.executable, "-c", code, "diff", BASE, TUNED],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


@linux_only
def test_a_process_told_to_ignore_ctrl_c_ignores_it(places: dict[str, Path], tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + AIMED.format(name="numpy")
    done = subprocess.run(
        [sys.executable, "-c", code, "diff", BASE, TUNED], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
