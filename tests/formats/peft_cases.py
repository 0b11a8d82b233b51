"""Every method of the installed peft by its main options, and ours beside peft's own merge.

A tiny model gets the adapter, every trained value noise; peft saves it, loads it again and merges it. Ours
lays the saved adapter over the base's file. Where we refuse, the alternative that the message names is
followed: the merged model is compared with the base, or the adapter with another one of its kind.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from support.builders import model, state, write

import bitfit_probe as bp
from bitfit_probe.align import align
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import UnsupportedError

LINEAR = ["q_proj", "v_proj", "down_proj"]
#: Peft computes in float32, we in float64.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Case:
    """One method with its options, on a tiny model."""

    method: str
    option: str
    config: dict[str, Any] = field(default_factory=dict)
    model: str = "llama"
    targets: Any = field(default_factory=lambda: LINEAR)

    @property
    def name(self) -> str:
        """Method and option."""
        return f"{self.method}: {self.option}" if self.option else self.method


@dataclass(frozen=True)
class Outcome:
    """What came of a case.

    Attributes
    ----------
    difference
        The largest one between ours and peft's merge; None where ours is refused.
    refusal
        The message.
    alternative
        What was done as the message says.
    """

    difference: float | None = None
    refusal: str = ""
    alternative: str = ""


def _lora(option: str, model: str = "llama", targets: Any = None, **config: Any) -> Case:
    own = {"r": 4, "lora_alpha": 8} | config
    return Case("LORA", option, own, model, targets or LINEAR)


CASES = (
    _lora(""),
    _lora("every linear layer", targets="all-linear"),
    _lora("bias all", "bert", ["query", "value"], bias="all"),
    _lora("bias lora_only", "bert", ["query", "value"], bias="lora_only"),
    _lora("lora_bias", "bert", ["query"], lora_bias=True),
    _lora("use_dora", use_dora=True),
    _lora("use_rslora", use_rslora=True),
    _lora("use_dora and use_rslora", use_dora=True, use_rslora=True),
    _lora("rank_pattern", rank_pattern={"v_proj": 2}),
    _lora("alpha_pattern", alpha_pattern={r"layers\.1\..*q_proj": 32}),
    _lora("layers_to_transform", layers_to_transform=[1]),
    _lora("modules_to_save", "bert", ["query"], modules_to_save=["classifier"]),
    _lora("trainable_token_indices", trainable_token_indices=[1, 5, 9]),
    _lora("embeddings", targets=["embed_tokens", "q_proj"]),
    _lora("fan_in_fan_out (Conv1D)", "gpt2", ["c_attn", "c_proj"], fan_in_fan_out=True),
    _lora("convolutions", "vit", ["projection"]),
    _lora("init gaussian", init_lora_weights="gaussian"),
    _lora("init orthogonal", init_lora_weights="orthogonal"),
    _lora("init PiSSA", init_lora_weights="pissa"),
    _lora("init OLoRA", init_lora_weights="olora"),
    _lora("init EVA", init_lora_weights="eva"),
    _lora("target_parameters", targets=["q_proj"], target_parameters=["mlp.down_proj.weight"]),
    _lora("layer_replication", layer_replication=[[0, 2], [1, 2]]),
    _lora("use_qalora", use_qalora=True, qalora_group_size=8),
    _lora("alora_invocation_tokens", alora_invocation_tokens=[1, 2]),
    _lora("use_bdlora", use_bdlora={"target_modules_bd_a": ["q_proj"], "nblocks": 2, "match_strict": False}),
    Case("ADALORA", "", {"init_r": 4, "target_r": 2, "lora_alpha": 8, "total_step": 10}),
    Case("LOHA", "", {"r": 3, "alpha": 6}),
    Case(
        "LOHA",
        "rank_pattern and alpha_pattern",
        {"r": 3, "rank_pattern": {"v_proj": 2}, "alpha_pattern": {"v_proj": 9}},
    ),
    Case("LOHA", "convolutions", {"r": 3}, "vit", ["projection"]),
    Case("LOHA", "use_effective_conv2d", {"r": 3, "use_effective_conv2d": True}, "vit", ["projection"]),
    Case("LOKR", "", {"r": 3, "alpha": 6}),
    Case("LOKR", "decompose_both", {"r": 1, "decompose_both": True}),
    Case("LOKR", "decompose_factor", {"r": 3, "decompose_factor": 4}),
    Case("OFT", "", {"oft_block_size": 8}),
    Case("OFT", "Cayley, not Neumann", {"oft_block_size": 8, "use_cayley_neumann": False}),
    Case("OFT", "r and block_share", {"r": 4, "oft_block_size": 0, "block_share": True}),
    Case("OFT", "coft", {"oft_block_size": 8, "coft": True}),
    Case("BOFT", "", {"boft_block_size": 4}),
    Case("IA3", "", {"target_modules": LINEAR, "feedforward_modules": ["down_proj"]}),
    Case("VERA", "", {"r": 4}),
    Case("VERA", "save_projection off", {"r": 4, "save_projection": False}),
    Case("PVERA", "", {"r": 4}),
    Case("FOURIERFT", "", {"n_frequency": 20}),
    Case("HRA", "", {"r": 4}),
    Case("HRA", "apply_GS", {"r": 4, "apply_GS": True}),
    Case("VBLORA", "", {"r": 2, "num_vectors": 10, "vector_length": 8}),
    Case("RANDLORA", "", {"r": 4}),
    Case("MISS", "", {"r": 4}),
    Case("MISS", "bat", {"r": 4, "init_weights": "bat"}),
    Case("MISS", "mini", {"r": 4, "mini_r": 4, "init_weights": "mini"}),
    Case("LN_TUNING", "", {}, "llama", ["input_layernorm", "norm"]),
    Case("C3A", "", {"block_size": 8}, "llama", ["q_proj", "down_proj"]),
    Case("SHIRA", "", {"r": 2}),
    Case("ROAD", "", {"group_size": 8}),
    Case("WAVEFT", "", {"n_frequency": 20}),
    Case("HIRA", "", {"r": 4}),
    Case("DELORA", "", {"r": 4}),
    Case("GRALORA", "", {"r": 4, "gralora_k": 2}),
    Case("BEFT", "", {}, "bert", ["value"]),
    Case("TRAINABLE_TOKENS", "", {"token_indices": [1, 5]}, "llama", ["embed_tokens"]),
    Case("UNILORA", "", {"r": 4, "theta_d_length": 64}),
    Case("TINYLORA", "", {"r": 2, "u": 8}),
    Case("GLORA", "", {"r": 4}),
    Case("DEFT", "", {"r": 4}),
    Case("PSOFT", "", {"r": 8}),
    Case("PEANUT", "", {"r": 4}),
    Case("LILY", "", {"r": 4}),
    Case("FROD", "", {}),
    Case("OSF", "", {"effective_rank": 4}),
    Case("ADAMSS", "", {"r": 8}),
    Case("SUPERTUNING", "", {}),
    Case("SHADOW", "", {}),
    Case("POLY", "", {"r": 2, "n_tasks": 2, "n_skills": 2, "n_splits": 2}),
    Case("XLORA", "", {"task_type": "CAUSAL_LM", "hidden_size": 32}, targets=None),
    Case("PROMPT_TUNING", "", {"task_type": "CAUSAL_LM", "num_virtual_tokens": 3}, targets=None),
    Case(
        "MULTITASK_PROMPT_TUNING",
        "",
        {"task_type": "CAUSAL_LM", "num_virtual_tokens": 3, "num_tasks": 2},
        targets=None,
    ),
    Case(
        "P_TUNING",
        "",
        {"task_type": "CAUSAL_LM", "num_virtual_tokens": 3, "encoder_hidden_size": 8},
        targets=None,
    ),
    Case("PREFIX_TUNING", "", {"task_type": "CAUSAL_LM", "num_virtual_tokens": 3}, targets=None),
    Case(
        "CPT",
        "",
        {
            "task_type": "CAUSAL_LM",
            "cpt_token_ids": [1, 2],
            "cpt_mask": [1, 1],
            "cpt_tokens_type_mask": [1, 2],
        },
        targets=None,
    ),
    Case("CARTRIDGE", "", {"task_type": "CAUSAL_LM", "num_virtual_tokens": 4}, targets=None),
    Case(
        "ADAPTION_PROMPT", "", {"task_type": "CAUSAL_LM", "adapter_len": 2, "adapter_layers": 2}, targets=None
    ),
)


def run(case: Case, folder: Path) -> Outcome:
    """Write the adapter of `case` into `folder`, and hold ours against peft's merge.

    Raises
    ------
    Exception
        Whatever peft raises: then there is nothing to compare with.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = write(folder / "base.safetensors", state(case.model))
        adapter = saved(case, folder / "adapter", 11)
        try:
            alignment = align(open_checkpoint(base), open_checkpoint(adapter))
        except UnsupportedError as error:
            return Outcome(refusal=str(error), alternative=_followed(case, folder, str(error)))
        merged = _merged(case, adapter)
    assert not alignment.unmatched_tuned
    return Outcome(max(_difference(pair, merged) for pair in alignment.pairs))


