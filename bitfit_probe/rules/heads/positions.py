"""BP411."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bitfit_probe.checkpoint import Tensor
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.rules.tensors import architecture_of, is_adapter
from bitfit_probe.rules.tokenizer_files import tokenizer_of

__all__ = ["positions"]

_TABLE = re.compile(r"(^|\.)(position_embeddings|wpe|embed_positions)\.weight$")
#: Families whose text is as long as the table; sound, images and rotary positions have other limits.
_FAMILIES = [
    "albert",
    "bart",
    "bert",
    "clip_text",
    "deberta",
    "deberta_v2",
    "distilbert",
    "electra",
    "gpt2",
    "gpt_neo",
    "mpnet",
    "opt",
    "roberta",
]
#: Families that count positions from padding_idx + 1 on, so that the first rows are never used.
_AFTER_PADDING = ("roberta", "mpnet")
#: Families whose tables have two rows more than positions (their code adds an offset of 2).
_OFFSET_TWO = ("opt", "bart")


@rule("BP411", "positions-too-few", "error", catalogue=(38,))
def positions(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The tokenizer lets longer texts pass than the position table has rows for.

    What it means
    -------------
    The position table is shorter than the tokenizer's ``model_max_length``. RoBERTa counts from
    ``padding_idx + 1``, so of 514 rows it can use 512.

    Why it matters
    --------------
    A text of that length stops the model with an index error, on a GPU with a device-side assertion that
    names something else. Short texts work, so it shows in production first.

    How it is recognised
    --------------------
    Usable rows (all; rows − padding_idx − 1 for RoBERTa and MPNet; rows − 2 for OPT and BART) below
    ``model_max_length`` in tokenizer_config.json.

    What to do
    ----------
    Set ``model_max_length`` to the usable rows, and truncate.

    References
    ----------
    huggingface/transformers#1363, huggingface/transformers#14243
    """
    if is_adapter(pair.tuned) or architecture_of(pair).family not in _FAMILIES:
        return
    tables = [
        tensor
        for name, tensor in pair.tuned.tensors.items()
        if _TABLE.search(name) and len(tensor.shape) == 2
    ]
    if not tables:
        return
    longest = tokenizer_of(pair.tuned).longest
    if longest is None:
        raise CannotTell("no tokenizer_config.json with a model_max_length lies beside the weights")
    table = tables[0]
    usable, why = _usable(pair, table)
    if usable < longest:
        yield this.finding(
            f"The tokenizer lets {longest} tokens pass, but '{table.name}' has {table.shape[0]} rows{why}: a "
            f"text of more than {usable} tokens stops the model with an index error.",
            subjects=(table.name, "tokenizer_config.json"),
            evidence=(
                Evidence("usable_positions", usable, "positions", about=table.name),
                Evidence("model_max_length", longest, "tokens", source="tokenizer_config.json"),
            ),
            advice=f"Set model_max_length to {usable} and truncate.",
        )


def _usable(pair: Pair, table: Tensor) -> tuple[int, str]:
    family, rows = architecture_of(pair).family, table.shape[0]
    if family in _AFTER_PADDING:
        pad = pair.tuned.config.get("pad_token_id", 1)
        first = (pad if isinstance(pad, int) else 1) + 1
        return rows - first, f", of which the first {first} are not used"
    return (rows - 2, ", of which the first 2 are not used") if family in _OFFSET_TWO else (rows, "")
