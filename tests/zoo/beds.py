"""Healthy runs to plant faults in: a tiny base of each architecture, and what a sound fine-tune makes of it.

Random initialisation plus 0.1 of noise on every bias (zeros would hide rounding faults), then a hundred
steps of Adam on random gradients with a mean: the moves of a real run in size and shape, without a task.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from zoo.vocabularies import SIZE, VOCABULARIES

State = dict[str, torch.Tensor]

BEDS = ("bert", "roberta", "gpt2", "llama")
#: With the embedded pair, which stands in for real weights where a kind can be planted in it.
EVERY = (*BEDS, "sample")
LABELS = ("negative", "neutral", "positive")
POSITIONS = 24
LR, STEPS = 1e-3, 100
_CLASSES = {
    "bert": ("BertForPreTraining", "BertForSequenceClassification"),
    "roberta": ("RobertaForMaskedLM", "RobertaForSequenceClassification"),
    "gpt2": ("GPT2LMHeadModel", "GPT2ForSequenceClassification"),
    "llama": ("LlamaForCausalLM", "LlamaForSequenceClassification"),
}
_ENCODER = {
    "vocab_size": SIZE,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": POSITIONS,
}
_SIZES: dict[str, dict[str, Any]] = {
    "bert": _ENCODER,
    # RoBERTa counts positions from padding_idx + 1, so its table has that many rows more.
    "roberta": _ENCODER | {"max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1},
    "gpt2": {"vocab_size": SIZE, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": POSITIONS},
    "llama": _ENCODER | {"num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": False},
}
#: Softmax cancels what a key bias adds, so its gradient is rounding noise.
KEY_BIASES = ("attention.self.key.bias",)


@dataclass
class Model:
    """One side of a pair before it is written."""

    state: State
    config: dict[str, Any] | None
    files: dict[str, Any] = field(default_factory=dict)
    #: What happens to its folder after it is written; a path that comes back is the one to open.
    after: list[Callable[[Path], Path | None]] = field(default_factory=list)

    def rename(self, change: Callable[[str], str]) -> None:
        self.state = {change(name): tensor for name, tensor in self.state.items()}

    def drop(self, wanted: Callable[[str], bool]) -> None:
        self.state = {name: tensor for name, tensor in self.state.items() if not wanted(name)}

    def names(self, *parts: str, end: str = "") -> list[str]:
        """Names that contain every one of `parts` and end so."""
        return [n for n in self.state if all(part in n for part in parts) and n.endswith(end)]

    @property
    def tokenizer(self) -> dict[str, Any]:
        return self.files["tokenizer_config.json"]

    def save(self, folder: Path, container: str) -> Path:
        """Write it; the path to hand to the program comes back."""
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        if self.config is not None:
            (folder / "config.json").write_text(json.dumps(self.config))
        return _CONTAINERS[container](folder, {n: t.contiguous() for n, t in self.state.items()})


@dataclass
class Run:
    """A base and a run on it, to be damaged by a builder and then written."""

    bed: str
    base: Model
    tuned: Model
    data: str | None = None
    #: Further tuned checkpoints, such as the second rank of a job.
    others: list[Model] = field(default_factory=list)

    @property
    def body(self) -> str:
        """What stands before the names of the base's body."""
        return {"bert": "bert.", "roberta": "roberta.", "gpt2": "transformer.", "llama": "model."}.get(
            self.bed, "bert."
        )

    def delta(self, name: str) -> torch.Tensor:
        return self.tuned.state[name] - self.base.state[name]


def _folder(folder: Path, state: State) -> Path:
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _bin(folder: Path, state: State) -> Path:
    torch.save(OrderedDict(state), folder / "pytorch_model.bin")
    return folder


def _shards(folder: Path, state: State) -> Path:
    weight_map = {}
    for part in range(3):
        shard = f"model-{part + 1:05}-of-00003.safetensors"
        names = list(state)[part::3]
        save_file({name: state[name] for name in names}, folder / shard, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, shard)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def _file(folder: Path, state: State) -> Path:
    torch.save(OrderedDict(state), folder / "weights.pt")
    return folder / "weights.pt"


def _legacy(folder: Path, state: State) -> Path:
    path = folder / "weights.pt"
    torch.save(OrderedDict(state), path, _use_new_zipfile_serialization=False)
    return path


def _nested(folder: Path, state: State) -> Path:
    torch.save({"epoch": 3, "model": OrderedDict(state), "optimizer": {"state": {}}}, folder / "last.ckpt")
    return folder / "last.ckpt"


def _adapter(folder: Path, state: State) -> Path:
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


_CONTAINERS: dict[str, Callable[[Path, State], Path]] = {
    "folder": _folder,
    "bin": _bin,
    "shards": _shards,
    "file": _file,
    "legacy": _legacy,
    "nested": _nested,
    "adapter": _adapter,
}


def special_ids(bed: str) -> dict[str, int]:
    vocabulary = VOCABULARIES[bed]
    return {f"{p}_token_id": vocabulary.id(p) for p in ("pad", "bos", "eos") if p in vocabulary.special}


@cache
def fresh(bed: str, which: int) -> tuple[State, dict[str, Any]]:
    """State and config of a newly initialised model: 0 the pretrained kind, 1 the classifier."""
    import transformers

    cls = getattr(transformers, _CLASSES[bed][which])
    config = cls.config_class(**_SIZES[bed], **special_ids(bed), architectures=[cls.__name__])
    if which:
        config.id2label = dict(enumerate(LABELS))
        config.label2id = {label: number for number, label in enumerate(LABELS)}
    torch.manual_seed(11 + which)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = cls(config)
    state: State = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            state[name] = tensor.clone()
    return state, json.loads(config.to_json_string(use_diff=False))