def saved(case: Case, folder: Path, seed: int) -> Path:
    """The adapter as peft saves it, its trained values moved by noise."""
    settings = dict(case.config)
    if case.targets is not None:
        settings.setdefault("target_modules", case.targets)
    if case.method == "XLORA":
        settings["adapters"] = {"one": str(saved(CASES[0], folder.with_name("one"), seed))}
    config = PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(case.method)](**settings)
    torch.manual_seed(seed)
    plain = model(case.model)
    plain.config.use_cache = False  # as X-LoRA wants it
    adapted = peft.get_peft_model(plain, config)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    adapted.save_pretrained(folder)
    return folder


def _merged(case: Case, adapter: Path) -> dict[str, torch.Tensor]:
    return dict(peft.PeftModel.from_pretrained(model(case.model), adapter).merge_and_unload().state_dict())


def _difference(pair: Any, merged: dict[str, torch.Tensor]) -> float:
    whole = merged[pair.base.name].double().numpy()
    ours = pair.tuned.values()
    if ours.shape != whole.shape:  # a part of a fused bias
        return 0.0
    return float(np.abs(ours - whole).max(initial=0.0))


def _followed(case: Case, folder: Path, message: str) -> str:
    """Do as the message says, and say what that was; some tensor moves."""
    if "merge_and_unload" in message:
        merged = {name: t.clone() for name, t in _merged(case, folder / "adapter").items()}
        (found,) = bp.diff(
            folder / "base.safetensors", write(folder / "merged.safetensors", merged)
        ).comparisons
        assert found.coverage.enough
        done = "merged by peft"
    elif case.method == "XLORA":
        (found,) = bp.diff(folder / "base.safetensors", folder / "adapter" / "0").comparisons
        done = "one of the LoRAs that it mixes"
    else:
        (found,) = bp.diff(folder / "adapter", saved(case, folder / "other", 12)).comparisons
        done = "beside another of its kind"
    assert found.summary.changed_tensors > 0
    return done
