"""BP411."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.architectures import Positions
from bitfit_probe.checkpoint import Tensor
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.rules.tensors import architecture_of, is_adapter, plain_name

__all__ = ["positions"]


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
    architecture = architecture_of(pair)
    known = architecture.positions
    if is_adapter(pair.tuned) or known is None:
        return
    names = {f"{table}.weight" for table in known.tables}
    tables = [
        tensor
        for name, tensor in pair.tuned.tensors.items()
        if architecture.canonical(plain_name(name)) in names and len(tensor.shape) == 2
    ]
    if not tables:
        return
    longest = pair.tuned.tokenizer.longest
    if longest is None:
        raise CannotTell("no tokenizer_config.json with a model_max_length lies beside the weights")
    table = tables[0]
    usable, why = _usable(pair, table, known)
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


def _usable(pair: Pair, table: Tensor, known: Positions) -> tuple[int, str]:
    """How many rows of the table a text can use, and why not all."""
    unused = known.unused
    if unused == "padding":
        pad = pair.tuned.config.get("pad_token_id", 1)
        unused = (pad if isinstance(pad, int) else 1) + 1
    return table.shape[0] - unused, f", of which the first {unused} are not used" if unused else ""
