"""Changes of known form and size, planted in real models of three architectures."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from support.builders import State, write

from bitfit_probe.forms import forms_of_pair
from bitfit_probe.pair import Pair
from bitfit_probe.records.forms import Form, Forms

#: A hidden size at which a head, a third and a block of a grid are distinct.
WIDTH, HEADS = 64, 4
_SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": (
        "BertModel",
        {
            "hidden_size": WIDTH,
            "num_hidden_layers": 4,
            "num_attention_heads": HEADS,
            "intermediate_size": 128,
        },
    ),
    "gpt2": ("GPT2Model", {"n_embd": WIDTH, "n_layer": 4, "n_head": HEADS}),
    "llama": (
        "LlamaModel",
        {
            "hidden_size": WIDTH,
            "num_hidden_layers": 4,
            "num_attention_heads": HEADS,
            "num_key_value_heads": HEADS,
            "intermediate_size": 128,
        },
    ),
}
#: A square matrix of the second layer of each.
SQUARE = {
    "bert": "encoder.layer.1.attention.self.query.weight",
    "gpt2": "h.1.attn.c_proj.weight",
    "llama": "layers.1.self_attn.q_proj.weight",
}
Change = Callable[[torch.Tensor], torch.Tensor]


@cache
def _fresh(bed: str) -> State:
    import transformers

    name, settings = _SIZES[bed]
    cls = getattr(transformers, name)
    torch.manual_seed(3)
    model = cls(cls.config_class(**settings, vocab_size=96))
    draw = torch.Generator().manual_seed(4)
    # GPT-2 draws output projections so small that they are no matrix like the others.
    model.state_dict()[SQUARE[bed]].normal_(0, 0.02, generator=draw)
    # Initialisation leaves biases at 0 and norms at 1, where many forms are one; pretraining does not.
    return {
        name: tensor + 0.05 * torch.randn(tensor.shape, generator=draw)
        if tensor.ndim == 1
        else tensor.clone()
        for name, tensor in model.state_dict().items()
    }


def bed(kind: str, dtype: torch.dtype = torch.float32) -> State:
    """A bare model's weights in one type."""
    return {name: tensor.to(dtype) for name, tensor in _fresh(kind).items()}


def changed(base: State, changes: dict[str, Change], dtype: torch.dtype | None = None) -> State:
    """`base` with some tensors changed in float32 and stored in `dtype`, or in the type that they had."""
    return {
        name: (changes[name](tensor.float()) if name in changes else tensor).to(dtype or tensor.dtype)
        for name, tensor in base.items()
    }


def forms(folder: Path, base: State, tuned: State, *others: State) -> Forms:
    """The forms of a pair, with other checkpoints of the base beside it."""
    ours = write(folder / "base.safetensors", base)
    pairs = [
        Pair.open(ours, write(folder / f"tuned-{number}.safetensors", state))
        for number, state in enumerate((tuned, *others))
    ]
    return forms_of_pair(pairs[0], pairs)


def by_name(folder: Path, base: State, tuned: State, *others: State) -> dict[str, Form]:
    """The form of each tensor."""
    found = forms(folder, base, tuned, *others)
    return {name: form for name, form in zip(_names(folder), found.rows, strict=True) if form is not None}


def _names(folder: Path) -> list[str]:
    pair = Pair.open(folder / "base.safetensors", folder / "tuned-0.safetensors")
    return [row.name for row in pair.comparison.tensors]


def trained(tensor: torch.Tensor, *, by: float = 5e-4, seed: int = 1) -> torch.Tensor:
    """What a run leaves: steps of either sign in every element."""
    return tensor + by * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed))
