"""BP410."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.heads.tokenizers import ids_in, tokenizer_of
from bitfit_probe.rules.interface import CannotTell, Case, Rule, rule
from bitfit_probe.rules.loading import adapter_settings, task_of

__all__ = ["pad_is_eos"]

_GENERATES = ("ForCausalLM", "LMHeadModel", "DoubleHeadsModel")


@rule("BP410", "pad-is-eos", "info", catalogue=(37,))
def pad_is_eos(case: Case, this: Rule) -> Iterator[Finding]:
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
    generates. The files can't show whether the end was masked, so this is an information.

    What to do
    ----------
    If answers run on: give padding a token of its own, or make the labels from the attention mask, and check
    that the last label of a batch's row is the end token.

    References
    ----------
    huggingface/trl#976, unslothai/unsloth#416
    """
    config = case.tuned.config
    causal = task_of(config) in _GENERATES or adapter_settings(case.tuned).get("task_type") == "CAUSAL_LM"
    if not causal:
        return
    if not config and not tokenizer_of(case.tuned).settings:
        raise CannotTell("neither config.json nor a tokenizer lies beside the weights")
    places = [
        name
        for name, settings in (
            ("config.json", config),
            ("generation_config.json", case.tuned.read_json("generation_config.json") or {}),
        )
        if ids_in(settings, "pad") & ids_in(settings, "eos")
    ]
    tokenizer = tokenizer_of(case.tuned)
    if tokenizer.special("pad") is not None and tokenizer.special("pad") == tokenizer.special("eos"):
        places.append("tokenizer_config.json")
    if places:
        ids = ids_in(config, "eos") or {number for number in [tokenizer.special_id("eos")] if number is not None}
        shown = f" (id {min(ids)})" if ids else ""
        yield this.finding(
            f"Padding is the end-of-text token{shown} in {' and '.join(places)}: if the collator masked padding, "
            "the model never learned to stop.",
            subjects=tuple(places),
            evidence=(Evidence("eos_token_id", min(ids) if ids else None, source=places[0]),),
            advice="If answers run on, give padding its own token and train again.",
        )
