"""The workers of a Dask scheduler: the same rows, another try where one dies, one line where one is unfit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.fleets import judged, run, write_base, write_bitfit, write_broken

import bitfit_probe as bp
from bitfit_probe.cli import run as run_command
from bitfit_probe.errors import EngineError, WorkerError

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes; whoever dies is replaced."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True
    ) as found:
        yield found


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dask")
    runs = [write_bitfit(folder / f"run-{at}", 0.01 * (at + 1)) for at in range(4)]
    return write_base(folder), [*runs, write_broken(folder)["BE106"]]


def test_rows_are_those_of_this_process(cluster, places, tmp_path):
    base, tuned = places
    ours = run(base, tuned, tmp_path / "ours")
    options = bp.FleetOptions(dask=cluster.scheduler_address)
    theirs = bp.run_fleet(base, *tuned, out=tmp_path / "theirs", options=options)
    assert judged(theirs) == judged(ours)
    for row in ours.rows:
        both = [(tmp_path / name / row.result).read_text() for name in ("ours", "theirs")]
        assert both[0] == both[1]


def test_relative_paths_mean_the_same_to_workers_elsewhere(cluster, places, tmp_path, monkeypatch):
    base, tuned = places
    monkeypatch.chdir(base.parent)
    options = bp.FleetOptions(dask=cluster.scheduler_address)
    (row,) = bp.run_fleet("base", tuned[0].name, out=tmp_path / "o", options=options).rows
    assert (row.tuned, row.verdict) == (tuned[0].name, "bitfit")


def _die_once(flag):
    """For a worker: the next checkpoint that it is given kills it."""
    from bitfit_probe.fleet import judging, running

    real = judging.judge

    def judge(*arguments):
        with contextlib.suppress(FileNotFoundError):
            Path(flag).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    judging.judge = running.judge = judge


def test_a_worker_that_is_killed_costs_another_try(cluster, places, tmp_path):
    base, tuned = places
    flag = tmp_path / "flag"
    flag.touch()
    with distributed.Client(cluster, set_as_default=False) as client:
        before = set(client.scheduler_info(n_workers=-1)["workers"])
        client.run(_die_once, str(flag))
        options = bp.FleetOptions(dask=cluster.scheduler_address)
        fleet = bp.run_fleet(base, *tuned, out=tmp_path / "o", options=options)
        assert not flag.exists()
        assert set(client.scheduler_info(n_workers=-1)["workers"]) != before
    assert [row.verdict for row in fleet.rows if row.status == "judged"] == ["bitfit"] * 4


def test_no_scheduler_is_one_line(places, tmp_path, monkeypatch, capsys):
    from bitfit_probe.fleet import engines

    monkeypatch.setattr(engines, "_PATIENCE", 0.5)
    base, tuned = places
    arguments = [
        "fleet",
        "run",
        str(base),
        str(tuned[0]),
        "-o",
        str(tmp_path / "o"),
        "--dask",
        "tcp://127.0.0.1:9",
    ]
    assert run_command(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert lines == [
        "error BE702: tcp://127.0.0.1:9: no Dask scheduler answers there; start one with `dask scheduler`"
    ]
    assert not (tmp_path / "o").exists()


@contextlib.contextmanager
def lone_worker(folder: Path, **packages: str):
    """A scheduler with one worker process that sees all that is installed here but this package.

    `packages` are versions to pretend, as installed metadata.
    """
    for path in Path(distributed.__file__).parents[1].iterdir():
        if not path.name.startswith(("bitfit", "__editable__", "_bitfit")) and path.suffix != ".pth":
            (folder / path.name).symlink_to(path)
    for name, version in packages.items():
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as found:
        command = [sys.executable, "-S", "-m", "distributed.cli.dask_worker", found.scheduler_address]
        worker = subprocess.Popen(
            [*command, "--no-nanny", "--no-dashboard", "--nthreads", "1"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with distributed.Client(found, set_as_default=False) as client:
                client.wait_for_workers(1, timeout=120)
            yield found.scheduler_address
        finally:
            worker.kill()
            worker.wait()


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        ({}, r"worker tcp://\S+ lacks bitfit-probe; pip install bitfit-probe=="),
        ({"bitfit_probe": "0.0.7"}, r"worker tcp://\S+ has bitfit-probe 0\.0\.7, and this is "),
    ],
    ids=["none", "another version"],
)
def test_a_worker_that_is_unfit_is_one_line(places, tmp_path, packages, said):
    base, tuned = places
    (tmp_path / "site").mkdir()
    with lone_worker(tmp_path / "site", **packages) as address:
        options = bp.FleetOptions(dask=address)
        with pytest.raises(WorkerError, match=said):
            bp.run_fleet(base, tuned[0], out=tmp_path / "o", options=options)


def test_a_scheduler_without_workers_is_one_line(places, tmp_path):
    base, tuned = places
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as empty:
        options = bp.FleetOptions(dask=empty.scheduler_address)
        with pytest.raises(EngineError, match="no worker; start one with `dask worker "):
            bp.run_fleet(base, tuned[0], out=tmp_path / "o", options=options)
