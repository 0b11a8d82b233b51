"""Singular values and what is made of them, against numpy's own SVD in float64 and closed forms."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.builders import copied, move, state, write

from bitfit_probe.align import align
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.diff import compare
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.measures import spectra as spectra_module
from bitfit_probe.measures.lora import read_lora
from bitfit_probe.measures.spectra import RANKS, effective_rank, left_out, spectra

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


def test_effective_rank_of_nothing():
    assert effective_rank([0.0, 0.0]) == 0.0


# Merge strength -----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["bert", "bert rslora", "gpt2"])
def adapted(request, tmp_path_factory):
    """(kind, adapter folder, model with the adapter) made by peft: B not zero, one rank its own."""
    import peft
    from support.builders import model

    kind, *more = request.param.split()
    layers = {"bert": ["query", "value", "word_embeddings"], "gpt2": ["c_attn"]}[kind]
    config = peft.LoraConfig(
        r=4,
        lora_alpha=12,
        use_rslora="rslora" in more,
        target_modules=layers,
        rank_pattern={"value": 2} if kind == "bert" else {},
        alpha_pattern={"value": 6} if kind == "bert" else {},
        fan_in_fan_out=kind == "gpt2",
    )
    wrapped = peft.get_peft_model(model(kind), config)
    torch.manual_seed(3)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("adapter")
    wrapped.save_pretrained(folder)
    return kind, folder, wrapped


def strengths(folder, kind, adapter, tuned):
    found = spectra(*compared(folder, state(kind), tuned), adapter=read_lora(adapter))
    assert found
    return [item.merge_strength for item in found if item.merge_strength is not None]


def merged(wrapped, kind):
    """The state dict after peft's own merge."""
    import copy

    full = copy.deepcopy(wrapped).merge_and_unload().state_dict()
    return {name: full[name].clone().contiguous() for name in state(kind)}


def test_merged_once_twice_never(adapted, tmp_path):
    kind, adapter, wrapped = adapted
    base, once = state(kind), merged(wrapped, kind)
    twice = {name: once[name] + (once[name] - base[name]) for name in base}
    count = {"bert": 5, "gpt2": 2}[kind]
    for times, tuned in ((1, once), (2, twice), (0, base)):
        found = strengths(tmp_path, kind, adapter, tuned)
        assert found == pytest.approx([times] * count, abs=1e-5)


def test_a_full_fine_tune_has_no_share_of_the_adapter(adapted, tmp_path):
    """Noise in all directions: the inner product is that of chance, the adapter's norm its own."""
    kind, adapter, _ = adapted
    found = strengths(tmp_path, kind, adapter, move(state(kind), *state(kind), by=0.001))
    assert max(map(abs, found)) < 0.05


def test_the_adapter_fits_a_bare_base(adapted, tmp_path):
    kind, adapter, wrapped = adapted
    if kind != "bert":
        pytest.skip("one architecture is enough")
    sides = (
        {name.removeprefix("bert."): tensor for name, tensor in side.items() if name.startswith("bert.")}
        for side in (state(kind), merged(wrapped, kind))
    )
    found = spectra(*compared(tmp_path, *sides), adapter=read_lora(adapter))
    assert [item.merge_strength for item in found] == pytest.approx([1] * 5, abs=1e-5)


def edit(adapter, folder, config=None, tensors=None):
    """A copy of an adapter with parts of its config or tensors replaced."""
    folder.mkdir()
    known = json.loads((adapter / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(known | (config or {})))
    save_file(
        (tensors or copied)(load_file(adapter / "adapter_model.safetensors")),
        folder / "adapter_model.safetensors",
    )
    return folder


def elsewhere(tensors):
    return {name.replace("layer.", "block."): t for name, t in tensors.items() if "layer." in name}


@pytest.mark.parametrize(
    ("config", "tensors", "code", "text"),
    [
        ({"use_dora": True}, None, "BE113", "DoRA"),
        ({"lora_alpha": "many"}, None, "BE107", "scale"),
        (None, lambda old: {"x": torch.ones(1)}, "BE102", "no LoRA factors"),
        (None, elsewhere, "BE201", "no matrix"),
        (None, lambda old: {n: t[..., :-1].contiguous() for n, t in old.items()}, "BE202", "factors"),
    ],
)  # fmt: skip
def test_an_adapter_that_does_not_fit_is_one_line(config, tensors, code, text, adapted, tmp_path):
    kind, adapter, _ = adapted
    if kind != "bert":
        pytest.skip("one architecture is enough")
    other = edit(adapter, tmp_path / "other", config, tensors)
    (tmp_path / "pair").mkdir()
    with pytest.raises(BitfitProbeError, match=text) as caught:
        strengths(tmp_path / "pair", kind, other, move(state(kind), QUERY))
    assert caught.value.code == code


def test_a_folder_without_an_adapter(tmp_path):
    with pytest.raises(BitfitProbeError, match="no PEFT adapter") as caught:
        read_lora(tmp_path)
    assert caught.value.code == "BE101"
