"""Singular values and what is made of them, against numpy's own SVD in float64 and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.builders import move, state, write
from support.reporting import described

from bitfit_probe.align import align
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.comparison import compare
from bitfit_probe.comparison.updates import effective_rank
from bitfit_probe.measures import spectra as spectra_module
from bitfit_probe.measures.spectra import RANKS, left_out, spectra

QUERY = "bert.encoder.layer.0.attention.self.query.weight"


def compared(folder, base, tuned):
    number = len(list(folder.iterdir()))
    paths = [write(folder / f"{number}{side}.safetensors", x) for side, x in (("b", base), ("t", tuned))]
    ours, theirs = (open_checkpoint(path) for path in paths)
    return align(ours, theirs), compare(ours, theirs)[0]


def one(folder, base, delta):
    """The spectrum of one planted change, all in float64."""
    sides = ({"encoder.layer.0.output.dense.weight": torch.from_numpy(x)} for x in (base, base + delta))
    (found,) = spectra(*compared(folder, *sides))
    return found


def by_hand(delta):
    sigma = np.linalg.svd(delta, compute_uv=False)
    p = sigma[sigma > 0] / sigma.sum()
    squares = sigma**2
    rows = np.sort((delta**2).sum(axis=1))[::-1]
    return {
        "effective_rank": math.exp(-math.fsum(p * np.log(p))),
        "stable_rank": squares.sum() / squares[0],
        "spectral_norm": sigma[0],
        "top_row_share": rows[: math.ceil(len(rows) / 100)].sum() / rows.sum(),
        "energy": [squares[:r].sum() / squares.sum() for r in RANKS if r <= len(sigma)],
        "singular_values": sigma,
    }


def check(found, base, delta):
    for name, expected in by_hand(delta).items():
        got = getattr(found, name)
        if name == "energy":
            assert [rank for rank, _ in got] == [rank for rank in RANKS if rank <= min(delta.shape)]
            got = [share for _, share in got]
        peak = found.spectral_norm if name == "singular_values" else 1.0
        assert got == pytest.approx(expected, rel=1e-9, abs=1e-12 * peak), name
    assert found.base_spectral_norm == pytest.approx(np.linalg.norm(base, 2), rel=1e-9)


RANDOM = np.random.default_rng(11)
ORTHOGONAL = np.linalg.qr(RANDOM.standard_normal((40, 40)))[0]


def geometric(ratio, count=24):
    sigma = ratio ** np.arange(count)
    return ORTHOGONAL[:, :count] * sigma @ np.linalg.qr(RANDOM.standard_normal((32, count)))[0].T


@pytest.mark.parametrize(
    ("delta", "rank", "stable"),
    [
        (np.outer(RANDOM.standard_normal(30), RANDOM.standard_normal(20)), 1.0, 1.0),
        (0.3 * np.eye(24), 24.0, 24.0),
        (np.eye(40)[:, :7], 7.0, 7.0),
        # p_i = (1−q) qⁱ: entropy −ln(1−q) − q ln q / (1−q); Σq²ⁱ = 1/(1−q²)
        (geometric(0.1), math.exp(-math.log(0.9) - 0.1 * math.log(0.1) / 0.9), 1 / (1 - 0.01)),
        (geometric(0.5), math.exp(-math.log(0.5) - 0.5 * math.log(0.5) / 0.5), 1 / (1 - 0.25)),
    ],
    ids=["rank one", "identity", "tall identity", "geometric .1", "geometric .5"],
)
def test_known_spectra(delta, rank, stable, tmp_path):
    base = RANDOM.standard_normal(delta.shape)
    found = one(tmp_path, base, delta)
    assert found.effective_rank == pytest.approx(rank, rel=1e-4)
    assert found.stable_rank == pytest.approx(stable, rel=1e-6)


@pytest.mark.parametrize("shape", [(24, 24), (48, 16), (16, 48), (300, 12), (12, 300), (200, 1), (1, 9)])
def test_every_figure_is_numpys(shape, tmp_path, monkeypatch):
    """The tall ones are read in blocks of rows and reduced by QR."""
    monkeypatch.setattr(spectra_module, "_ELEMENTS_A_BLOCK", 256)
    base, delta = RANDOM.standard_normal((2, *shape))
    found = one(tmp_path, base, delta)
    check(found, base, base + delta - base)


def test_blocks_keep_the_small_singular_values(tmp_path, monkeypatch):
    """A Gram matrix would lose everything below 1e-8·σ₁."""
    monkeypatch.setattr(spectra_module, "_ELEMENTS_A_BLOCK", 64)
    sigma = 10.0 ** -np.arange(12)
    left = np.linalg.qr(RANDOM.standard_normal((400, 12)))[0]
    delta = left * sigma @ np.linalg.qr(RANDOM.standard_normal((12, 12)))[0].T
    found = one(tmp_path, np.zeros_like(delta), delta)
    assert found.singular_values == pytest.approx(sigma, rel=1e-4)


def test_convolutions_are_flattened_behind_their_first_axis(tmp_path):
    base, delta = RANDOM.standard_normal((2, 8, 3, 2, 2))
    found = one(tmp_path, base, delta)
    assert found.shape == (8, 12)
    check(found, base.reshape(8, 12), (base + delta - base).reshape(8, 12))


def test_top_rows(tmp_path):
    base, delta = np.zeros((200, 8)), np.full((200, 8), 0.1)
    delta[7] = delta[50] = 10.0  # two rows are one per cent of 200
    expected = 2 * 100 / (2 * 100 + 198 * 0.01)
    assert one(tmp_path, base, delta).top_row_share == pytest.approx(expected, rel=1e-12)


def test_which_tensors(tmp_path):
    """Matrices and tables outside the head that moved; no bias, no norm, nothing at rest."""
    base = state("bert")
    moving = [
        QUERY,
        "bert.embeddings.word_embeddings.weight",
        "classifier.weight",
        QUERY.replace("weight", "bias"),
    ]
    moving.append("bert.embeddings.LayerNorm.weight")
    found = spectra(*compared(tmp_path, base, move(base, *moving)))
    assert {item.name for item in found} == set(moving[:2])
    query = next(item for item in found if item.name == QUERY)
    assert (query.role, query.layer, query.stack) == ("q", 0, None)


def test_half_precision_is_measured_as_stored(tmp_path):
    base = {name: tensor.bfloat16() for name, tensor in state("bert").items()}
    tuned = move(base, QUERY)
    (found,) = spectra(*compared(tmp_path, base, tuned))
    delta = (tuned[QUERY].double() - base[QUERY].double()).numpy()
    check(found, base[QUERY].double().numpy(), delta)


def test_progress_counts_elements_up_to_the_end(tmp_path):
    base, seen = state("bert"), []
    weights = [name for name in base if name.endswith("query.weight")]
    spectra(*compared(tmp_path, base, move(base, *weights)), progress=lambda *at: seen.append(at))
    assert seen == [(1024, 2048), (2048, 2048)]


@pytest.mark.parametrize(
    ("bound", "value", "reason"),
    [("_LONGEST_SIDE", 31, "longer than 31"), ("_MOST_ELEMENTS", 1000, "more than 1,000 elements")],
)
def test_what_is_too_large_is_said(bound, value, reason, tmp_path, monkeypatch):
    base = state("bert")
    pair = compared(tmp_path, base, move(base, QUERY))
    assert left_out(pair[1]) == ()
    monkeypatch.setattr(spectra_module, bound, value)
    assert spectra(*pair) == ()
    ((name, why),) = left_out(pair[1])
    assert name == QUERY
    assert reason in why


def test_nan_is_said_and_not_decomposed(tmp_path):
    base = state("bert")
    tuned = move(base, QUERY)
    tuned[QUERY][0, 0] = math.nan
    pair = compared(tmp_path, base, tuned)
    assert spectra(*pair) == ()
    assert left_out(pair[1]) == ((QUERY, "holds NaN or infinite values"),)


def test_nan_in_an_untouched_target_of_an_adapter(tmp_path):
    """Equal bytes of a large matrix are not scanned for NaN; the change is 0 all the same."""
    base = {"encoder.layer.0.output.dense.weight": torch.ones(300, 300, dtype=torch.float64)}
    base["encoder.layer.0.output.dense.weight"][0, 0] = math.nan
    folders = [tmp_path / name for name in ("pair", "adapter")]
    for folder in folders:
        folder.mkdir()
    adapter, _ = compared(folders[1], base, {name: tensor + 1 for name, tensor in base.items()})
    (found,) = spectra(*compared(folders[0], base, base), adapter=adapter)
    assert (found.effective_rank, found.spectral_norm, found.merge_strength) == (0, 0, None)


def test_effective_rank_of_nothing():
    assert effective_rank([0.0, 0.0]) == 0.0


# Merge strength -----------------------------------------------------------------------------------


def factors(kind):
    """Low-rank updates of some matrices: name to s·B·A in float64, from factors drawn here."""
    draw = torch.Generator().manual_seed(8)
    parts = {"bert": ("query.weight", "value.weight", "word_embeddings.weight"), "gpt2": ("c_attn.weight",)}
    updates = {}
    for name, tensor in state(kind).items():
        if name.endswith(parts[kind]):
            rows, columns = tensor.shape
            left, right = (torch.randn(*size, generator=draw).double() for size in ((rows, 3), (3, columns)))
            updates[name] = 0.02 * left @ right
    return updates


def merged(kind, times):
    updates = factors(kind)
    return {n: t + times * updates[n].to(t.dtype) if n in updates else t for n, t in state(kind).items()}


def strengths(folder, kind, tuned):
    """α* by matrix; the adapter's side is b + s·B·A in float64, for the targeted matrices alone."""
    base = state(kind)
    (folder / "adapter").mkdir(exist_ok=True)
    paths = [folder / "adapter" / f"{side}.safetensors" for side in ("base", "adapter")]
    update = {name: base[name].double() + delta for name, delta in factors(kind).items()}
    adapter = align(*(open_checkpoint(write(p, s)) for p, s in zip(paths, (base, update), strict=True)))
    found = spectra(*compared(folder, base, tuned), adapter=adapter)
    return {item.name: item.merge_strength for item in found if item.merge_strength is not None}


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
@pytest.mark.parametrize("times", [1, 2, 0, -1, 0.5])
def test_merged_once_twice_never(kind, times, tmp_path):
    found = strengths(tmp_path, kind, merged(kind, times))
    assert found.keys() == factors(kind).keys()
    assert list(found.values()) == pytest.approx([times] * len(found), abs=1e-5)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_full_fine_tune_has_no_share_of_the_adapter(kind, tmp_path):
    """Noise in all directions: the inner product is that of chance, and the adapter's norm its own."""
    found = strengths(tmp_path, kind, move(state(kind), *state(kind), by=0.001))
    assert max(map(abs, found.values())) < 0.01


