"""BP3xx: each rule at its boundary, and silent beside it."""

from __future__ import annotations

import pytest
import torch
from support.builders import biases, copied, move, state, write
from support.checking import codes, only, run_rules
from support.pairs import bitfit, shifted, write_pair

from bitfit_probe.rules.movement.beyond_float16 import FLOAT16_MAX
from bitfit_probe.rules.movement.decay_on_norms import towards_zero

MATRIX = "bert.encoder.layer.0.output.dense.weight"
NORMS = ("LayerNorm.weight",)


def evidence(finding):
    return [item.value for item in finding.evidence]


# Freezing -----------------------------------------------------------------------------------------


def test_one_matrix_among_biases(tmp_path):
    base, tuned = bitfit()
    found = only(*write_pair(tmp_path, base, move(tuned, MATRIX)), code="BP301")
    assert (found.severity, found.subjects) == ("warning", (MATRIX,))


def test_matrices_moved_in_a_run_that_says_bitfit(tmp_path):
    base, _ = bitfit()
    paths = write_pair(tmp_path, base, move(base, *base), run__json={"method": "BitFit"})
    found = only(*paths, code="BP301")
    assert found.severity == "error"
    assert "run.json calls the run bias-only" in found.message


@pytest.mark.parametrize("claim", [{}, {"method": "full"}, {"method": "bitfit+norm"}, {"method": 3}])
def test_full_fine_tuning_is_no_broken_freeze(tmp_path, claim):
    base, _ = bitfit()
    assert "BP301" not in codes(*write_pair(tmp_path, base, move(base, *base), run__json=claim))


def test_the_folder_s_name_is_a_claim(tmp_path):
    base, _ = bitfit()
    ours, theirs = write_pair(tmp_path, base, move(base, *base))
    renamed = theirs.rename(tmp_path / "my-bitfit-run")
    assert "BP301" in codes(ours, renamed)


def norms(base, leaf):
    return [name for name in base if name.endswith(f"LayerNorm.{leaf}") and name.startswith("bert")]


def test_norm_scales_make_a_variant(tmp_path):
    base, tuned = bitfit()
    paths = write_pair(tmp_path, base, move(tuned, *norms(base, "weight")))
    assert codes(*paths) == []
    assert "BitFit with norms: 5 of 5" in only(*paths, code="BP302").message


def test_norm_biases_left_out_make_a_variant(tmp_path):
    base, tuned = bitfit()
    for name in norms(base, "bias"):
        tuned[name] = base[name].clone()
    assert "none of 5 norm biases" in only(*write_pair(tmp_path, base, tuned), code="BP302").message


def test_bitfit_proper_is_no_variant(tmp_path):
    assert [f.code for f in run_rules(*write_pair(tmp_path, *bitfit())).findings] == []


# Decay --------------------------------------------------------------------------------------------


def shrunk(base, share, *names):
    out = copied(base)
    for name in names:
        out[name] = (1 - share) * base[name]
    return out


@pytest.mark.parametrize(("share", "found"), [(0.2, True), (0.0005, False)])
def test_norms_and_biases_that_shrink(tmp_path, share, found):
    base = state("bert-mlm")
    names = [name for name in base if base[name].ndim == 1 and name.startswith("bert")]
    paths = write_pair(tmp_path, base, shrunk(base, share, *names))
    assert ("BP303" in codes(*paths)) is found
    if found:
        assert only(*paths, code="BP303").evidence[1].value == pytest.approx(share, rel=1e-4)


def test_a_third_of_them_is_not_most(tmp_path):
    base, tuned = bitfit()
    few = biases(base)[::4]
    decayed = shrunk(base, 0.2, *few)
    tuned |= {name: decayed[name] for name in few}
    assert "BP303" not in codes(*write_pair(tmp_path, base, tuned))


def test_growth_is_no_decay(tmp_path):
    base = state("bert-mlm")
    assert "BP303" not in codes(*write_pair(tmp_path, base, shrunk(base, -0.2, *biases(base))))


