"""BP601."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.rules.rows import body
from bitfit_probe.rules.run_logs import claimed_method
from bitfit_probe.wording import join_names, plural

__all__ = ["no_biases"]

#: A converter that drops biases drops them all; a few that are absent have other reasons.
MOST = 0.5


@rule("BP601", "no-biases", "error", explains=("BP205",), catalogue=(5,))
def no_biases(pair: Pair, this: Rule) -> Iterator[Finding]:
    """There are no biases to train, or they were lost on the way.

    What it means
    -------------
    LLaMA, Mistral, Gemma, Qwen3 and T5 have no biases: BitFit trains the head there and nothing else. Or
    the base has biases and the tuned file has the same layers without them: a converter left them out.

    Why it matters
    --------------
    On such an architecture BitFit is a linear probe under another name. A model that lost its biases
    answers something else.

    How it is recognised
    --------------------
    The base's body has no bias at all: an error where the run calls itself BitFit, a warning where only
    the head trained, else a note. Or at least half of the base's biases are absent beside weights
    that are there.

    What to do
    ----------
    Train norms or a LoRA instead, or a variant that adds biases (that changes the architecture). Where a
    converter lost them, convert again with one that keeps them.

    References
    ----------
    mlc-ai/mlc-llm#3494, huggingface/peft#3227
    """
    if pair.base.adapter is not None:
        raise CannotTell("the base is an adapter")
    own = len({row.name for row in body(pair, "bias")})
    lost = [item.name for item in pair.comparison.unmatched_base if item.info.kind == "bias"]
    modules = {row.name.removesuffix(".weight") for row in pair.comparison.tensors}
    dropped = [name for name in lost if name.removesuffix(".bias") in modules]
    if dropped and len(dropped) >= MOST * (own + len(lost)):
        yield this.finding(
            f"The tuned file lost its biases: {plural(len(dropped), 'bias', 'biases')} of the base are "
            "absent "
            f"beside weights that are there ({join_names(dropped, 2)}).",
            subjects=tuple(dropped),
            evidence=(Evidence("lost_biases", len(dropped), "tensors"),),
        )
    elif not own and not lost:
        claim = claimed_method(pair.tuned)
        meant = claim is not None and claim[0] == "bitfit"
        only_head = pair.comparison.verdict == "head-only"
        effect = "it trained nothing but the head" if only_head else "it has nothing to train here"
        yield this.finding(
            f"The architecture ({pair.alignment.architecture.family}) has no biases outside the head: as "
            f"BitFit {effect}.",
            severity="error" if meant else "warning" if only_head else "info",
            evidence=(Evidence("bias_parameters", 0, "elements", about="outside the head"),),
        )
