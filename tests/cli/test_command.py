"""The command in a process of its own: exit codes, streams, files, and what it imports."""

from __future__ import annotations

import inspect
import json
import os
import pkgutil
import subprocess
import sys

import click
import pytest
from support.builders import biases, move, state, write
from support.reporting import described

import bitfit_probe
from bitfit_probe import sample

HEAVY = ("numpy", "torch", "pandas", "transformers", "sklearn", "seaborn", "scipy")
BITFIT = "BitFit: 18 of 18 biases moved, nothing else."


def run(*args, **environment):
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")} | environment
    command = [sys.executable, "-m", "bitfit_probe", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=env, encoding="utf-8", check=False)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder, base = tmp_path_factory.mktemp("pair"), state("bert")
    tuned = move(base, *biases(base))
    for ending in (".safetensors", ".pt"):
        write(folder / f"base{ending}", base)
        write(folder / f"tuned{ending}", tuned)
    return folder / "base.safetensors", folder / "tuned.safetensors"


def test_text_on_stdout_and_nothing_on_stderr(pair):
    done = run("diff", *pair)
    assert (done.returncode, done.stderr) == (0, "")
    assert BITFIT in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_columns_set_the_width(pair):
    assert max(map(len, run("diff", *pair, COLUMNS="44").stdout.splitlines())) <= 44


def test_json_is_what_the_library_gives(pair):
    from bitfit_probe.rendering import diff_to_json, report_to_json

    done = run("diff", *pair, "--format", "json")
    document = json.loads(done.stdout)
    assert document == json.loads(report_to_json(described(*pair, by=())))
    (comparison,) = document["comparisons"]
    for key in ("adequacy", "forms"):
        del comparison[key]
    for row in comparison["tensors"]:
        del row["form"]
    assert document == json.loads(diff_to_json(bitfit_probe.diff(*pair)))


def test_csv_has_a_row_a_tensor(pair):
    assert len(run("diff", *pair, "--format", "csv").stdout.splitlines()) == 1 + 41


@pytest.mark.parametrize("args", [["-h"], ["--help"], ["diff", "-h"], ["diff", "--help"]])
def test_help(args):
    done = run(*args)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: bitfit-probe")


def test_version():
    done = run("--version")
    assert done.returncode == 0
    assert bitfit_probe.__version__ in done.stdout


@pytest.mark.parametrize(
    "args",
    [
        ["diff", "only-one"],
        ["nonsense"],
        ["diff", "a", "b", "--format", "xml"],
        ["diff", "a", "b", "--top", "-1"],
    ],
)
def test_wrong_usage_exits_with_2(args):
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage" in done.stderr


def test_a_missing_file_is_one_line_with_its_code(pair, tmp_path):
    done = run("diff", pair[0], tmp_path / "no\nsuch\x1b[31m.pt")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error BE101: ")
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


def test_files_that_do_not_align_exit_with_2(pair, tmp_path):
    import torch

    other = write(tmp_path / "o.safetensors", {"nothing.like.it": torch.ones(2)})
    done = run("diff", pair[0], other, "--out", tmp_path / "out.json")
    assert done.returncode == 2
    assert "BE201" in done.stderr
    assert not (tmp_path / "out.json").exists()


def test_out_is_written_whole(pair, tmp_path):
    out = tmp_path / "out.json"
    out.write_text("old")
    done = run("diff", *pair, "--format", "json", "--out", out)
    assert (done.returncode, done.stdout) == (0, "")
    assert json.loads(out.read_text())["comparisons"][0]["verdict"] == "bitfit"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_out_is_kept_when_writing_fails(tmp_path, monkeypatch):
    from bitfit_probe.errors import OutputError
    from bitfit_probe.outputs import write_files

    out = tmp_path / "out.txt"
    out.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_files([(out, "new")], ())
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_out_in_no_directory_exits_with_2(pair, tmp_path):
    done = run("diff", *pair, "--out", tmp_path / "none" / "out.txt")
    assert done.returncode == 2
    assert done.stderr.startswith("error BE300: ")


@pytest.mark.parametrize("kind", ["file", "link", "directory", "index", "linked"])
def test_out_never_overwrites_an_input(kind, pair, tmp_path):
    base = state("bert")
    folder = write(tmp_path / "model", base)
    weights = folder / "model.safetensors"
    given, out = weights, weights
    if kind == "link":
        out = tmp_path / "link"
        out.symlink_to(weights)
    elif kind == "directory":
        given = folder
    elif kind == "index":
        given = write(tmp_path / "shards" / "model.safetensors.index.json", base)
        out = given.parent / "model-00002-of-00003.safetensors"
    elif kind == "linked":
        given = tmp_path / "snapshot"
        given.mkdir()
        (given / "model.safetensors").symlink_to(weights)
    before = out.read_bytes()
    done = run("diff", given, pair[1], "--out", out)
    assert done.returncode == 2
    assert done.stderr.startswith("error BE301: ")
    assert out.read_bytes() == before