def test_the_cosine_from_norms_is_that_of_the_vectors(tmp_path):
    base, tuned = bitfit()
    row = run_case(tmp_path, base, tuned).rows["bert.encoder.layer.0.output.dense.bias"]
    b, t = (side["bert.encoder.layer.0.output.dense.bias"].double() for side in (base, tuned))
    expected = torch.nn.functional.cosine_similarity(t - b, -b, dim=0)
    assert towards_zero(row) == pytest.approx(float(expected), abs=1e-6)


def run_case(folder, base, tuned):
    from bitfit_probe.pair import Pair

    ours, theirs = write_pair(folder, base, tuned)
    return Pair.open(ours, theirs)


# Statistics and keys ------------------------------------------------------------------------------

STATISTICS = {
    "bn.weight": torch.ones(8),
    "bn.bias": torch.zeros(8),
    "bn.running_mean": torch.zeros(8),
    "bn.running_var": torch.ones(8),
    "bn.num_batches_tracked": torch.tensor(10),
}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"bn.running_mean": torch.ones(8)}, True),
        ({"bn.num_batches_tracked": torch.tensor(11)}, True),
        ({"bn.running_mean": torch.ones(8), "bn.weight": 2 * torch.ones(8)}, False),  # it trained
        ({}, False),
    ],
)
def test_batch_norm_statistics(tmp_path, changes, found):
    base, tuned = bitfit()
    paths = write_pair(tmp_path, base | STATISTICS, tuned | STATISTICS | changes)
    assert ("BP304" in codes(*paths)) is found


def pretrained_norm():
    """Statistics of a batch norm that saw images, beside one of two others."""
    one = {"mean": torch.linspace(-1, 1, 8), "var": torch.linspace(0.5, 2, 8)}
    return {
        f"{name}.running_{what}": value.clone() for name in ("bn1", "bn2") for what, value in one.items()
    } | {
        f"{name}.{leaf}": torch.linspace(0.5, 1, 8) for name in ("bn1", "bn2") for leaf in ("weight", "bias")
    }


OVERWRITTEN = {
    "reset": ({"running_mean": torch.zeros(8), "running_var": torch.ones(8)}, "as before the first batch"),
    "mean alone": ({"running_mean": torch.zeros(8)}, "as before the first batch"),
    "raw pixels": ({"running_var": 3300 * torch.linspace(0.5, 2, 8)}, "3.3e+03 times the base's"),
    "smaller": ({"running_var": torch.linspace(0.5, 2, 8) / 3300}, "0.0003 times the base's"),
    "other images": ({"running_var": 5 * torch.linspace(0.5, 2, 8)}, None),
}


@pytest.mark.parametrize("case", OVERWRITTEN)
def test_batch_norm_statistics_that_were_overwritten(tmp_path, case):
    """In a norm that trained, so that its statistics may move."""
    changes, words = OVERWRITTEN[case]
    base, tuned = bitfit()
    norms = pretrained_norm()
    trained = {name: value * 1.01 for name, value in norms.items()}
    after = trained | {f"bn1.{leaf}": value for leaf, value in changes.items()}
    paths = write_pair(tmp_path, base | norms, tuned | after)
    if words is None:
        assert "BP304" not in codes(*paths)
        return
    found = only(*paths, code="BP304")
    assert (found.severity, found.subjects) == ("error", ("bn1",))
    assert words in found.message


KEYS = [f"bert.encoder.layer.{layer}.attention.self.key.bias" for layer in range(2)]
VALUES = [name.replace("key", "value") for name in KEYS]


@pytest.mark.parametrize(("amount", "found"), [(0.00099, False), (0.00101, True)])
def test_key_biases_beside_value_biases(tmp_path, amount, found):
    base, tuned = bitfit()
    tuned = shifted(tuned | {name: base[name] for name in VALUES}, 0.1, *VALUES)
    paths = write_pair(tmp_path, base, shifted(tuned, amount, *KEYS))
    said = [item for item in run_rules(*paths).findings if item.code == "BP305"]
    assert bool(said) is found
    if found:
        assert evidence(said[0]) == pytest.approx([amount, 0.1], rel=1e-3)
        assert set(said[0].subjects) == set(KEYS)


