"""Kernels against explicit per-example gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.builders import model
from task_distance.builders import words_task

from bitfit_probe.inference import LiveModel, encoding
from bitfit_probe.task_distance.kernels import Settings, inverse_deviation, kernels

FAMILIES = ["bert-bare", "roberta", "distilbert", "gpt2", "llama", "albert", "opt"]
EXACT = Settings(directions=2, ranks=(4,), sketch=None, seed=3)


def bare(kind: str) -> Any:
    if kind == "albert":
        from transformers import AlbertConfig, AlbertModel

        torch.manual_seed(1)
        config = AlbertConfig(
            vocab_size=64, embedding_size=16, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=48, max_position_embeddings=24,
        )  # fmt: skip
        made: Any = AlbertModel(config).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return made
    return model(kind).base_model


def live_of(kind: str, tokenizer: Any) -> LiveModel:
    made = bare(kind)
    for parameter in made.parameters():
        parameter.requires_grad_(False)
    pooling = "last" if kind in {"gpt2", "llama", "opt"} else "mean"
    live = LiveModel(made, "features", None, (), pooling=pooling)  # type: ignore[arg-type]
    vars(live)["tokenizer"] = tokenizer  # where `cached_property` looks first
    return live


def gradients(live: LiveModel, text: str, direction: torch.Tensor) -> dict[str, torch.Tensor]:
    """∂⟨u, h⟩/∂θ of one text alone, by torch.func."""
    inputs = live.tokenizer(text, return_tensors="pt")
    inputs = {name: value for name, value in inputs.items() if name != "token_type_ids"}
    parameters = {name: value for name, value in live.body.named_parameters() if "pooler" not in name}

    def scalar(values: dict[str, torch.Tensor]) -> torch.Tensor:
        hidden = torch.func.functional_call(live.body, values, kwargs=inputs).last_hidden_state
        return (live.pool(hidden, inputs["attention_mask"]) @ direction).sum()

    return torch.func.grad(scalar)(parameters)


def explicit(live: LiveModel, texts: tuple[str, ...], features: np.ndarray) -> dict[str, np.ndarray]:
    random = np.random.default_rng(EXACT.seed)
    out = {"bias": np.zeros((len(texts),) * 2), "weight": np.zeros((len(texts),) * 2)}
    for _ in range(EXACT.directions):
        direction = random.standard_normal(features.shape[1]) * inverse_deviation(features)
        rows = [gradients(live, text, torch.tensor(direction, dtype=torch.float32)) for text in texts]
        for name in rows[0]:
            flat = torch.stack([row[name].flatten() for row in rows]).double()
            kind = "bias" if name.endswith("bias") else "weight"
            out[kind] += (flat @ flat.T).numpy() / EXACT.directions
    return out


@pytest.mark.parametrize("kind", FAMILIES)
def test_bias_and_weight_kernels_equal_explicit_gradients(kind: str, tokenizer: Any) -> None:
    live, data = live_of(kind, tokenizer), words_task(9)
    found = kernels(live, data, EXACT)
    expected = explicit(live, data.texts, found.features)
    assert found.uncovered == ()
    assert found.weights == pytest.approx(expected["weight"], rel=1e-4, abs=1e-4 * expected["weight"].max())
    if kind == "llama":
        assert found.bias == {}
    else:
        assert found.all_biases == pytest.approx(
            expected["bias"], rel=1e-4, abs=1e-4 * expected["bias"].max()
        )


def test_the_key_bias_has_no_kernel_where_softmax_cancels_it(tokenizer: Any) -> None:
    found = kernels(live_of("bert-bare", tokenizer), words_task(6), EXACT)
    traces = {role: np.trace(kernel) for (role, layer), kernel in found.bias.items() if layer == 0}
    assert traces["k"] < 1e-10 * traces["v"]


def test_lora_of_the_width_is_the_weight_kernel_of_the_matrices_on_average(tokenizer: Any) -> None:
    """E⟨Ax, Ax'⟩ = ⟨x, x'⟩, so a large rank estimates the kernel of all linear weights."""
    live, data = live_of("bert-bare", tokenizer), words_task(6)
    settings = Settings(directions=1, ranks=(2, 4096), sketch=None, seed=1)
    found = kernels(live, data, settings)
    matrices = np.zeros((6, 6))
    random = np.random.default_rng(settings.seed)
    direction = random.standard_normal(found.features.shape[1]) * inverse_deviation(found.features)
    rows = [gradients(live, text, torch.tensor(direction, dtype=torch.float32)) for text in data.texts]
    linear = {name for name, module in live.body.named_modules() if isinstance(module, torch.nn.Linear)}
    for name in rows[0]:
        if name.removesuffix(".weight") in linear:
            flat = torch.stack([row[name].flatten() for row in rows]).double()
            matrices += (flat @ flat.T).numpy()
    assert found.lora[4096] == pytest.approx(matrices, rel=0.1, abs=0.05 * matrices.max())


def test_sketches_are_close_to_the_exact_kernels(tokenizer: Any) -> None:
    live, data = live_of("bert-bare", tokenizer), words_task(8)
    exact = kernels(live, data, EXACT)
    sketched = kernels(live, data, Settings(directions=2, ranks=(4,), sketch=24, seed=3))
    scale = np.sqrt(np.outer(np.diag(exact.weights), np.diag(exact.weights)))
    # Two projections to m dimensions err by about √(2/m) a layer; a dozen layers average that.
    assert np.abs((sketched.weights - exact.weights) / scale).max() < 3 * np.sqrt(2 / 24 / 8)
    assert sketched.all_biases == pytest.approx(exact.all_biases)


def test_batches_do_not_matter(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    live, data = live_of("roberta", tokenizer), words_task(9)
    whole = kernels(live, data, EXACT)
    monkeypatch.setattr(encoding, "_TOKENS", 16)
    pieces = kernels(live, data, EXACT)
    assert pieces.full == pytest.approx(whole.full, rel=1e-4)


def test_explained_share_by_hand(tokenizer: Any) -> None:
    """Against the weight gradients of torch: ‖Σ_t g‖²·‖x̄‖² / ‖∇W‖², with x̄ over each text's own tokens."""
    live, data = live_of("bert-bare", tokenizer), words_task(5)
    settings = Settings(directions=1, ranks=(), sketch=None, seed=3)
    found = kernels(live, data, settings)
    random = np.random.default_rng(settings.seed)
    scaled = random.standard_normal(found.features.shape[1]) * inverse_deviation(found.features)
    direction = torch.tensor(scaled, dtype=torch.float32)
    name, shift, whole = "encoder.layer.1.intermediate.dense", 0.0, 0.0
    for text in data.texts:
        gradient = gradients(live, text, direction)
        seen: list[torch.Tensor] = []
        module = live.body.get_submodule(name)
        handle = module.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        live.body(**live.tokenizer(text, return_tensors="pt"))
        handle.remove()
        mean = seen[0][0].mean(0)
        shift += float(gradient[f"{name}.bias"].square().sum() * mean.square().sum())
        whole += float(gradient[f"{name}.weight"].square().sum())
    assert found.explained["m2", 1] == pytest.approx((shift, whole), rel=1e-4)
