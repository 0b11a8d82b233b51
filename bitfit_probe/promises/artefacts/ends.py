"""config.json's class and the base's file: the tables and the head before and behind the layers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitfit_probe.checkpoint import Tensor
from bitfit_probe.inference.purpose import POOLED_TASKS, model_class, task_of
from bitfit_probe.promises.case import BASES, Case, Held, word_embedding
from bitfit_probe.records.promises import Promise
from bitfit_probe.wording import join_names, plural

__all__ = ["promises"]

#: Last projections of the heads of classes that are alike in every family, one of each.
_HEADS = {"ForQuestionAnswering": ("qa_outputs",), "ForTokenClassification": ("classifier", "score")}
_LANGUAGE_MODELS = ("ForCausalLM", "LMHeadModel", "ForMaskedLM", "ForConditionalGeneration")
#: Roles of what stands outside the layers and is there in every class of a family.
_OUTSIDE = ("embedding", "embLN", "LNf", "emb_proj", "out_proj")
_AT_RANDOM = "loading draws it at random, differently each time"
#: Rows that are compared to see whether two tables are one.
_ROWS = 64


def promises(case: Case) -> Iterator[Promise]:
    """The head that the class has, the two tables of words, and what else the base has outside its layers."""
    if not case.is_model:
        return
    yield from _head(case)
    yield from _pooler(case)
    yield from _words(case)
    yield from _output(case)
    yield from _outside(case)


def _head(case: Case) -> Iterator[Promise]:
    classifier, task = case.architecture.classifier, task_of(case.tuned.config)
    wanted = _HEADS.get(task or "", ())
    if task == "ForSequenceClassification" and classifier is not None:
        wanted = classifier.layers[-1:]
    if not wanted:
        return
    source = f"config.json's class {model_class(case.tuned.config)}"
    heads = [item.canonical for item in case.held.values() if item.info.kind == "head"]
    expected = f"a head '{' or '.join(wanted)}'"
    if any(name == f"{module}.weight" for module in wanted for name in heads):
        yield Promise("ends", source, expected, "there", "kept")
        return
    others = [name for name in heads if name.endswith(".weight")]
    found = f"{join_names([repr(name) for name in others], 2)} instead" if others else "no head"
    yield Promise(
        "ends",
        source,
        expected,
        found,
        "broken",
        loader=_AT_RANDOM + (", and drops what has another name" if others else ""),
        first="the class that training saved, and what renamed its tensors",
        subjects=tuple(others) or wanted,
    )


def _pooler(case: Case) -> Iterator[Promise]:
    """The layer between the first token and the head of BERT-like classes; BP405's where the base has one."""
    classifier = case.architecture.classifier
    reads = task_of(case.tuned.config) in POOLED_TASKS and classifier is not None
    if not reads or classifier is None or classifier.pooler is None:
        return
    names = {item.canonical for item in case.held.values() if item.info.role == "pooler"}
    if not names and any(item.info.role == "pooler" for item in case.held_by_base.values()):
        return
    wanted = tuple(f"{classifier.pooler}.{kind}" for kind in ("weight", "bias"))
    lost = tuple(name for name in wanted if name not in names)
    yield Promise(
        "ends",
        f"config.json's class {model_class(case.tuned.config)}",
        f"a pooler '{classifier.pooler}' before the head",
        f"{join_names(lost)} absent" if lost else "there",
        "broken" if lost else "kept",
        loader="loading draws the pooler at random, and the head reads that",
        first="the class that training saved (add_pooling_layer)",
        subjects=lost,
    )


def _words(case: Case) -> Iterator[Promise]:
    stated, table = case.architecture.figure("vocabulary"), word_embedding(case.tuned)
    if stated is None or table is None:
        return
    rows = table.shape[0]
    yield Promise(
        "shapes",
        "config.json: vocab_size",
        f"a table of {stated:,} words",
        f"'{table.name}' with {rows:,} rows",
        "kept" if rows == stated else "broken",
        loader="loading stops on the shape",
        first="what resized the table after config.json was saved",
        subjects=(table.name,),
    )


