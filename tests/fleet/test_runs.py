"""A fleet's rows are what `diff` and `check` say; what can't be read is a row; nothing is done twice."""

from __future__ import annotations

import json
import os

import pytest
from support.builders import config_of, state, write
from support.fleets import KIND, Recording, judged, run, write_base, write_bitfit, write_broken

import bitfit_probe as bp
from bitfit_probe.errors import ManifestError, OverwriteError, RemoteError, WorkerError
from bitfit_probe.fleet import running
from bitfit_probe.fleet.manifest import MANIFEST


@pytest.fixture
def base(tmp_path):
    return write_base(tmp_path)


@pytest.fixture
def three(tmp_path):
    return [write_bitfit(tmp_path / f"run-{at}", by) for at, by in enumerate((0.02, 0.04, 0.08))]


def test_rows_and_files_are_what_diff_and_check_say(tmp_path, base, three):
    unmoved = write(tmp_path / "unmoved", state(KIND), config_of(KIND))
    fleet = run(base, [*three, unmoved], tmp_path / "out")
    assert [row.tuned for row in fleet.rows] == sorted(map(str, [*three, unmoved]))
    for row in fleet.rows:
        (expected,) = bp.diff(base, row.tuned).comparisons
        found = bp.check(base, row.tuned)
        assert (row.verdict, row.changed_biases, row.biases) == (
            expected.verdict,
            expected.summary.changed_biases,
            expected.summary.biases,
        )
        assert [item.code for item in row.findings] == [item.code for item in found.findings]
        kept = json.loads((tmp_path / "out" / row.result).read_text())
        tensors = kept["diff"]["comparisons"][0]["tensors"]
        assert [item["l2_delta"] for item in tensors] == [item.l2_delta for item in expected.tensors]
        assert [item["code"] for item in kept["check"]["findings"]] == [item.code for item in row.findings]
    assert fleet.unmoved == (str(unmoved),)


def test_ten_broken_in_ten_ways_are_ten_rows_with_their_codes(tmp_path, base, three):
    broken = write_broken(tmp_path)
    fleet = run(base, [*broken.values(), *three], tmp_path / "out")
    assert {row.error.code: row.tuned for row in fleet.failed} == {
        code: str(path) for code, path in broken.items()
    }
    assert [row.verdict for row in fleet.rows if row.status == "judged"] == ["bitfit"] * 3
    for row in fleet.failed:
        with pytest.raises(bp.BitfitProbeError) as alone:
            bp.diff(base, row.tuned)
        assert str(alone.value) == row.error.message


def test_what_is_done_and_unchanged_is_not_done_again(tmp_path, base, three):
    broken = write_broken(tmp_path)
    out, everything = tmp_path / "out", [*three, broken["BE106"]]
    first = run(base, everything, out)
    again = Recording()
    assert judged(run(base, everything, out, again, resume=True)) == judged(first)
    assert again.judged == []
    write_bitfit(three[1], 0.3)
    more = write_bitfit(tmp_path / "run-3", 0.01)
    run(base, [*everything, more], out, again, resume=True)
    assert again.judged == [str(three[1]), str(more)]


@pytest.mark.parametrize("change", ["options", "base", "data", "torn line"])
def test_what_would_come_out_otherwise_is_done_again(tmp_path, base, three, change):
    out, data = tmp_path / "out", tmp_path / "data.csv"
    data.write_text("text,label\na good one,1\na bad one,0\n" * 10)
    options = {"data": data, "select": ("BP2",)} if change == "data" else {}
    run(base, three, out, **options)
    if change == "options":
        options = {"ignore": ("BP3",)}
    elif change == "data":
        os.utime(data, ns=(1, 1))
    elif change == "base":
        os.utime(base / "model.safetensors", ns=(1, 1))
    else:
        lines = (out / MANIFEST).read_text()
        (out / MANIFEST).write_text(lines[: lines.rindex('"row"')])
    again = Recording()
    fleet = run(base, three, out, again, resume=True, **options)
    expected = [str(three[2])] if change == "torn line" else [str(path) for path in three]
    assert again.judged == expected
    assert len(fleet.rows) == 3


