"""Inputs that the targets of `judged`, `tables`, `patches` and `differential` begin with."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from typing import Any

__all__ = ["SEEDS"]

Seeds = Iterator[tuple[str, bytes]]

_CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "a", "1": "b"},
        "label2id": {"a": 0, "b": 1},
        "num_labels": 2,
        "num_hidden_layers": 2,
        "hidden_size": 4,
        "vocab_size": 9,
        "max_position_embeddings": 8,
        "pad_token_id": 0,
        "torch_dtype": "float32",
    },
    "gpt2": {"model_type": "gpt2", "n_head": 2, "n_layer": 1, "eos_token_id": 8, "pad_token_id": 8},
    "neox": {"model_type": "gpt_neox", "num_attention_heads": 2, "tie_word_embeddings": True},
    "llama": {
        "model_type": "llama",
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "text_config": {"model_type": "llama"},
        "quantization_config": {"quant_method": "gptq", "bits": 4},
    },
    "foreign": {"model_type": "none", "architectures": ["NoneModel"], "num_hidden_layers": 2},
}

_LORA = {
    "peft_type": "LORA",
    "r": 2,
    "lora_alpha": 4,
    "target_modules": ["query", "value"],
    "bias": "none",
    "base_model_name_or_path": "base",
    "task_type": "SEQ_CLS",
    "modules_to_save": ["classifier"],
    "inference_mode": True,
}


def config_seeds() -> Seeds:
    """The configurations of five families; two of them beside a changed base."""
    generation = {"eos_token_id": [1, 2], "pad_token_id": 0}
    for family, config in _CONFIGS.items():
        yield family, _json(family=family, **{"config.json": config, "generation_config.json": generation})
    yield "both", _json(family="bert", also_base=["config.json"], **{"config.json": _CONFIGS["bert"]})
    yield "none", _json(family="llama")


def adapter_seeds() -> Seeds:
    """Every method that is read, with what its configuration says."""
    more: dict[str, dict[str, Any]] = {
        "lora": {"alpha_pattern": {"query": 8, ".*value": 2}, "rank_pattern": {"query": 2}},
        "dora": {"use_dora": True, "use_rslora": True},
        "bias": {"bias": "lora_only"},
        "head": {"modules_to_save": ["classifier"]},
        "ia3": {"peft_type": "IA3", "feedforward_modules": ["value"]},
        "beft": {"peft_type": "BEFT"},
        "norms": {"peft_type": "LN_TUNING"},
        "tokens": {"trainable_token_indices": [0, 1]},
        "embedding": {"target_modules": ["word_embeddings"]},
    }
    for weights, changes in more.items():
        yield weights, _json(weights=weights, **{"adapter_config.json": _LORA | changes})
    yield "foreign", _json(weights="lora", **{"adapter_config.json": {"peft_type": "VERA"}})


def tokenizer_seeds() -> Seeds:
    """Tokenizers of three kinds, with tokens added."""
    words = {"[PAD]": 0, "[UNK]": 1, "a": 2, "b": 3}
    added = [{"id": 4, "content": "<x>", "special": True}]
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": 8,
        "pad_token": "[PAD]",
        "eos_token": {"content": "<x>"},
        "added_tokens_decoder": {"4": {"content": "<x>"}},
    }
    steps = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, {"type": "NFD"}]}
    whole = {"model": {"type": "WordPiece", "vocab": words}, "added_tokens": added, "normalizer": steps}
    unigram = {"model": {"type": "Unigram", "vocab": [["a", -1.5], ["b", -2.0]]}, "added_tokens": []}
    config = _CONFIGS["bert"]
    yield (
        "fast",
        _json(**{"tokenizer.json": whole, "tokenizer_config.json": settings, "config.json": config}),
    )
    yield "unigram", _json(family="gpt2", **{"tokenizer.json": unigram, "added_tokens.json": {"<x>": 9}})
    yield (
        "slow",
        _json(
            **{
                "vocab.txt": "[PAD]\n[UNK]\na\n",
                "special_tokens_map.json": {"pad_token": "[PAD]"},
                "tokenizer_config.json": settings,
            }
        ),
    )
    yield "pairs", _json(family="gpt2", **{"vocab.json": words, "merges.txt": "a b\n", "config.json": config})


def training_seeds() -> Seeds:
    """Logs that end well, too early, too late, and in NaN."""
    for name, losses in (
        ("healthy", (1.0, 0.5, 0.4)),
        ("falling", (1.0, 0.8, 0.5)),
        ("rising", (0.4, 0.6, 0.9)),
        ("lost", (1.0, float("nan"), 1e9)),
    ):
        history = [
            {"step": step, "epoch": step / 10, "loss": loss, "learning_rate": 1e-3 / step}
            for step, loss in zip((10, 20, 30), losses, strict=True)
        ]
        held_out = [
            {"step": step, "eval_loss": loss, "eval_accuracy": 0.5} for step, loss in enumerate(losses)
        ]
        state = {"global_step": 30, "max_steps": 30, "log_history": history + held_out, "best_metric": 0.4}
        state["best_model_checkpoint"] = "out/checkpoint-10"
        card = {"format_version": 1, "steps": 30, "settings": {"method": "bitfit", "learning_rate": 1e-3}}
        yield (
            name,
            _json(**{"0/trainer_state.json": state | {"global_step": 10}, "trainer_state.json": state}),
        )
        yield f"{name}-card", _json(**{"trainer_state.json": state, "run_card.json": card})


def table_seeds() -> Seeds:
    """Every suffix; classes, quantities, pairs, quotation marks, holes."""
    rows = [{"text": "a good one", "label": 1}, {"text": "a bad one", "label": 0}]
    pairs = [
        {"premise": "a", "hypothesis": "b", "label": "yes"},
        {"premise": "c", "hypothesis": "", "label": "no"},
    ]
    numbers = [{"sentence": f"text {number}", "score": number + 0.5} for number in range(24)]
    yield "csv", b'csv\ntext,label\n"a, b",1\nc,0\n,\n'
    yield "csv-quoted", b'csv\ntext,label\n"a ""b""\nc",positive\nd,negative\n'
    yield "csv-two", b"csv\nx,y\na,1\nb,2\n"
    yield "tsv", b'tsv\ntext\tlabel\nit is 5" long\t1\nb\t0\n'
    yield "tsv-long", b"tab\nid\tsentence1\tsentence2\tlabel\n0\ta\tb\t1\n1\tc\td\n"
    yield "txt", "txt\nerste Zeile\n\nzweite, größere\n".encode()
    for name, table in (("rows", rows), ("pairs", pairs), ("numbers", numbers)):
        yield f"json-{name}", b"json\n" + json.dumps(table).encode()
        yield f"jsonl-{name}", b"jsonl\n" + b"\n".join(json.dumps(row).encode() for row in table)
        yield f"parquet-{name}", b"parquet\n" + _parquet(table)


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), out, compression="none")
    return out.getvalue()


def patch_seeds() -> Seeds:
    """A patch of one bias, one with a new tensor, one that renames, and those of another's hand."""
    bias = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    base = {
        "layout": {"a.weight": "a.weight", "a.bias": None, "b.bias": "b.bias"},
        "replaced": {"a.bias": "a.bias"},
        "roles": {"q": 4},
        "config": {"model_type": "bert"},
        "card": {"steps": 3, "settings": {"method": "bitfit", "learning_rate": 1e-3, "seed": 0}},
        "made_by": "0.1.0",
    }
    yield "bias", _json(manifest=base, tensors={"a.bias": bias})
    new = {
        "layout": {"a.weight": "a.weight", "a.bias": "a.bias", "head.bias": None},
        "replaced": {"head.bias": None},
        "roles": {"head": 2},
        "card": None,
    }
    head = {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}
    yield "head", _json(manifest=base | new, tensors={"head.bias": head})
    yield (
        "renamed",
        _json(manifest=base | {"layout": {"x": "a.weight"}, "replaced": {}, "roles": {}}, tensors={}),
    )
    yield "nothing-said", _json(manifest={}, tensors={"a.bias": bias})
    yield "left-out", _json(manifest=base | {"leave_out": ["base", "layout"]}, tensors={"a.bias": bias})
    yield "metadata", _json(manifest=base, tensors={"a.bias": bias}, metadata={"x": "y"})


def differential_seeds() -> Seeds:
    """Decisions at random, which are as good as any."""
    rng = random.Random(0)
    for number in range(64):
        yield f"random-{number:02}", rng.randbytes(rng.randrange(64))


def _json(**told: Any) -> bytes:
    return json.dumps(told).encode()


SEEDS = {
    "config": config_seeds,
    "adapter_config": adapter_seeds,
    "tokenizer": tokenizer_seeds,
    "training": training_seeds,
    "table": table_seeds,
    "patch": patch_seeds,
    "differential": differential_seeds,
}