def test_where_keys_rotate_their_bias_counts(tmp_path):
    base, tuned = bitfit()
    ours, theirs = write_pair(tmp_path, base, shifted(tuned, 0.1, *KEYS))
    for folder in (ours, theirs):
        text = (folder / "config.json").read_text()
        setting = '"position_embedding_type": "relative_key_query", "model_type"'
        (folder / "config.json").write_text(text.replace('"model_type"', setting))
    assert not [item for item in run_rules(ours, theirs).findings if item.code == "BP305"]


# Numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_not_finite(tmp_path, bad):
    base, tuned = bitfit()
    tuned[MATRIX][0, :3] = bad
    found = only(*write_pair(tmp_path, base, tuned), code="BP306")
    assert found.subjects == (MATRIX,)
    assert evidence(found) == [3, pytest.approx(3 / tuned[MATRIX].numel())]


def test_a_new_head_is_scanned_too(tmp_path):
    base, tuned = bitfit()
    tuned["classifier.weight"] = torch.full((3, 32), float("nan"))
    assert "classifier.weight" in only(*write_pair(tmp_path, base, tuned), code="BP306").subjects


@pytest.mark.parametrize(("value", "found"), [(FLOAT16_MAX, False), (FLOAT16_MAX + 1, True)])
def test_beyond_float16(tmp_path, value, found):
    base, tuned = bitfit()
    tuned[MATRIX][0, 0] = value
    paths = write_pair(tmp_path, base, tuned)
    assert ("BP307" in codes(*paths)) is found
    if found:
        assert only(*paths, code="BP307").evidence[0].value == value


def test_a_long_vector_of_small_numbers_is_not_large(tmp_path):
    base, tuned = bitfit()
    base["big.weight"] = torch.zeros(300, 400)
    tuned["big.weight"] = torch.full((300, 400), 1000.0)  # its length is 346,410
    assert "BP307" not in codes(*write_pair(tmp_path, base, tuned))


def test_overflow_explains_the_infinities(tmp_path):
    base, tuned = bitfit()
    tuned[MATRIX][0, 0] = 1e6
    paths = write_pair(tmp_path, base, {name: tensor.half() for name, tensor in tuned.items()})
    found = [item.code for item in run_rules(*paths).findings if item.severity == "error"]
    assert found == ["BP307"]


def test_nan_alone_is_no_overflow(tmp_path):
    base, tuned = bitfit()
    tuned[MATRIX][0, 0] = float("nan")
    paths = write_pair(tmp_path, base, {name: tensor.half() for name, tensor in tuned.items()})
    assert "BP306" in codes(*paths)
    assert "BP307" not in codes(*paths)


@pytest.mark.parametrize(("share", "found"), [(0.04, False), (0.06, True)])
def test_norm_scales_that_change_their_sign(tmp_path, share, found):
    base, tuned = bitfit()
    for name in norms(base, "weight"):
        base[name] = base[name].abs() + 1
        tuned[name] = base[name].clone()
    every = norms(base, "weight")
    flips = round(share * sum(base[name].numel() for name in every))
    tuned[every[0]][:flips] *= -1
    assert ("BP308" in codes(*write_pair(tmp_path, base, tuned))) is found


def test_a_bare_file_has_no_run_files(tmp_path):
    base, _ = bitfit()
    ours, theirs = (
        write(tmp_path / f"{n}.safetensors", side) for n, side in enumerate((base, move(base, *base)))
    )
    assert "BP301" not in codes(ours, theirs)


# Forms --------------------------------------------------------------------------------------------

ATTENTION = "attention.self.query.weight"
SQUARES = ("attention.self.query.weight", "attention.self.key.weight")


def planted(base, change, *ends):
    """Every matrix of these names changed, all biases trained."""
    _, tuned = bitfit()
    return {name: change(t) if name.endswith(ends) else tuned[name] for name, t in base.items()}


def swapped_heads(tensor):
    return tensor.view(4, 8, 32)[[1, 0, 3, 2]].reshape(tensor.shape)