def test_a_directory_that_is_there_is_not_written_to_unasked(tmp_path, base, three):
    run(base, three[:1], tmp_path / "out")
    with pytest.raises(OverwriteError):
        run(base, three, tmp_path / "out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(ManifestError):
        run(base, three, tmp_path / "other", resume=True)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]


def test_shards_together_are_the_whole(tmp_path, base, three):
    broken = write_broken(tmp_path)
    everything = [*three, broken["BE103"], broken["BE101"]]
    whole = run(base, everything, tmp_path / "all")
    parts = [run(base, everything, tmp_path / f"part-{i}", shard=(i, 2)) for i in (1, 2)]
    assert [len(part.rows) for part in parts] == [3, 2]
    merged = bp.merge_fleets(tmp_path / "part-1", tmp_path / "part-2", out=tmp_path / "merged")
    assert judged(merged) == judged(whole)
    for row in merged.rows:
        ours, theirs = (json.loads((tmp_path / name / row.result).read_text()) for name in ("merged", "all"))
        assert ours == theirs


def test_shards_of_different_runs_are_not_put_together(tmp_path, base, three):
    run(base, three[:2], tmp_path / "one")
    run(base, three[2:], tmp_path / "two", ignore=("BP3",))
    with pytest.raises(ManifestError, match="another set of options"):
        bp.merge_fleets(tmp_path / "one", tmp_path / "two", out=tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_base_that_cant_be_read_ends_the_run_before_it_begins(tmp_path, three):
    with pytest.raises(bp.BitfitProbeError) as error:
        run(tmp_path / "nowhere", three, tmp_path / "out")
    assert error.value.code == "BE101"
    assert not (tmp_path / "out").exists()


def failing_first(times, answer):
    """A `judge` that answers so for the first times."""
    real, left = running.judge, {"n": times}

    def judge(*args):
        left["n"] -= 1
        return {**real(*args), **answer} if left["n"] >= 0 else real(*args)

    return judge


def test_a_server_that_fails_is_asked_again_and_a_broken_file_is_not(tmp_path, base, three, monkeypatch):
    monkeypatch.setattr(running, "judge", failing_first(2, {"passing": True}))
    executor = Recording()
    fleet = run(base, three[:1], tmp_path / "out", executor)
    assert len(executor.judged) == 3
    assert [row.status for row in fleet.rows] == ["judged"]
    broken = Recording()
    run(base, [write_broken(tmp_path)["BE107"]], tmp_path / "broken", broken)
    assert len(broken.judged) == 1


def test_what_fails_at_last_is_tried_again_the_next_time(tmp_path, base, three, monkeypatch):
    def refuse(*_):
        raise RemoteError("no answer", advice="check the connection")

    from bitfit_probe.pair import Reading

    with monkeypatch.context() as patch:
        patch.setattr(Reading, "compare", refuse)
        (row,) = run(base, three[:1], tmp_path / "out").rows
    assert (row.status, row.error.code) == ("failed", "BE115")
    (row,) = run(base, three[:1], tmp_path / "out", resume=True).rows
    assert row.status == "judged"


def test_a_worker_of_another_version_is_one_line(tmp_path, base, three, monkeypatch):
    monkeypatch.setattr(running, "judge", failing_first(1, {"version": "0.0.1"}))
    with pytest.raises(WorkerError, match=r"has bitfit-probe 0\.0\.1, and this is"):
        run(base, three, tmp_path / "out")


def test_a_fault_of_ours_costs_a_row(tmp_path, base, three, monkeypatch):
    def judge(base, tuned, options):
        if tuned == str(three[0]):
            raise ZeroDivisionError
        return real(base, tuned, options)

    real = running.judge
    monkeypatch.setattr(running, "judge", judge)
    fleet = run(base, three, tmp_path / "out")
    assert [row.status for row in fleet.rows] == ["failed", "judged", "judged"]
    assert "ZeroDivisionError" in fleet.rows[0].error.message
