"""How to do what is advised: the figures behind it, and commands and programs that do it."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recommendation.kinds import write_body
from tuning.tiny import rows, write_csv

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.cli import cli
from bitfit_probe.data import Columns, TaskData, read_examples
from bitfit_probe.recommendation.advice import RANK, RATES, advise
from bitfit_probe.recommendation.known import Known
from bitfit_probe.recommendation.snippet import TRAINING
from bitfit_probe.records import Check, Finding
from bitfit_probe.records.distance import Distance, Reach
from bitfit_probe.tuning.build import build
from bitfit_probe.tuning.options import LEARNING_RATES, TuneOptions

METHODS = ("bitfit", "lora", "full")
KINDS = ("bert", "bert-mlm", "roberta", "distilbert", "gpt2", "t5", "opt")
#: Of families that the shared builders don't make: a projection of the embeddings, and a head with a norm.
BODIES = ("albert", "deberta", "modernbert", "xlnet")
NO_BIASES = {("t5", "bitfit"), ("modernbert", "bitfit")}
_PEFT = re.compile(r"^base_model\.model\.|\.(?:modules_to_save\.)?default\b")


def trained(kinds: tuple[str, ...]) -> list[tuple[str, str]]:
    """Every method of every kind, but BitFit where there are no biases."""
    return [(kind, method) for kind in kinds for method in METHODS if (kind, method) not in NO_BIASES]


def distance_of(base: object, data: object, reach: Reach | None = None) -> Distance:
    return Distance(str(base), str(data), 48, 3, (), reach=reach)


def reach_of(*, rank: int | None = None, **roles: float) -> Reach:
    return Reach((), 0.5, tuple(roles.items()), (), (), rank, 8)


def advised(method: Any, base: Path, data: Path, **more: Any) -> Any:
    reach, rate = more.pop("reach", None), more.pop("rate", None)
    examples = read_examples(data)
    return advise(
        method,
        open_checkpoint(base),
        examples,
        distance_of(base, data, reach),
        known=Known(**more),
        rate=rate,
    )


# The programs -------------------------------------------------------------------------------------


def trainable(model: Any) -> dict[str, int]:
    """Trained parameters by name, without what peft puts into names."""
    return {
        _PEFT.sub("", name): parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def run_model_part(program: str) -> Any:
    """The model that a program makes, before it trains it."""
    space: dict[str, Any] = {}
    part, found, _ = program.partition(TRAINING)
    assert found
    exec(compile(part, "snippet", "exec"), space)
    return space["model"]


def same_as_tune(method: Any, base: Path, data: Path) -> None:
    advice = advised(method, base, data)
    rank = advice.lora.rank if advice.lora else RANK
    made = build(
        open_checkpoint(base), read_examples(data), "classify", TuneOptions(method=method, lora_r=rank)
    ).model
    assert trainable(run_model_part(advice.snippet)) == trainable(made)


@pytest.mark.parametrize(("kind", "method"), trained(KINDS))
def test_a_program_trains_what_tune_trains(kind, method, bases, task):
    same_as_tune(method, bases(kind), task)


@pytest.mark.parametrize(("kind", "method"), trained(BODIES))
def test_in_other_families_too(kind, method, tmp_path, task):
    from tuning.tiny import tokenizer

    base = write_body(kind, tmp_path / "base")
    tokenizer().save_pretrained(base)
    same_as_tune(method, base, task)


def test_a_program_trains_a_model_that_can_be_compared(bases, tmp_path, monkeypatch):
    """The whole of it, as a person would run it; an unusual file, columns and all."""
    table = [{"the text": row["text"], "2nd": "w9", "it's": row["label"]} for row in rows(24)]
    data = write_csv(tmp_path / "my data.csv", table)
    examples = read_examples(data, Columns("the text", "2nd", "it's"))
    advice = advise("bitfit", open_checkpoint(bases("bert")), examples, distance_of(bases("bert"), data))
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    exec(compile(advice.snippet, "snippet", "exec"), space)
    assert space["labels"] == [number % 3 for number in range(24)]
    assert space["tokens"]["input_ids"][0][-3:] == [2, 13, 2]  # w9, the second text, between separators
    from bitfit_probe import diff

    comparison = diff(bases("bert"), tmp_path / "tuned-bitfit").comparisons[0]
    assert (comparison.verdict, comparison.summary.head) == ("bitfit", "new")


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("a.csv", "read_csv(data, dtype"),
        ("a.TSV", 'read_csv(data, sep="\\t", dtype'),
        ("a.jsonl", "read_json(data, lines=True"),
        ("a.parquet", "read_parquet(data)"),
        ("a.json", "read_json(data, lines=False"),
    ],
)
def test_every_kind_of_table_is_read(name, reader, bases, task, tmp_path):
    (tmp_path / "a.json").write_text('[{"text": "a", "label": 1}]')
    examples = read_examples(task)
    checkpoint = open_checkpoint(bases("bert"))
    advice = advise("full", checkpoint, examples, distance_of("base", tmp_path / name))
    assert f"table = pandas.{reader}" in advice.snippet


def test_a_quantity_has_one_output(bases):
    data = TaskData(("a",) * 4, None, (0.1, 0.2, 0.3, 0.4), (), "regression", Columns("text", None, "y"))
    advice = advise("full", open_checkpoint(bases("bert")), data, distance_of("base", ""))
    assert 'num_labels=1, problem_type="regression"' in advice.snippet
    assert 'labels = [float(label) for label in table["y"]]' in advice.snippet
    assert "EXAMPLES.csv" in advice.command  # there is no file to name


# The command --------------------------------------------------------------------------------------


def parsed(command: str) -> dict[str, Any]:
    """What click makes of a command that a shell has read."""
    name, sub, *words = shlex.split(command)
    assert (name, sub) == ("bitfit-probe", "tune")
    tune = cli.commands["tune"]
    return tune.make_context("tune", words).params


@pytest.mark.parametrize(
    ("base", "data", "columns"),
    [
        ("base", "task.csv", Columns("text", None, "label")),
        ("my models/it's", "a b.csv", Columns("the text", "2nd; rm -rf ~", "$(label)")),
        ("-base", "-task.csv", Columns("-t", "--pair", "`l`")),
        ("new\nline", "tab\tand\x1b[31m", Columns("é", "“x”", "\\")),
    ],
)
def test_a_command_means_what_was_given(base, data, columns, bases):
    examples = TaskData(("a", "b"), None, (0, 1), ("x", "y"), "classification", columns)
    advice = advise("lora", open_checkpoint(bases("bert")), examples, distance_of(base, data))
    found = parsed(advice.command)
    assert (found["model"], found["data"]) == (Path(base), Path(data))
    assert (found["text"], found["pair"], found["label"]) == (columns.text, columns.pair, columns.label)
    assert (found["method"], found["lora_r"], found["search"]) == ("lora", RANK, True)
    ast.parse(advice.snippet)


def test_a_trial_gives_the_rate(bases, task):
    advice = advised("bitfit", bases("bert"), task, rate=0.0033)
    assert parsed(advice.command)["learning_rate"] == 0.0033
    assert not parsed(advice.command)["search"]
    assert "learning_rate=0.0033," in advice.snippet
    assert "--learning-rate 0.0033 --eval-split 0" in advice.command  # folds have judged it already


@pytest.mark.parametrize("method", METHODS)
def test_the_default_rate_lies_in_the_range(method, bases, task):
    low, high = advised(method, bases("bert"), task).learning_rate
    assert (low, high) == RATES[method]
    assert low <= LEARNING_RATES[method] <= high


# Rank, modules, roles, risks ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reach", "effective", "rank", "why"),
    [
        (None, None, 8, "the usual default"),
        (reach_of(), None, 8, "the usual default"),
        (reach_of(rank=2), None, 8, "the least that was tried"),
        (reach_of(rank=16), None, 16, "forecast within a point"),
        (reach_of(rank=2), 11.2, 16, "effective rank of 11.2"),
        (None, 16.0, 16, "effective rank of 16"),
        (None, 0.5, 1, "effective rank of 0.5"),
        (None, 300.0, 64, "the most that is advised"),
        (reach_of(rank=32), float("nan"), 32, "forecast within a point"),
    ],
)
def test_where_the_rank_comes_from(reach, effective, rank, why, bases, task):
    advice = advised("lora", bases("bert"), task, reach=reach, effective_rank=effective)
    assert advice.lora.rank == rank
    assert why in advice.lora.why
    assert parsed(advice.command)["lora_r"] == rank
    assert f"    r={rank},\n    lora_alpha={2 * rank},\n" in advice.snippet


def test_modules_are_named_briefly_and_without_the_prefix(bases, task):
    assert advised("lora", bases("bert"), task).lora.targets == (
        "attention.output.dense",
        "attention.self.key",
        "attention.self.query",
        "attention.self.value",
        "intermediate.dense",
        "output.dense",
        "pooler.dense",
    )


@pytest.mark.parametrize(
    ("shares", "roles"),
    [
        ({"m2": 0.6, "q": 0.3, "v": 0.07, "k": 0.03}, ("m2", "q")),  # 0.9 in sum, whatever floats make of it
        ({"q": 0.3, "m2": 0.65, "v": 0.05}, ("m2", "q")),
        ({"m2": 0.95, "q": 0.05}, ("m2",)),
        ({"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25}, ()),  # all are needed
        ({"m2": 0.5, "other": 0.45, "q": 0.05, "v": 0.0}, ()),  # no option names it
        ({}, ()),
    ],
)
def test_roles_that_carry_most(shares, roles, bases, task):
    assert advised("bitfit", bases("bert"), task, reach=reach_of(**shares)).roles == roles


def test_other_methods_have_no_roles(bases, task):
    assert advised("lora", bases("bert"), task, reach=reach_of(m2=0.95, q=0.05)).roles == ()


def test_full_fine_tuning_can_forget(bases, task):
    forgot = Finding("BP602", "forgetting", "warning", "It forgot.")
    plain = advised("full", bases("bert"), task).warnings
    seen = advised("full", bases("bert"), task, check=Check((forgot,), ("BP602",), ())).warnings
    assert len(plain) == len(seen) == 1
    assert "forgetting" in plain[0]
    assert "BP602" not in plain[0]
    assert "BP602" in seen[0]
    assert advised("bitfit", bases("bert"), task).warnings == ()


def test_it_takes_no_torch(bases, task):
    code = f"""
import sys
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.data import read_examples
from bitfit_probe.recommendation.advice import advise
from bitfit_probe.recommendation.costs import costs
from bitfit_probe.records.distance import Distance
base = open_checkpoint({str(bases("bert"))!r})
for method in {METHODS!r}:
    advise(method, base, read_examples({str(task)!r}), Distance("base", "data", 1, 2, ()))
costs(base, 2, 8)
assert not {{"torch", "transformers", "peft", "pandas"}} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_file_that_was_read_is_the_one_that_is_named(bases, task):
    advice = advised("bitfit", bases("bert"), task)
    moved = advise(
        "bitfit",
        open_checkpoint(bases("bert")),
        replace(read_examples(task), path="elsewhere.csv"),
        distance_of(bases("bert"), task),
    )
    assert moved.command == advice.command
