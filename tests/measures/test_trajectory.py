"""A planted run: where each role is at each step, and when it stopped."""

from __future__ import annotations

import json
import math

import pytest
from support.builders import biases, copied, state, write
from support.reporting import described

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.measures.trajectory import order

STEPS = (100, 200, 300, 400)
#: How far every element of a role's biases is from the base at each step.
PLANTED = {
    "query": (1.0, 2.0, 3.0, 4.0),  # never stops
    "intermediate": (2.0, 2.0, 2.0, 2.0),  # stops at the first step
    "value": (1.0, 3.0, 3.005, 3.005),  # a move of 0.17 % of the path is still
    "LayerNorm": (1.0, -1.0, -1.0, -1.0),  # a path is longer than the way
}
ROLES = {"query": "q", "intermediate": "m2", "value": "v"}


def checkpoints(folder, *, state_files=True, names="checkpoint-{}"):
    base = state("bert")
    base_path = write(folder / "base", base)
    paths = []
    for number, step in enumerate(STEPS):
        tuned = copied(base)
        for part, offsets in PLANTED.items():
            for name in biases(base):
                if part in name:
                    tuned[name] += offsets[number]
        path = write(folder / names.format(step), tuned)
        if state_files:
            (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        paths.append(path)
    return base_path, paths


def by_role(found):
    return {
        role: (norms, moves, stopped)
        for role, norms, moves, stopped in zip(
            found.roles, found.norms, found.moves, found.stopped_at, strict=True
        )
    }


def test_norms_moves_and_stops(tmp_path):
    base, paths = checkpoints(tmp_path)
    found = described(base, *paths[::-1], trajectory=True).trajectory  # given in the wrong order
    assert found.steps == STEPS
    assert [name[-3:] for name in found.names] == ["100", "200", "300", "400"]
    elements = {"query": 64, "value": 64, "intermediate": 96}
    roles = by_role(found)
    for part, role in ROLES.items():
        norms, moves, _ = roles[role]
        scale = math.sqrt(elements[part])
        offsets = PLANTED[part]
        assert norms == pytest.approx([scale * abs(x) for x in offsets], rel=1e-5)
        steps = [abs(b - a) for a, b in zip((0, *offsets), offsets)]  # noqa: B905 - one longer
        assert moves == pytest.approx([scale * x for x in steps], rel=1e-4, abs=1e-4)
    assert {role: roles[role][2] for role in ("q", "m2", "v", "LN1", "embLN", "m3")} == {
        "q": None,
        "m2": 100,
        "v": 200,
        "LN1": 200,
        "embLN": 200,
        "m3": None,  # never moved at all
    }
    assert roles["m3"][0] == (0, 0, 0, 0)
    assert "k" not in roles  # softmax cancels BERT's


def test_steps_by_state_by_folder_by_order(tmp_path):
    for number, (options, steps, known_from) in enumerate(
        [
            ({}, STEPS, "trainer_state.json"),
            ({"state_files": False}, STEPS, "folder names"),
            ({"state_files": False, "names": "run-{}"}, (1, 2, 3, 4), "order given"),
        ]
    ):
        (tmp_path / str(number)).mkdir()
        _, paths = checkpoints(tmp_path / str(number), **options)
        assert order([open_checkpoint(path) for path in paths]) == (steps, known_from)


@pytest.mark.parametrize("step", ["7", -1, 1.5, True, None, [3]])
def test_a_step_that_is_none_is_not_believed(step, tmp_path):
    _, paths = checkpoints(tmp_path)
    (paths[0] / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    assert order([open_checkpoint(path) for path in paths]) == (STEPS, "folder names")


def test_two_of_one_step_are_told_by_something_else(tmp_path):
    _, paths = checkpoints(tmp_path)
    (paths[0] / "trainer_state.json").write_text(json.dumps({"global_step": 200}))
    assert order([open_checkpoint(path) for path in paths])[1] == "folder names"


def test_a_file_in_a_numbered_folder(tmp_path):
    _, paths = checkpoints(tmp_path, state_files=False)
    files = [open_checkpoint(path / "model.safetensors") for path in paths]
    assert order(files) == (STEPS, "folder names")


def test_only_where_it_was_asked_for(tmp_path):
    base, paths = checkpoints(tmp_path)
    assert described(base, *paths).trajectory is None
    assert described(base, paths[0], trajectory=True).trajectory is None
