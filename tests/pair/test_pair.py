"""A pair is opened once and compared once; a tuned side that is broken is a pair that says so."""

from __future__ import annotations

import pytest
from support.pairs import bitfit, write_pair

from bitfit_probe.align import align
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import AlignmentError, EmptyError, NotFoundError
from bitfit_probe.pair import Memo, Pair, Reading, open_pairs


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("pair"), *bitfit(), trainer_state__json={"global_step": 7})


def test_what_moved_is_found_once_however_often_it_is_asked_for(paths):
    told = []
    pair = Pair.open(*paths, Reading(progress=lambda done, total: told.append((done, total))))
    assert (pair.opened, told) == (True, [])  # nothing is read before it is asked for
    assert pair.compared
    first = len(told)
    assert first
    assert told[-1][0] == told[-1][1]
    assert pair.error is None
    assert pair.comparison is pair.comparison
    assert pair.alignment.pairs == align(pair.base, pair.tuned).pairs
    assert len(pair.rows) == len([row for row in pair.comparison.tensors if row.part is None])
    assert len(told) == first


def test_a_broken_tuned_side_is_kept_with_its_error(paths, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "trainer_state.json").write_text('{"global_step": 3}')
    pair = Pair.open(paths[0], tmp_path)
    assert (pair.opened, pair.compared, type(pair.error)) == (False, False, EmptyError)
    for wanted in ("tuned", "comparison", "alignment", "rows"):
        with pytest.raises(EmptyError):
            getattr(pair, wanted)
    assert (pair.path, pair.folder) == (tmp_path, tmp_path)
    assert pair.read_json("trainer_state.json") == {"global_step": 3}


def test_two_that_do_not_align_are_a_pair_with_an_error(paths, tmp_path):
    from support.builders import write
    from torch import ones

    write(tmp_path, {"nothing.like.it": ones(3)})
    pair = Pair.open(paths[0], tmp_path)
    assert pair.tuned.parameters == 3
    assert isinstance(pair.error, AlignmentError)
    with pytest.raises(AlignmentError):
        _ = pair.comparison


def test_a_broken_base_is_an_error_at_once(paths, tmp_path):
    with pytest.raises(NotFoundError):
        Pair.open(tmp_path / "none", paths[1])


def test_several_share_the_base_and_know_those_given_later(paths, tmp_path):
    base, tuned = paths
    first, second, third = open_pairs(base, [tuned, tmp_path / "none", base])
    assert first.base is second.base is third.base
    assert [len(pair.others) for pair in (first, second, third)] == [1, 1, 0]
    assert first.others == second.others == (third.tuned,)
    assert first.read_json("trainer_state.json") == {"global_step": 7}


def test_open_checkpoints_are_taken_as_they_are(paths):
    base, tuned = map(open_checkpoint, paths)
    pair = Pair.open(base, tuned)
    assert (pair.base, pair.tuned) == (base, tuned)


def test_biases_alone_where_they_were_asked_for(paths):
    rows = Pair.open(*paths, Reading(biases_only=True)).comparison.tensors
    assert {row.info.kind for row in rows if row.identical is not None} == {"bias"}


def test_a_value_is_worked_out_once_and_so_is_a_failure():
    calls, memo = [], Memo()

    def fails():
        calls.append("fails")
        raise ValueError("never")

    assert [memo.once("a", lambda: calls.append("a") or 3) for _ in range(2)] == [3, 3]
    for _ in range(2):
        with pytest.raises(ValueError, match="never"):
            memo.once("b", fails)
    assert calls == ["a", "fails"]


def test_of_a_kind_the_last_one_stays():
    calls, memo = [], Memo()

    def made(name):
        return memo.latest("model", name, lambda: calls.append(name) or name)

    assert [made(name) for name in ("a", "a", "b", "b", "a")] == ["a", "a", "b", "b", "a"]
    assert calls == ["a", "b", "a"]
    assert memo.once("a", lambda: "another kind") == "another kind"