FORMS = {
    "transposed": (lambda t: t.T.contiguous(), "error", "the base transposed"),
    "heads": (swapped_heads, "error", "rows in blocks of 8 in another order"),
    "halved": (lambda t: t * 0.5, "warning", "0.500 × the base, nothing else"),
    "decayed alone": (lambda t: t * 0.994, "warning", "0.9940 × the base, nothing else"),
    "shifted": (lambda t: t + 0.01, "warning", "+0.01 in every element"),
    "clipped": (lambda t: t.clamp(-0.05, 0.05), "warning", "cut to -0.05 … 0.05"),
    "rows cut": (
        lambda t: (t + 0.01 * t.flip(0)) * (torch.arange(32) % 4 > 0)[:, None],
        "warning",
        "8 of 32 rows",
    ),
    "zeros": (torch.zeros_like, "error", "0 in every element"),
    "one row": (lambda t: torch.cat([t[:1] * 9, t[1:] + 0]), None, ""),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_no_method_gives_is_said_once_for_its_group(tmp_path, form):
    change, severity, words = FORMS[form]
    base, _ = bitfit()
    paths = write_pair(tmp_path, base, planted(base, change, ATTENTION))
    if severity is None:  # every layer shares it: a choice, not an accident
        assert "BP309" not in codes(*paths)
        return
    found = only(*paths, code="BP309")
    assert found.severity == severity
    assert words in found.message
    assert found.message.startswith("2 matrices (q): ")
    assert len(found.message) <= 300
    assert found.subjects == tuple(f"bert.encoder.layer.{n}.{ATTENTION}" for n in range(2))


def test_rows_cut_from_a_trained_head_are_said(tmp_path):
    base, tuned = bitfit()
    name = next(name for name in base if name.startswith("cls") and base[name].ndim == 2)
    tuned[name] = 1.01 * base[name] + 0.01 * base[name].flip(0)
    assert "BP309" not in codes(*write_pair(tmp_path / "whole", base, tuned))
    tuned[name][::3] = 0
    found = only(*write_pair(tmp_path / "cut", base, tuned), code="BP309")
    assert found.subjects == (name,)
    assert f"{len(base[name][::3])} of {len(base[name])} rows are 0" in found.message


def test_one_row_of_one_matrix_is_damage(tmp_path):
    base, tuned = bitfit()
    tuned[MATRIX][5] *= 2
    found = only(*write_pair(tmp_path, base, tuned), code="BP309")
    assert (found.severity, found.subjects) == ("warning", (MATRIX,))
    assert "only 1 of 32 rows moved (5)" in found.message


def test_layers_that_changed_places_are_not_another_model(tmp_path):
    base, tuned = bitfit()
    for name in [name for name in base if ".layer.0." in name and base[name].ndim == 2]:
        other = name.replace(".0.", ".1.")
        tuned[name], tuned[other] = base[other].clone(), base[name].clone()
    paths = write_pair(tmp_path, base, tuned)
    assert codes(*paths)[0] == "BP309"
    assert "BP107" not in codes(*paths)
    assert "of the base" in only(*paths, code="BP309", select=("BP309",)).message


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_methods_do_is_no_such_form(tmp_path, dtype):
    """A full fine-tune, one with unseen words, decay of a table, a factor a row as IA3 merges it."""
    base, _ = bitfit()
    base = {name: tensor.to(dtype) for name, tensor in base.items()}
    table = "bert.embeddings.word_embeddings.weight"
    rows = "bert.embeddings.position_embeddings.weight"
    tuned = move(base, *base, by=0.02)
    tuned[table] = base[table].clone()
    tuned[table][:9] += 0.1
    tuned[rows] = (base[rows].float() * 0.99).to(dtype)
    scaled = [name for name in base if name.endswith("key.weight")]
    for name in scaled:
        tuned[name] = (base[name].float() * torch.linspace(0.8, 1.2, 32)[:, None]).to(dtype)
    assert "BP309" not in codes(*write_pair(tmp_path, base, tuned))