def test_a_merge_on_top_of_training(tmp_path):
    """The least-squares share does not mind what else moved in other directions."""
    base, once = state("bert"), merged("bert", 1)
    noise = move(base, *factors("bert"), by=0.01)
    tuned = {name: once[name] + (noise[name] - base[name]) for name in base}
    assert list(strengths(tmp_path, "bert", tuned).values()) == pytest.approx([1] * 5, abs=0.05)


def test_by_peft_itself(tmp_path):
    """Peft's own merge of the adapter that peft has saved, rsLoRA scale and one rank of its own included."""
    pytest.importorskip("bitfit_probe.checkpoint.adapters")
    import peft
    from support.builders import model

    config = peft.LoraConfig(
        r=4,
        lora_alpha=12,
        use_rslora=True,
        target_modules=["query", "value", "word_embeddings"],
        rank_pattern={"value": 2},
        alpha_pattern={"value": 6},
    )
    wrapped = peft.get_peft_model(model("bert"), config)
    torch.manual_seed(3)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    wrapped.save_pretrained(tmp_path / "adapter")
    after = wrapped.merge_and_unload().state_dict()
    base = state("bert")
    once = {name: after[name].clone() for name in base}
    twice = {name: once[name] + (once[name] - base[name]) for name in base}
    paths = [write(tmp_path / f"{i}.safetensors", side) for i, side in enumerate((base, once, twice, base))]
    report = described(*paths, spectra=True, adapter=tmp_path / "adapter")
    for measured, times in zip(report.measured, (1, 2, 0), strict=True):
        found = [item.merge_strength for item in measured.spectra]
        assert found == pytest.approx([times] * 5, abs=1e-5)