def test_a_broken_pipe_ends_quietly(pair):
    command = [sys.executable, "-m", "bitfit_probe", "diff", *map(str, pair), "--format", "json"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, check=False)
    assert done.stderr == b""
    assert done.returncode == 0


def test_a_terminal_encoding_without_greek_is_no_traceback(pair):
    command = [sys.executable, "-m", "bitfit_probe", "diff", *map(str, pair)]
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert BITFIT.encode() in done.stdout


TERMINAL = """
import os, pty, sys
out = b""
def read(fd):
    global out
    data = os.read(fd, 4096)
    out += data
    return b""
status = pty.spawn([sys.executable, "-m", "bitfit_probe", "diff", *sys.argv[1:]], read, lambda fd: b"")
sys.stdout.buffer.write(out)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo terminal")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_in_a_terminal_only_and_not_with_no_color(pair, no_color):
    env = os.environ | {"NO_COLOR": no_color, "TERM": "xterm"}
    command = [sys.executable, "-c", TERMINAL, *map(str, pair), "--quiet"]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, env=env, check=True)
    assert b"moved" in done.stdout
    assert (b"\x1b[1m" in done.stdout) is (no_color == "")


@pytest.mark.parametrize(
    ("by", "title"),
    [
        ("tensor", "The 10 of 16 biases that moved most"),
        ("role", "Biases by role, those that moved most first"),
        ("layer", "Biases by layer, those that moved most first"),
    ],
)
def test_by_shows_one_list(pair, by, title):
    text = run("diff", *pair, "--by", by).stdout
    assert "Biases, mean" not in text
    assert title in text
    assert "no effect: softmax cancels these biases." in text


def test_options_reach_the_library(pair):
    folder = pair[0].parent
    done = run(
        "diff", folder / "base.pt", folder / "tuned.pt", "--trust-checksums", "--biases-only", "--quiet"
    )
    assert "biases only: the rest (23 tensors) was not checked" in " ".join(done.stdout.split())


def imported(code, *args):
    code = f"import sys\n{code}\nprint('\\n' + ' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


COMMAND = "from bitfit_probe.__main__ import main\ntry: main(sys.argv[1:])\nexcept SystemExit as end: assert not end.code"  # noqa: E501


def test_importing_the_package_imports_nothing_heavy():
    assert imported("import bitfit_probe; dir(bitfit_probe)") == set()


#: What of the package a diff of two files does without.
IDLE = (
    "cli.check",
    "cli.tune",
    "data",
    "inference",
    "recommendation",
    "records.distance",
    "records.findings",
    "records.recommendation",
    "rules",
    "task_distance",
    "tuning",
)


@pytest.mark.parametrize(("form", "idle"), [("text", IDLE), ("json", (*IDLE, "rendering.document"))])
def test_a_diff_loads_only_what_it_uses(form, idle):
    code = f"import sys\n{COMMAND}\nprint('\\n', *sys.modules)"
    command = [sys.executable, "-c", code, "diff", sample.base_path(), sample.tuned_path(), "--format", form]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {*(f"bitfit_probe.{name}" for name in idle), "tomllib"}


@pytest.mark.parametrize("args", [["--help"], ["diff", "--help"], ["check", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(args):
    assert imported(COMMAND, *args) == set()


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_a_diff_imports_numpy_only(pair, ending, form):
    paths = [path.with_suffix(f".{ending}") for path in pair]
    assert imported(COMMAND, "diff", *paths, "--format", form) == {"numpy"}


def test_public_names_are_exact_and_all_there():
    assert bitfit_probe.__all__ == sorted({*bitfit_probe._HOMES, "__version__"})
    assert dir(bitfit_probe) == sorted(bitfit_probe.__all__)
    assert all(getattr(bitfit_probe, name) is not None for name in bitfit_probe.__all__)
    with pytest.raises(AttributeError):
        bitfit_probe.nothing  # noqa: B018


def test_no_module_has_the_name_of_what_the_package_offers():
    modules = {item.name for item in pkgutil.iter_modules(bitfit_probe.__path__)}
    assert not modules & set(bitfit_probe.__all__)


def commands(group, *words):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *words, name)
        else:
            yield (*words, name)


#: Calls that are named otherwise than their command.
TWINS = {
    ("patch", "extract"): "extract_patch",
    ("patch", "apply"): "apply_patch",
    ("patch", "verify"): "verify_patch",
    ("fleet", "run"): "run_fleet",
    ("fleet", "show"): "read_fleet",
    ("fleet", "merge"): "merge_fleets",
}


def test_every_command_is_a_call():
    from bitfit_probe.cli import cli

    found = list(commands(cli))
    assert set(TWINS) <= set(found)
    for words in found:
        name = TWINS.get(words, "_".join(words))
        assert name in bitfit_probe.__all__
        assert callable(getattr(bitfit_probe, name))
        parameters = inspect.signature(getattr(bitfit_probe, name)).parameters.values()
        assert len([p for p in parameters if p.kind is not p.VAR_POSITIONAL]) <= 6, name
