"""biases_only, trust_checksums, key, progress; and that the container does not matter."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.builders import biases, compare, diff_states, move, moved, state, write

import bitfit_probe
from bitfit_probe.rendering import diff_to_json, headline

FIGURES = (  # noqa: SIM905
    "mean_abs_delta l1_delta l2_delta max_abs_delta relative_l2 mean_shift cosine changed_fraction "
    "sign_flips "
    "nonfinite_base nonfinite_tuned rounding_floor above_rounding base_l2 tuned_l2"
).split()
ENDINGS = ("a.safetensors", "b.pt", "c.legacy", "d/model.safetensors.index.json", "folder")


@pytest.fixture(scope="module")
def pair_in_all_containers(tmp_path_factory):
    base = dict(sorted(state("bert").items()))  # rows follow the file's order, and safetensors sorts
    sides = base, move(base, *biases(base), "classifier.bias")
    out = []
    for side in sides:
        folder = tmp_path_factory.mktemp("side")
        (folder / "d").mkdir()
        out.append([write(folder / ending, side) for ending in ENDINGS])
    return out


def neutral(diff):
    """The JSON without what may differ between containers."""
    document = json.loads(diff_to_json(diff))
    for side in (document["base"], *(item["tuned"] for item in document["comparisons"])):
        del side["path"], side["format"]
    return document


@pytest.mark.parametrize(("one", "other"), itertools.product(range(5), range(5)))
def test_the_container_does_not_matter(pair_in_all_containers, one, other):
    bases, tuned = pair_in_all_containers
    reference = neutral(bitfit_probe.diff(bases[0], tuned[0]))
    assert reference["comparisons"][0]["verdict"] == "bitfit"
    assert neutral(bitfit_probe.diff(bases[one], tuned[other])) == reference


def test_biases_only(tmp_path):
    """Everything else is not checked, has no figure, and this is said."""
    base = state("bert")
    names = biases(base)
    tuned = move(base, *names, "bert.encoder.layer.0.output.dense.weight")
    found = compare(tmp_path, base, tuned, biases_only=True)
    assert found.verdict == "bitfit"
    assert moved(found) == set(names)
    rest = [item for item in found.tensors if item.name not in names]
    assert {item.judged_by for item in rest} == {"not-checked"}
    assert {item.identical for item in rest} == {item.moved for item in rest} == {None}
    assert {getattr(item, figure) for item in rest for figure in FIGURES} == {None}
    assert found.summary.judged_by == {"compared": len(names), "checksum": 0, "not-checked": len(rest)}
    assert found.summary.compared_tensors == len(names)
    assert (found.summary.head, found.summary.head_changed) == ("not-checked", False)
    assert headline(found) == (
        f"BitFit: {len(names)} of {len(names)} biases moved; biases only: the rest ({len(rest)} tensors) "
        "was not checked."
    )


def test_biases_only_of_identical_files_claims_no_more_than_it_read(tmp_path):
    base = state("bert")
    found = compare(tmp_path, base, base, biases_only=True)
    assert headline(found).startswith(f"Identical where checked: {len(biases(base))} tensors")


def test_biases_only_with_an_unchecked_old_head_counts_only_what_it_read(tmp_path):
    base = state("bert")
    tuned = base | {"qa_outputs.weight": torch.randn(2, 32), "qa_outputs.bias": torch.randn(2)}
    found = compare(tmp_path, base, tuned, biases_only=True)
    assert f"none of the other {len(biases(base))} tensors moved" in headline(found)


def test_checksums_are_trusted_only_when_asked(tmp_path):
    base = state("bert")
    names = biases(base)
    paths = write(tmp_path / "a.pt", base), write(tmp_path / "b.pt", move(base, *names))
    plain, trusting = (
        bitfit_probe.diff(*paths, trust_checksums=trust).comparisons[0] for trust in (False, True)
    )
    total = len(base)
    assert plain.summary.judged_by == {"compared": total, "checksum": 0, "not-checked": 0}
    assert trusting.summary.judged_by == {
        "compared": len(names),
        "checksum": total - len(names),
        "not-checked": 0,
    }
    assert (trusting.verdict, moved(trusting)) == ("bitfit", set(names))
    same = bitfit_probe.diff(paths[0], paths[0], trust_checksums=True).comparisons[0]
    assert headline(same) == f"Identical: nothing changed in {total} tensors, by checksum."


def test_key_chooses_a_state_dict(tmp_path):
    base = state("bert")
    tuned = move(base, *biases(base))
    torch.save({"model": base, "ema": tuned}, tmp_path / "both.pt")
    plain = write(tmp_path / "base.safetensors", base)
    verdicts = [
        bitfit_probe.diff(plain, tmp_path / "both.pt", state_dict_key=key).comparisons[0].verdict
        for key in ("model", "ema", None)
    ]
    assert verdicts == ["identical", "bitfit", "identical"]  # the live weights win over the average


def test_progress_reaches_the_total(tmp_path):
    base = state("bert")
    seen = []
    compare(
        tmp_path, base, move(base, *biases(base)), progress=lambda done, total: seen.append((done, total))
    )
    done = [step for step, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (2 * 4 * sum(t.numel() for t in base.values()),) * 2


def test_no_tuned_checkpoint_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        bitfit_probe.diff("base.pt")


def test_frame_has_a_row_a_tensor_and_tuned(tmp_path):
    base = state("gpt2")
    result = diff_states(tmp_path, base, base, move(base, *biases(base)))
    frame = result.frame()
    rows = [item for comparison in result.comparisons for item in comparison.tensors]
    assert len(frame) == len(rows)
    assert list(frame["name"]) == [item.name for item in rows]
    assert set(frame["tuned"]) == {comparison.tuned.path for comparison in result.comparisons}
    assert set(FIGURES) <= set(frame.columns)
    assert {"role", "layer", "stack", "kind", "part", "judged_by"} <= set(frame.columns)
    by_hand = [item.mean_abs_delta for item in rows]
    assert frame["mean_abs_delta"].tolist() == by_hand


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
@pytest.mark.parametrize("how", ["bitfit", "everything"])
def test_memory_stays_under_64_mb(tmp_path, ending, how):
    """Peak anonymous memory of a process that diffs 100 MB against 100 MB."""
    base = {f"encoder.layer.{i}.w.weight": torch.zeros(2048, 3072) for i in range(4)}
    base |= {f"encoder.layer.{i}.w.bias": torch.zeros(3072) for i in range(4)}
    one = write(tmp_path / f"base{ending}", base)
    for name, tensor in base.items():
        if how == "everything" or name.endswith("bias"):
            tensor += 1
    two = write(tmp_path / f"tuned{ending}", base)
    code = (
        "import sys, threading\n"
        "from bitfit_probe.api.compare import diff\n"
        "def anon():\n"
        "    return next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('RssAnon'))\n"
        "peak = [0]\n"
        "diff(*sys.argv[1:], progress=lambda *_: peak.__setitem__(0, max(peak[0], anon())))\n"
        "print(max(peak[0], anon()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, one, two],
        capture_output=True,
        text=True,
        check=True,
    )
    one.unlink(), two.unlink()
    assert 1024 < int(done.stdout) < 64 * 1024


def test_numpy_stays_silent_on_any_value(tmp_path, recwarn):
    random = np.random.default_rng(0).integers(0, 2**32, 4096, dtype=np.uint32).view(np.float32)
    base = {"encoder.layer.0.weight": torch.from_numpy(random).reshape(64, 64)}
    compare(tmp_path, base, {"encoder.layer.0.weight": base["encoder.layer.0.weight"].flip(0).half()})
    assert [str(item.message) for item in recwarn] == []