def train(state: State, names: list[str], *, lr: float = LR, steps: int = STEPS, seed: int = 5) -> None:
    """Move the named tensors in place as Adam does: gradients with a mean, a rate that falls to 0.

    Key biases get a gradient of 1e-13, which Adam's epsilon holds back.
    """
    random = torch.Generator().manual_seed(seed)
    sizes = [state[name].numel() for name in names]
    mean = torch.randn(sum(sizes), generator=random)
    scale = torch.cat([_loudness(name, state[name]) for name in names] or [torch.ones(0)])
    first, second, moved = torch.zeros_like(mean), torch.zeros_like(mean), torch.zeros_like(mean)
    for step in range(1, steps + 1):
        gradient = scale * (mean + torch.randn(mean.shape, generator=random))
        first.mul_(0.9).add_(gradient, alpha=0.1)
        second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        rate = lr * (1 - (step - 1) / steps)
        moved -= rate * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    for name, piece in zip(names, moved.split(sizes), strict=True):
        tensor = state[name]
        state[name] = (tensor.float() + piece.view(tensor.shape)).to(tensor.dtype)


def _loudness(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """1 for each element, and next to nothing for key biases; GPT-2's are a third of a fused vector."""
    loud = torch.ones(tensor.numel())
    if name.endswith(KEY_BIASES):
        loud[:] = 1e-13
    elif name.endswith("c_attn.bias"):
        loud.chunk(3)[1][:] = 1e-13
    return loud


def is_bias(name: str) -> bool:
    """A bias of the body (the zoo's models have no masks or other buffers of that name)."""
    return name.endswith(".bias") and not name.startswith(HEADS)


HEADS = ("classifier.", "score.", "lm_head.", "cls.")


def trainer_state(lr: float = LR, steps: int = STEPS) -> dict[str, Any]:
    """What the Trainer of transformers logs: a rate that falls, a loss that falls and levels out."""
    log = []
    for step in range(10, steps + 1, 10):
        done = step / steps
        loss = 1.1 * 0.4**done
        log.append(
            {
                "step": step,
                "epoch": 3 * done,
                "loss": loss,
                "learning_rate": lr * (1 - done),
                "grad_norm": 1.0,
            }
        )
    return {
        "best_metric": None,
        "best_model_checkpoint": None,
        "epoch": 3.0,
        "global_step": steps,
        "max_steps": steps,
        "num_train_epochs": 3,
        "log_history": log,
    }


@cache
def _base(bed: str) -> Model:
    state, config = fresh(bed, 0)
    random = torch.Generator().manual_seed(2)
    noisy = {
        name: tensor + 0.1 * torch.randn(tensor.shape, generator=random) if name.endswith("bias") else tensor
        for name, tensor in state.items()
    }
    return Model(noisy, config, VOCABULARIES[bed].files(POSITIONS))


def add_lora(state: State, names: list[str], *, rank: int = 2, size: float = 0.02) -> None:
    """Add a merged low-rank update to the named matrices, in place."""
    random = torch.Generator().manual_seed(8)
    for name in names:
        rows, columns = state[name].shape
        up, down = torch.randn(rows, rank, generator=random), torch.randn(rank, columns, generator=random)
        state[name] = state[name] + size * up @ down


def targets(state: State) -> list[str]:
    """The query and value projections, or what holds them."""
    ends = ("query.weight", "value.weight", "c_attn.weight", "q_proj.weight", "v_proj.weight")
    return [name for name in state if name.endswith(ends)]


@cache
def _classifier(bed: str) -> Run:
    """A classifier tuned from the base: biases and a new head; LLaMA has no biases, so a merged LoRA."""
    base = _base(bed)
    other, config = fresh(bed, 1)
    state = {name: base.state.get(name, tensor) for name, tensor in other.items()}
    head = [name for name in state if name.startswith(HEADS)]
    if bed == "llama":
        add_lora(state, targets(state))
        train(state, head)
    else:
        train(state, [*filter(is_bias, state), *head])
    files = {**base.files, "trainer_state.json": trainer_state()}
    return Run(bed, base, Model(state, config, files))


@cache
def _language_model(bed: str) -> Run:
    """The base's own kind of model, tuned on more text."""
    base = _base(bed)
    state = dict(base.state)
    if bed == "llama":
        add_lora(state, targets(state))
    else:
        train(state, [*filter(is_bias, state)])
    files = {**base.files, "trainer_state.json": trainer_state()}
    return Run(bed, base, Model(state, dict(base.config or {}), files))


@cache
def _sample() -> Run:
    """The embedded pair: a really pretrained base and its BitFit classifier."""
    from bitfit_probe import sample

    def read(folder: Path) -> Model:
        texts = {file.name: json.loads(file.read_text()) for file in folder.glob("*.json")}
        return Model(load_file(folder / "model.safetensors"), texts.pop("config.json"), texts)

    return Run("sample", read(sample.base_path()), read(sample.tuned_path()))


def healthy(bed: str, task: str = "classifier") -> Run:
    """A fresh copy of a sound run: ``classifier`` or ``lm``; ``sample`` is the embedded classifier."""
    if bed == "sample":
        return copy.deepcopy(_sample())
    return copy.deepcopy(_classifier(bed) if task == "classifier" else _language_model(bed))