def _output(case: Case) -> Iterator[Promise]:
    """Whether the two tables of a language model are one where config.json ties them, and two where not."""
    tied = case.tuned.config.get("tie_word_embeddings")
    if task_of(case.tuned.config) not in _LANGUAGE_MODELS or not isinstance(tied, bool):
        return
    by_name = {item.canonical: item.tensor for item in case.held.values()}
    outputs = [
        (name, other)
        for name, other in case.architecture.tied.items()
        if other in by_name and name.endswith(".weight") and case.architecture.info(name, 2).kind == "head"
    ]
    for name, other in outputs[:1]:
        output = by_name.get(name)
        if tied and output is not None:
            yield _one_table(name, output, by_name[other])
        elif tied and _has_its_own(case, name, other):
            yield Promise(
                "ends",
                BASES,
                f"an output table '{name}' of its own",
                "absent, and tie_word_embeddings=true in config.json",
                "broken",
                loader="the table of words takes its place, which was never trained to give answers",
                first="what exported the file, and the base's tie_word_embeddings",
                subjects=(name, "config.json: tie_word_embeddings"),
            )
        elif not tied:
            yield Promise(
                "ends",
                "config.json: tie_word_embeddings=false",
                f"an output table '{name}' of its own",
                "absent" if output is None else "there",
                "broken" if output is None else "kept",
                loader=_AT_RANDOM,
                first="what exported the file",
                subjects=(name,),
            )


def _one_table(name: str, output: Tensor, table: Tensor) -> Promise:
    same = _are_one(output, table)
    return Promise(
        "ends",
        "config.json: tie_word_embeddings=true",
        f"'{name}' to be the table of words",
        "the same values" if same else "a table of other values",
        "kept" if same else "broken",
        loader="transformers 5 keeps both and warns; version 4 and vLLM take the input table twice",
        first="tie_word_embeddings in the base's config.json",
        severity="warning",
        subjects=(name,),
    )


def _are_one(output: Tensor, table: Tensor) -> bool:
    rows = min(_ROWS, *(side.shape[0] for side in (output, table)))
    return output.shape == table.shape and np.array_equal(
        output.rows(rows).values(), table.rows(rows).values()
    )


def _has_its_own(case: Case, name: str, other: str) -> bool:
    """Whether the base has an output table that is not its table of words."""
    by_name = {item.canonical: item.tensor for item in case.held_by_base.values()}
    if case.base is None or case.base.config.get("tie_word_embeddings") is True:
        return False
    return name in by_name and other in by_name and not _are_one(by_name[name], by_name[other])


def _outside(case: Case) -> Iterator[Promise]:
    """What the base has outside its layers; a stack that is left out as a whole is another class's choice."""
    theirs = {name: item for item in case.held.values() for name in (item.canonical,)}
    wanted = [item for item in case.held_by_base.values() if _is_outside(item)]
    stacks = {item.info.stack for item in case.held.values() if item.info.layer is not None}
    wanted = [item for item in wanted if item.info.stack in stacks or item.info.stack is None]
    if not wanted:
        return
    table = word_embedding(case.base) if case.base is not None else None
    lost = [item for item in wanted if item.canonical not in theirs and not _is_tied(case, item, set(theirs))]
    words = [item.canonical for item in lost if item.tensor is table]
    rest = [item.canonical for item in lost if item.tensor is not table]
    if words:
        yield _absent(case, "ends", f"'{words[0]}'", words)
    expected = plural(len(wanted), "parameter") + " outside the layers"
    if rest:
        yield _absent(case, "parameters", expected, rest)
    elif not words:
        yield Promise("parameters", BASES, expected, "all of them", "kept")


def _is_outside(item: Held) -> bool:
    return item.info.layer is None and item.info.role in _OUTSIDE and item.info.kind != "buffer"


def _is_tied(case: Case, item: Held, names: set[str]) -> bool:
    other = case.architecture.tied.get(item.canonical)
    return other in names or any(
        mine in names for mine, theirs in case.architecture.tied.items() if theirs == item.canonical
    )


def _absent(case: Case, topic: str, expected: str, lost: list[str]) -> Promise:
    return Promise(
        topic,  # type: ignore[arg-type]
        BASES,
        expected,
        f"{plural(len(lost), 'parameter')} absent, such as '{lost[0]}'",
        "broken",
        loader=_AT_RANDOM.replace("it", "them", 1) if len(lost) > 1 else _AT_RANDOM,
        first="what wrote the file",
        subjects=tuple(lost),
    )
