"""Tiny bases of many families: bare bodies as transformers saves them, and those of the shared builders."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

SMALL = {
    "vocab_size": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
}
_BART = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
}
_XLNET = {"vocab_size": 64, "d_model": 32, "n_layer": 1, "n_head": 4, "d_inner": 48, "pad_token_id": 0}
BODIES: dict[str, dict[str, Any]] = {
    "albert": SMALL | {"embedding_size": 16},
    "bart": SMALL | _BART,
    "bert": SMALL,
    "bloom": SMALL | {"n_layer": 1, "n_head": 4},
    "deberta": SMALL | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "deberta-v2": SMALL | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "electra": SMALL | {"embedding_size": 16},
    "falcon": SMALL,
    "gemma2": SMALL | {"head_dim": 8, "num_key_value_heads": 2},
    "gpt_neo": SMALL | {"num_layers": 2, "num_heads": 4, "attention_types": [[["global"], 2]]},
    "gpt_neox": SMALL,
    "gptj": {
        "vocab_size": 64,
        "n_embd": 32,
        "n_layer": 1,
        "n_head": 4,
        "rotary_dim": 8,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "modernbert": SMALL | {"cls_token_id": 1, "sep_token_id": 2, "global_attn_every_n_layers": 1},
    "mpnet": SMALL,
    "opt": SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 16},
    "phi": SMALL,
    "qwen2": SMALL | {"num_key_value_heads": 2},
    "qwen3": SMALL | {"num_key_value_heads": 2, "head_dim": 8},
    "roberta": SMALL,
    "xlnet": _XLNET,
}


def write_body(kind: str, folder: Path) -> Path:
    """A bare body of a family in the Hugging Face layout."""
    import torch
    from transformers import AutoConfig, AutoModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(1)
        settings = dict(BODIES[kind])
        model = AutoModel.from_config(AutoConfig.for_model(kind, **settings))
    model.save_pretrained(folder)
    return folder
