"""The commands: exit statuses, what is printed, and what becomes of a run in which somebody dies."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.builders import config_of, state, write
from support.fleets import KIND, run, write_base, write_bitfit, write_broken

import bitfit_probe as bp
from bitfit_probe.cli import run as run_command
from bitfit_probe.cli.fleet import _Progress

DYING = Path(__file__).with_name("dying.py")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A base, three runs, the base again, and a broken file."""
    folder = tmp_path_factory.mktemp("fleet")
    runs = [write_bitfit(folder / f"run-{at}", by) for at, by in enumerate((0.02, 0.04, 0.08))]
    unmoved = write(folder / "unmoved", state(KIND), config_of(KIND))
    return write_base(folder), runs, unmoved, write_broken(folder)["BE106"]


def dying(who, flag, *arguments):
    """The run's end, once nobody holds its output any more: no worker outlives it."""
    command = [sys.executable, str(DYING), who, str(flag), *map(str, arguments), "--jobs", "2"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_a_worker_that_is_killed_costs_another_try(tmp_path, places):
    base, runs, *_ = places
    done = dying("worker", tmp_path / "flag", base, *runs, "-o", tmp_path / "o")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "flag").exists()
    assert [row.verdict for row in bp.read_fleet(tmp_path / "o").rows] == ["bitfit"] * 3


def test_a_checkpoint_that_kills_every_worker_is_a_row_and_the_others_are_judged(tmp_path, places):
    base, runs, *_ = places
    cursed = write_bitfit(tmp_path / "cursed")
    done = dying("same", tmp_path / "f", base, *runs, cursed, "-o", tmp_path / "o")
    assert done.returncode == 2
    (failed,) = bp.read_fleet(tmp_path / "o").failed
    assert (failed.tuned, failed.error.code) == (str(cursed), "BE701")
    assert "its worker died, 3 times" in failed.error.message


def test_a_run_that_is_killed_leaves_no_worker_and_goes_on_where_it_was(tmp_path, places):
    base, runs, unmoved, _ = places
    arguments = [base, *runs, unmoved, "-o", tmp_path / "o"]
    assert dying("parent", tmp_path / "flag", *arguments).returncode == -9
    found = bp.read_fleet(tmp_path / "o")
    assert (len(found.rows), len(found.missing)) == (2, 2)
    before = {row.tuned: row for row in found.rows}
    again = run_command(["fleet", "run", *map(str, arguments), "--resume", "--quiet"])
    assert again == 1  # BP201: the base again
    after = {row.tuned: row for row in bp.read_fleet(tmp_path / "o").rows}
    assert len(after) == 4
    assert {name: after[name] for name in before} == before  # to the second that each took


def invoked(*arguments):
    from bitfit_probe.cli import cli

    return CliRunner().invoke(cli, list(map(str, arguments)), standalone_mode=False)


@pytest.mark.parametrize(
    ("chosen", "more", "status"),
    [
        ("runs", (), 0),
        ("unmoved", (), 1),
        ("unmoved", ("--fail-on", "never"), 0),
        ("unmoved", ("--ignore", "BP201"), 0),
        ("broken", (), 2),
        ("broken", ("--fail-on", "never"), 2),
    ],
)
def test_exit_statuses(tmp_path, places, chosen, more, status):
    base, runs, unmoved, broken = places
    tuned = {"runs": runs, "unmoved": [*runs, unmoved], "broken": [unmoved, broken]}[chosen]
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{path}\n" for path in tuned))
    ignored = [word for at, word in enumerate(more) if "--ignore" in more[max(at - 1, 0) : at + 1]]
    options = {"ignore": ("BP201",)} if ignored else {}
    run(base, tuned, tmp_path / "o", **options)  # in this process; what follows finds it done
    done = invoked("fleet", "run", base, "--list", listed, "-o", tmp_path / "o", "--resume", *more)
    assert done.return_value == status
    if "--ignore" not in more:
        assert invoked("fleet", "show", tmp_path / "o", *more).return_value == status


def test_the_same_in_every_format(tmp_path, places):
    base, runs, unmoved, broken = places
    fleet = run(base, [*runs, unmoved, broken], tmp_path / "o")
    told = json.loads(invoked("fleet", "show", tmp_path / "o", "--format", "json").stdout)
    assert [row["tuned"] for row in told["rows"]] == [row.tuned for row in fleet.rows]
    assert told["unmoved"] == [str(unmoved)]
    assert "direction" not in told["rows"][0]
    table = invoked("fleet", "show", tmp_path / "o", "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [(row["tuned"], row["verdict"], row["error_code"]) for row in rows] == [
        (row.tuned, row.verdict or "", row.error.code if row.error else "") for row in fleet.rows
    ]
    invoked("fleet", "show", tmp_path / "o", "--format", "html", "-o", tmp_path / "fleet.html")
    page = (tmp_path / "fleet.html").read_text()
    text = invoked("fleet", "show", tmp_path / "o").stdout
    for row in fleet.rows:
        assert page.count(f"<bdi>{row.tuned}</bdi>") >= 1
        assert Path(row.tuned).name in text
    assert "BE106" in page
    assert "nothing was trained" in text
    assert max(map(len, text.splitlines())) <= 80


def test_progress_counts_bytes_and_checkpoints(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with _Progress(quiet=False) as progress:
        progress("checkpoints", 1, 2)
        progress("bytes", 30, 120)
        assert (progress._bar.pos, progress._bar.length) == (30, 120)
        progress("checkpoints", 2, 2)
        progress("bytes", 120, 120)
        assert (progress._bar.pos, progress._bar.finished) == (120, True)
        assert progress._words == "2 of 2"


@pytest.mark.parametrize("shard", ["0/2", "3/2", "x", "1/0", "1"])
def test_a_shard_that_is_none_is_wrong_usage(tmp_path, places, shard):
    base, runs, *_ = places
    arguments = ["fleet", "run", str(base), str(runs[0]), "-o", str(tmp_path / "o"), "--shard", shard]
    assert run_command(arguments) == 2
    assert not (tmp_path / "o").exists()


def test_a_folder_without_a_fleet_is_one_line(tmp_path, capsys):
    assert run_command(["fleet", "show", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error BE703: {tmp_path}: its manifest can't be read")
