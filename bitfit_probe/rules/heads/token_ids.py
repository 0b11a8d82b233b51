"""BP408."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.checkpoint.tokenizer_files import SPECIAL, Tokenizer, ids_in
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.rules.tensors import is_adapter, word_embedding
from bitfit_probe.wording import plural

__all__ = ["token_ids"]


@rule("BP408", "token-ids-disagree", "error", catalogue=(35,))
def token_ids(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Tokenizer, config and embedding disagree about token ids.

    What it means
    -------------
    The tokenizer has ids beyond the last row of the embedding; or its pad, begin or end token has another
    id than config.json or generation_config.json gives.

    Why it matters
    --------------
    An id without a row stops the model with an index error (on a GPU: a device-side assertion). With another
    end id, generation never stops; with another pad id, padding is read as text.

    How it is recognised
    --------------------
    The largest token id against the rows of the embedding (an error); special tokens' ids in
    tokenizer files, config.json and generation_config.json where at least two of them say something (a
    warning where two have nothing in common and the third does not join them: several end tokens are
    usual). More rows than tokens is harmless padding. Where tokens of that name are not in the vocabulary,
    their id is not known, and nothing is said.

    What to do
    ----------
    ``model.resize_token_embeddings(len(tokenizer))``, and set the ids in both configs from the tokenizer.

    References
    ----------
    OpenCoder-llm/OpenCoder-llm#21, huggingface/transformers#12842
    """
    tokenizer, table = pair.tuned.tokenizer, word_embedding(pair.tuned)
    if not tokenizer.tokens and not pair.tuned.config:
        raise CannotTell("neither tokenizer nor config.json lies beside the weights")
    if not is_adapter(pair.tuned) and table is not None and tokenizer.count > table.shape[0]:
        beyond = [token for token, number in tokenizer.tokens.items() if number >= table.shape[0]]
        yield this.finding(
            f"The tokenizer has ids up to {tokenizer.count - 1:,}, but '{table.name}' has "
            f"{table.shape[0]:,} rows: {plural(len(beyond), 'token')} such as '{beyond[0]}' would "
            "stop the model "
            "with an index error.",
            subjects=tuple(sorted(beyond))[:10],
            evidence=(
                Evidence("largest_id", tokenizer.count - 1),
                Evidence("embedding_rows", table.shape[0], "rows", about=table.name),
            ),
            advice="Resize the embedding to len(tokenizer), or take the tokenizer that was trained with it.",
        )
    for purpose in SPECIAL:
        yield from _special(pair, this, tokenizer, purpose)


def _special(pair: Pair, this: Rule, tokenizer: Tokenizer, purpose: str) -> Iterator[Finding]:
    own = tokenizer.special_id(purpose)
    said = {
        "config.json": ids_in(pair.tuned.config, purpose),
        "generation_config.json": ids_in(pair.tuned.read_json("generation_config.json") or {}, purpose),
        "the tokenizer": set() if own is None else {own},
    }
    said = {where: ids for where, ids in said.items() if ids}
    infos = list(said)
    for number, one in enumerate(infos):
        for other in infos[number + 1 :]:
            between = [said[third] for third in infos if third not in (one, other)]
            if said[one] & said[other] or any(ids & said[one] and ids & said[other] for ids in between):
                continue
            yield this.finding(
                f"The {purpose} token has id {_shown(said[one])} in {one} and {_shown(said[other])} "
                f"in {other}.",
                severity="warning",
                subjects=(one, other),
                evidence=(
                    Evidence(f"{purpose}_token_id", _shown(said[one]), source=one),
                    Evidence(f"{purpose}_token_id", _shown(said[other]), source=other),
                ),
                advice="Set the ids in config.json and generation_config.json from the tokenizer.",
            )
            return


def _shown(ids: set[int]) -> str:
    return " or ".join(str(number) for number in sorted(ids))
