"""BP409."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.checkpoint.tokenizer_files import Tokenizer
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["cased_vocabulary"]

#: Share of tokens with capitals from which a vocabulary is cased: bert-base-cased has 0.33, uncased ones
#: have none but their special tokens, and a few added ones at most.
CASED = 0.02


@rule("BP409", "cased-vocabulary-lower-cased", "warning", needs=("comparison", "tokenizer"), catalogue=(36,))
def cased_vocabulary(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The tokenizer lower-cases text that its vocabulary has capitals for.

    What it means
    -------------
    The vocabulary is a cased one, but the tokenizer's settings turn every text to lower case first.

    Why it matters
    --------------
    All tokens with capitals are dead: names and acronyms fall into pieces that the model met rarely. Scores
    drop by a few points and nothing warns.

    How it is recognised
    --------------------
    At least 2 % of the tokens (special and added ones aside) have capitals, and the file that decides says
    lower case: ``do_lower_case`` in tokenizer_config.json for BERT-like tokenizers, the normalizer in
    tokenizer.json for the others.

    What to do
    ----------
    Set ``do_lower_case`` to false, in training and in serving.

    References
    ----------
    dmis-lab/biobert#163, huggingface/transformers#3823
    """
    tokenizer = pair.tuned.tokenizer
    if tokenizer.lower_cases is None:
        return
    plain = [token for token in tokenizer.tokens if not _special(token, tokenizer)]
    in_bytes = any("Ġ" in token or token.endswith("</w>") for token in plain)
    cased = [token for token in plain if _has_capitals(token, ascii_only=in_bytes)]
    if plain and len(cased) >= CASED * len(plain):
        share = len(cased) / len(plain)
        yield this.finding(
            f"{tokenizer.lower_cases} turns text to lower case, but {100 * share:.0f} % of the vocabulary "
            f"({len(cased):,} tokens such as '{cased[0]}') have capitals and can never be used.",
            subjects=(tokenizer.lower_cases,),
            evidence=(Evidence("cased_tokens", share, "share"),),
            advice="Set do_lower_case to false, or take the uncased model's vocabulary and weights.",
        )


def _has_capitals(token: str, *, ascii_only: bool) -> bool:
    """Byte-level vocabularies spell bytes as letters, some of them capitals beyond ASCII."""
    return any(letter.isupper() and (letter.isascii() or not ascii_only) for letter in token)


def _special(token: str, tokenizer: Tokenizer) -> bool:
    return token in tokenizer.added or (token[:1] in "[<" and token[-1:] in "]>")
