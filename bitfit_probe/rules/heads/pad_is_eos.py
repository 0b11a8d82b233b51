"""BP410."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from bitfit_probe.checkpoint.tokenizer_files import ids_in
from bitfit_probe.errors import ModelError
from bitfit_probe.inference.purpose import purpose_of
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.adapter_files import adapter_settings
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.running import examples
from bitfit_probe.rules.tensors import is_adapter

if TYPE_CHECKING:
    from bitfit_probe.inference import LiveModel

__all__ = ["pad_is_eos"]

#: Longer texts are left out: cut short, they would have no end.
_TOKENS = 512
#: Mean probability of the end token below which a model is told that it never stops: one that saw the
#: end of even one text in a thousand gives more. A convention; unfinished texts lower it as well.
STOPS = 1e-3


@rule("BP410", "pad-is-eos", "warning", catalogue=(37,))
def pad_is_eos(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Padding and the end of text are one token: a suspicion.

    What it means
    -------------
    A causal language model pads with its end-of-text token.

    Why it matters
    --------------
    The usual collators take padding out of the loss, and with it the real end of each text: the model never
    learns to stop. Many recipes do it and mask by position instead, which is fine.

    How it is recognised
    --------------------
    Equal ids of pad and eos in config.json, generation_config.json or the tokenizer, for a class that
    generates. The files can't show whether the end was masked, so this is a note. With `--data` it
    is a warning where the model gives the end token a mean probability below 0.001 at the ends of the texts;
    they should be whole ones, as in training.

    What to do
    ----------
    If answers run on: give padding a token of its own, or make the labels from the attention mask, and check
    that the last label of a batch's row is the end token.

    References
    ----------
    huggingface/trl#976, unslothai/unsloth#416
    """
    config, tokenizer = pair.tuned.config, pair.tuned.tokenizer
    causal = purpose_of(config) == "causal-lm" or adapter_settings(pair.tuned).get("task_type") == "CAUSAL_LM"
    if not causal:
        return
    generation = pair.tuned.read_json("generation_config.json") or {}
    files = {"config.json": config, "generation_config.json": generation}
    infos = [name for name, settings in files.items() if ids_in(settings, "pad") & ids_in(settings, "eos")]
    if tokenizer.special("pad") is not None and tokenizer.special("pad") == tokenizer.special("eos"):
        infos.append("tokenizer_config.json")
    if not infos:
        return
    own = tokenizer.special_id("eos")
    end = own if own is not None else min(ids_in(config, "eos") or ids_in(generation, "eos"), default=None)
    stops = _probability_of_end(pair, end)
    silent = stops is not None and stops < STOPS
    known = f"; at the ends of these texts it has a probability of {stops:.2g}" if silent else ""
    yield this.finding(
        f"Padding is the end-of-text token (id {end}) in {' and '.join(infos)}: if the collator masked "
        f"padding, the model never learned to stop{known}.",
        severity="warning" if silent else "info",
        subjects=tuple(infos),
        evidence=(
            Evidence("eos_token_id", end, source=infos[0]),
            Evidence("probability_of_end", stops, about="mean at the ends of the texts"),
        ),
        advice="If answers run on, give padding its own token and train again.",
    )


def _probability_of_end(pair: Pair, end: int | None) -> float | None:
    """Mean probability of the end token after each text; None without data or where the model can't run."""
    if pair.data is None or end is None or is_adapter(pair.tuned):
        return None
    try:
        found = list(_ends(pair.live("tuned"), examples(pair).texts, end))
    except ModelError:
        return None
    return sum(found) / len(found) if found else None


def _ends(live: LiveModel, texts: Iterable[str], end: int) -> Iterator[float]:
    """The probability of the end token after each text that is not too long."""
    from bitfit_probe.inference import running

    most = min(live.longest(whole=True), _TOKENS)
    with running(live.model):
        for text in texts:
            ids = live.tokenizer(text, return_tensors="pt")["input_ids"]
            ids = ids[:, :-1] if ids.shape[1] > 1 and int(ids[0, -1]) == end else ids
            if 0 < ids.shape[1] <= most:
                last = live.model(input_ids=ids).logits[0, -1].double()
                yield float(last.softmax(-1)[end])
