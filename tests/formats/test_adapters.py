"""PEFT adapters: base + adapter is the model that peft itself merges, for every method and layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from support.builders import model, state, write

from bitfit_probe.align import Alignment, align
from bitfit_probe.checkpoint import open_checkpoint

State = dict[str, torch.Tensor]

LORA: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {"target_modules": ["query", "value"]}),
    "bert-every-linear": ("bert", {"target_modules": "all-linear", "r": 3}),
    "bert-rslora": ("bert", {"target_modules": ["query", "dense"], "use_rslora": True}),
    "bert-dora": ("bert", {"target_modules": ["query", "dense"], "use_dora": True}),
    "bert-patterns": (
        "bert",
        {
            "target_modules": ["query", "key"],
            "rank_pattern": {"query": 2, "layer.1.attention.self.key": 5},
            "alpha_pattern": {r".*\.layer\.0\..*query": 32, "key": 3},
        },
    ),
    "bert-bias-all": ("bert", {"target_modules": ["query"], "bias": "all"}),
    "bert-bias-lora-only": ("bert", {"target_modules": ["query"], "bias": "lora_only"}),
    "bert-lora-bias": ("bert", {"target_modules": ["query"], "lora_bias": True}),
    "bert-both-biases": ("bert", {"target_modules": ["query"], "bias": "lora_only", "lora_bias": True}),
    "bert-saved-head": ("bert", {"target_modules": ["query"], "modules_to_save": ["classifier"]}),
    "bert-embedding": ("bert", {"target_modules": ["word_embeddings"]}),
    "bert-tokens": ("bert", {"target_modules": ["query"], "trainable_token_indices": [1, 5, 9]}),
    "gpt2": ("gpt2", {"target_modules": ["c_attn", "c_proj", "c_fc"]}),
    "gpt2-dora": ("gpt2", {"target_modules": ["c_attn", "c_proj"], "use_dora": True}),
    "gpt2-bias-all": ("gpt2", {"target_modules": ["c_attn"], "bias": "all", "fan_in_fan_out": True}),
    "gpt2-embedding-dora": ("gpt2", {"target_modules": ["wpe"], "use_dora": True}),
    "llama": ("llama", {"target_modules": ["q_proj", "v_proj", "o_proj", "down_proj"]}),
    "llama-rslora-dora": (
        "llama",
        {"target_modules": ["q_proj", "k_proj", "up_proj"], "use_rslora": True, "use_dora": True},
    ),
    "vit-conv": ("vit", {"target_modules": ["projection"]}),
    "vit-conv-dora": ("vit", {"target_modules": ["projection", "q_proj"], "use_dora": True}),
}
OTHERS: dict[str, tuple[str, Any]] = {
    "ia3-bert": (
        "bert",
        peft.IA3Config(target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"]),
    ),
    "ia3-gpt2": (
        "gpt2",
        peft.IA3Config(
            target_modules=["attn.c_attn", "attn.c_proj", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"]
        ),
    ),
    "ia3-llama": (
        "llama",
        peft.IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]),
    ),
    "ln-bert": ("bert", peft.LNTuningConfig(target_modules=["LayerNorm"])),
    "ln-gpt2": ("gpt2", peft.LNTuningConfig(target_modules=["ln_1", "ln_2", "ln_f"])),
    "ln-llama": ("llama", peft.LNTuningConfig(target_modules=["input_layernorm", "norm"])),
    "beft-bert": ("bert", peft.BeftConfig(target_modules=["value"])),
    "beft-bert-head": ("bert", peft.BeftConfig(target_modules=["value"], modules_to_save=["classifier"])),
}
KINDS = OTHERS | {
    name: (kind, peft.LoraConfig(**({"r": 4} | options))) for name, (kind, options) in LORA.items()
}


def train(adapted: Any) -> None:
    """Move every trainable parameter by noise, as training would."""
    torch.manual_seed(11)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))


def save(folder: Path, kind: str, config: Any, *, safe: bool = True) -> tuple[Path, State]:
    """An adapter of noise, saved by peft, and the state dict of the model that peft merges."""
    import copy

    adapted = peft.get_peft_model(model(kind), copy.deepcopy(config))
    train(adapted)
    if safe:
        adapted.save_pretrained(folder)
    else:  # as peft wrote before safetensors
        adapted.save_pretrained(folder)
        (folder / "adapter_model.safetensors").unlink()
        torch.save(peft.get_peft_model_state_dict(adapted), folder / "adapter_model.bin")
    merged = adapted.merge_and_unload()
    return folder, merged.state_dict()


def aligned(base: Path, adapter: Path) -> Alignment:
    return align(open_checkpoint(base), open_checkpoint(adapter))


def assert_equal(alignment: Alignment, base: State, merged: State) -> None:
    """Every pair's tuned side is the merged tensor; what is not in the file, peft left alone as well."""
    parts: dict[str, list[Any]] = {}
    for pair in alignment.pairs:
        parts.setdefault(pair.base.name, []).append(pair.tuned.values())
        if not pair.in_file:
            assert torch.equal(base[pair.base.name], merged[pair.base.name])
    assert parts.keys() == base.keys()
    for name, values in parts.items():
        got = values[0] if len(values) == 1 else np.concatenate(values)  # a fused bias comes in q, k, v
        np.testing.assert_allclose(got, merged[name].double(), rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_base_and_adapter_are_what_peft_merges(tmp_path: Path, name: str, form: str) -> None:
    kind, config = KINDS[name]
    base = state(kind)
    write(tmp_path / "base.safetensors", base)
    adapter, merged = save(tmp_path / "adapter", kind, config, safe=form == "safetensors")
    alignment = aligned(tmp_path / "base.safetensors", adapter)
    assert_equal(alignment, base, merged)
    changed = {key for key in base if not torch.equal(base[key], merged[key])}
    assert changed
    assert changed <= {pair.base.name for pair in alignment.pairs if pair.in_file}
    assert not alignment.unmatched_tuned


def test_memory_stays_flat_whatever_the_size_of_a_target(tmp_path: Path) -> None:
    """32 MB of float32 and their 64 MB in float64 are never held; a few blocks are."""
    import tracemalloc

    from safetensors.numpy import save_file

    from bitfit_probe.comparison.stream import measure

    weight = np.zeros((2048, 4096), np.float32)
    save_file({"model.layers.0.self_attn.q_proj.weight": weight}, tmp_path / "base.safetensors")
    del weight
    stem = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    factors = {f"{stem}A.weight": np.ones((8, 4096)), f"{stem}B.weight": np.full((2048, 8), 0.5)}
    (tmp_path / "a").mkdir()
    save_file(factors, tmp_path / "a" / "adapter_model.safetensors")
    (tmp_path / "a" / "adapter_config.json").write_text('{"peft_type": "LORA", "lora_alpha": 16}')
    pairs = aligned(tmp_path / "base.safetensors", tmp_path / "a").pairs
    tracemalloc.start()
    (measured,) = measure(pairs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert measured.sums is not None
    assert measured.sums.delta_max == 8.0  # 16/8 · (1 · 0.5) · 8
    assert measured.sums.delta_square == pytest.approx(64.0 * 2048 * 4096, rel=1e-12)
    assert peak < 24e6


def test_reading_and_comparing_an_adapter_imports_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    write(tmp_path / "base.safetensors", state("bert"))
    paths = [tmp_path / "base.safetensors"]
    for form in ("safetensors", "bin"):
        kind, config = KINDS["bert-bias-all"]
        paths.append(save(tmp_path / form, kind, config, safe=form == "safetensors")[0])
    code = (
        "import sys, bitfit_probe\n"
        "assert [c.verdict for c in bitfit_probe.diff(*sys.argv[1:]).comparisons] == ['adapter'] * 2\n"
        "assert not {'torch', 'peft', 'transformers', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
