"""BP412."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from bitfit_probe.checkpoint import Tensor
from bitfit_probe.inference.purpose import model_class, task_of
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.tensors import is_adapter, is_delta, plain_name, word_embedding

__all__ = ["embedding_lost"]

_OUTPUT = re.compile(
    r"(^|\.)(lm_head(\.decoder)?|cls\.predictions\.decoder|embed_out|output_layer|predictions\.decoder|vocab_projector)"
    r"\.weight$"
)
_LANGUAGE_MODELS = (
    "ForCausalLM",
    "LMHeadModel",
    "ForMaskedLM",
    "ForPreTraining",
    "ForConditionalGeneration",
    "WithLMHead",
    "DoubleHeadsModel",
)
#: Classes that read no text, whatever their base did.
_NO_TEXT = ("ForAudioClassification", "ForImageClassification")
#: Rows that are compared to see whether the base's two tables are one.
_ROWS = 64


@rule("BP412", "embedding-lost", "error", explains=("BP114", "BP309", "BP703", "BP713"), catalogue=(39,))
def embedding_lost(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The input or the output embedding is not in the file, and no other tensor stands for it.

    What it means
    -------------
    A language model looks tokens up in one table and writes them through another. Models that tie both store
    one; here the one that is absent was a table of its own, or both are absent.

    Why it matters
    --------------
    ``from_pretrained`` draws it anew, or ties it to the other one: the model reads or writes noise.

    How it is recognised
    --------------------
    No word embedding in the file although the base has one. For language models: no output layer although
    config.json says ``tie_word_embeddings: false``, or the base stores one with other values than its
    embedding and config.json does not say true. A tied output that is absent is healthy, and so is a delta
    file that holds biases only.

    What to do
    ----------
    Save it: gather it under ZeRO or FSDP, and untie the weights in config.json if they were trained apart.

    References
    ----------
    huggingface/transformers#34759, huggingface/transformers#43159
    """
    if is_adapter(pair.tuned) or is_delta(pair) or task_of(pair.tuned.config) in _NO_TEXT:
        return
    table, before = word_embedding(pair.tuned), word_embedding(pair.base)
    output, ours = _output(pair.tuned.tensors), _output(pair.base.tensors)
    speaks = _speaks(pair, output is not None or ours is not None)
    tied = pair.tuned.config.get("tie_word_embeddings")
    if table is None and before is not None and not (output is not None and tied is not False):
        both = speaks and output is None
        yield this.finding(
            f"The input embedding ('{before.name}' in the base, {before.shape[0]:,} rows) is not in the file"
            f"{', nor is an output embedding' if both else ''}: loading draws it at random.",
            subjects=(before.name,),
            evidence=(Evidence("missing_rows", before.shape[0], "rows", about=before.name),),
            advice="Save the whole model; gather the embedding first under ZeRO or FSDP.",
        )
    elif speaks and output is None and table is not None and _needs_output(tied, before, ours):
        name = ours.name if ours is not None else "the output layer"
        why = (
            "config.json says that it is not tied"
            if tied is False
            else "the base's differs from its embedding"
        )
        yield this.finding(
            f"The output embedding ('{name}') is not in the file though {why}: loading draws it at "
            "random or ties it.",
            subjects=(name,),
            evidence=(Evidence("tie_word_embeddings", str(tied), source="config.json"),),
            advice="Save it, or set tie_word_embeddings to true if the model was trained tied.",
        )


def _output(tensors: Mapping[str, Tensor]) -> Tensor | None:
    found = (tensor for name, tensor in tensors.items() if _OUTPUT.search(plain_name(name)))
    return next((tensor for tensor in found if len(tensor.shape) == 2), None)


def _speaks(pair: Pair, has_output: bool) -> bool:
    """Whether the tuned model is a language model: its class says so, or no class and no other head does."""
    if model_class(pair.tuned.config) is not None:
        return task_of(pair.tuned.config) in _LANGUAGE_MODELS
    return has_output and pair.comparison.summary.head != "new"


def _needs_output(tied: object, table: Tensor | None, output: Tensor | None) -> bool:
    if tied is False:
        return True
    return tied is not True and table is not None and output is not None and not _equal(table, output)


def _equal(one: Tensor, other: Tensor) -> bool:
    rows = min(_ROWS, one.shape[0], other.shape[0])
    return one.shape[1:] == other.shape[1:] and bool(
        np.array_equal(one.rows(rows).values(), other.rows(rows).values())
    )
