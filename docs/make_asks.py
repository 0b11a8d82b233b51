"""Write docs/asks.md: what people ask most about a fine-tune, the command that answers, and its real output.

    make docs

The checkpoints are made here from the embedded sample, each with one thing wrong; every output is what the
command printed. A test fails where the page is stale.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from bitfit_probe import sample
from bitfit_probe.cli import main

PAGE = Path(__file__).with_name("asks.md")
_TEXTS = (
    "What is the name of the ship ?",
    "Who wrote the book about the white whale ?",
    "How many states does the union have ?",
    "Where does the river meet the sea ?",
    "What does the word liberty mean ?",
    "When was the first message sent to Congress ?",
)
_KINDS = (
    ("Who made", "first", "human"),
    ("Where is", "now", "place"),
    ("Who found", "again", "human"),
    ("Where was", "then", "place"),
)


@dataclass(frozen=True)
class Ask:
    """A question, what to type, and what goes before the output in words."""

    question: str
    words: str
    commands: tuple[str, ...]
    runs_a_model: bool = False


ASKS = (
    Ask(
        "Did anything change at all?",
        "`check` says so when nothing did; it ends with status 1, which stops a pipeline. `diff` says the "
        "same in a sentence.",
        ("check base not-trained --select BP2",),
    ),
    Ask(
        "Which layers changed, and how much?",
        "mean|Δb| by role and layer, the table of the BitFit paper, for any fine-tune.",
        ("diff base tuned --top 3",),
    ),
    Ask(
        "Is there a ready command to compare two checkpoints?",
        "Prefixes, shards, element types and file formats are taken care of; `--format csv` has a row a "
        "tensor.",
        ("diff base tuned --by role --top 5",),
    ),
    Ask(
        "Was everything that I trained saved and restored?",
        "Here the head was left out of the file, which loaders fill at random.",
        ("check base no-head",),
    ),
    Ask(
        "Why does the merged model differ from base plus adapter?",
        "The strength α* says how often the adapter is in the weights.",
        ("check base merged-twice --select BP5",),
    ),
    Ask(
        "Is the adapter really applied, and how strongly?",
        "A sound adapter first, then one whose paths lead nowhere.",
        ("diff base adapter --top 3", "check base lost-adapter --select BP5"),
    ),
    Ask(
        "Is training touching all layers, or only the head?",
        "",
        ("check base head-only --select BP2",),
    ),
    Ask(
        "How do I train biases only here?",
        "`tune` trains them, `diff` shows that nothing else moved, and a patch holds what did.",
        (
            "tune base --data labelled.csv -o mine --epochs 3 --eval-split 0",
            "diff base mine --top 3",
            "patch extract base mine -o mine.safetensors",
        ),
        runs_a_model=True,
    ),
    Ask(
        "LoRA or full fine-tuning?",
        "How far the task is from what the model knows, and what each way to train is foreseen to score, "
        "before training. Intervals this wide, on 48 made-up questions, settle nothing.",
        ("distance base --data labelled.csv --no-reference",),
        runs_a_model=True,
    ),
    Ask(
        "How do I stop the model from forgetting?",
        "With `--data`, the base's own language-model loss on your texts is measured before and after.",
        ("check base far --data questions.csv --select BP602",),
        runs_a_model=True,
    ),
)


def page(*, with_models: bool = True) -> str:
    """The page in Markdown; without the outputs of commands that run a model where those are not wanted."""
    lines = [
        "# What people ask most",
        "",
        "Written by `make docs`: each output below is what the command printed. The checkpoints are made",
        "from the embedded sample, each with one thing wrong.",
    ]
    with _folder() as _:
        for number, ask in enumerate(ASKS, 1):
            lines += ["", f"## {number}. {ask.question}", *(["", ask.words] if ask.words else [])]
            if ask.runs_a_model and not with_models:
                continue
            for command in ask.commands:
                status, text = _run(command)
                lines += [
                    "",
                    "```console",
                    f"$ bitfit-probe {command}",
                    *text.rstrip("\n").split("\n"),
                    "```",
                ]
                if status:
                    lines.append(f"Exit status {status}.")
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A working directory with the checkpoints in it."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        try:
            _make(Path(name))
            yield Path(name)
        finally:
            os.chdir(before)


def _run(command: str) -> tuple[int, str]:
    printed = io.StringIO()
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        with contextlib.redirect_stdout(printed):
            main(command.split())
    except SystemExit as ended:
        return int(ended.code or 0), printed.getvalue()
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return 0, printed.getvalue()


State = dict[str, np.ndarray]


def _make(folder: Path) -> None:
    shutil.copytree(sample.base_path(), folder / "base")
    shutil.copytree(sample.tuned_path(), folder / "tuned")
    base = load_file(folder / "base" / "model.safetensors")
    tuned = load_file(folder / "tuned" / "model.safetensors")
    adapter = _adapter(base)
    head = {name: value for name, value in tuned.items() if name.startswith("classifier")}
    body = {name: base.get(name, value) for name, value in tuned.items()}
    _tuned("no-head", {name: value for name, value in tuned.items() if name not in head})
    _tuned("head-only", body | head)
    _tuned("far", _far(tuned))
    _like("base", "not-trained", base)
    shutil.copy("tuned/trainer_state.json", "not-trained")
    _like("base", "merged-twice", _merged(base, adapter, 2.0))
    _write_adapter(folder / "merged-twice", adapter)
    _write_adapter(folder / "adapter", adapter)
    _write_adapter(
        folder / "lost-adapter",
        {name.replace("model.bert.", "model.vision_tower.text."): v for name, v in adapter.items()},
    )
    (folder / "labelled.csv").write_text(_labelled())
    (folder / "questions.csv").write_text("text,label\n" + "".join(f"{text},x\n" for text in _TEXTS))


def _labelled() -> str:
    """Questions after people and after places, a few words each."""
    things = (
        "book",
        "river",
        "song",
        "house",
        "town",
        "bridge",
        "school",
        "war",
        "ship",
        "letter",
        "road",
        "law",
    )
    rows = [f"{ask} the {thing} {end} ?,{label}" for thing in things for ask, end, label in _KINDS]
    return "text,label\n" + "\n".join(rows) + "\n"


def _tuned(name: str, state: State) -> None:
    _like("tuned", name, state)


def _like(other: str, name: str, state: State) -> None:
    """A folder with the files of another one and other weights."""
    shutil.copytree(other, name)
    save_file(state, f"{name}/model.safetensors", metadata={"format": "pt"})


def _far(state: State) -> State:
    """Weights after a rate that was far too high."""
    random = np.random.default_rng(0)
    noise = {name: 0.15 * random.normal(size=value.shape) for name, value in state.items()}
    return {n: (v + noise[n]).astype(np.float32) if v.ndim == 2 else v for n, v in state.items()}


def _adapter(base: State) -> State:
    random, out = np.random.default_rng(1), {}
    for name, value in base.items():
        if name.endswith(("query.weight", "value.weight")):
            module = f"base_model.model.{name.removesuffix('.weight')}"
            rows, columns = value.shape
            a = random.normal(size=(8, columns)) / columns**0.5
            b = 0.05 * random.normal(size=(rows, 8))
            out |= {
                f"{module}.lora_A.weight": a.astype(np.float32),
                f"{module}.lora_B.weight": b.astype(np.float32),
            }
    return out


def _merged(base: State, adapter: State, times: float) -> State:
    merged = dict(base)
    for name in base:
        module = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{module}.lora_A.weight" in adapter:
            update = 2 * adapter[f"{module}.lora_B.weight"] @ adapter[f"{module}.lora_A.weight"]
            merged[name] = base[name] + np.float32(times) * update
    return merged


def _write_adapter(folder: Path, adapter: State) -> None:
    folder.mkdir(exist_ok=True)
    save_file(adapter, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = {
        "peft_type": "LORA",
        "r": 8,
        "lora_alpha": 16,
        "target_modules": ["query", "value"],
        "bias": "none",
        "base_model_name_or_path": "base",
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
