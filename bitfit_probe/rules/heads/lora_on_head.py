"""BP402."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.needs import reason
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.rules.tensors import is_adapter

__all__ = ["lora_on_head"]

_FACTOR = re.compile(
    r"(?:^|\.)(?P<head>(?:score|classifier|qa_outputs|classification_head)(?:\.[a-z_]+)*?)\.lora_[AB]\."
)


@rule("BP402", "lora-on-random-head", "error", explains=("BP401", "BP506"), catalogue=(17,))
def lora_on_head(pair: Pair, this: Rule) -> Iterator[Finding]:
    """LoRA was put on a head that nobody saved.

    What it means
    -------------
    The task head was among the target modules. LoRA stores only an update of it; the head itself was drawn
    at random when training began, and is neither in the base nor in the adapter.

    Why it matters
    --------------
    Every load draws another head and adds the same update to it: the predictions are those of a random head.

    How it is recognised
    --------------------
    lora_A and lora_B of ``score``, ``classifier`` or ``qa_outputs``, without the full head in the adapter and
    without one in the base.

    What to do
    ----------
    Take the head out of ``target_modules``, put it into ``modules_to_save``, and train again.

    References
    ----------
    huggingface/peft#577
    """
    if not is_adapter(pair.tuned):
        raise CannotTell(reason("adapter"))
    on_head = {name: found["head"] for name in pair.tuned.tensors if (found := _FACTOR.search(name))}
    for head in sorted(set(on_head.values())):
        full = any(
            f"{head}.weight" in name or f"{head}.modules_to_save" in name or f"{head}.base_layer" in name
            for name in (*pair.tuned.tensors, *pair.base.tensors)
            if ".lora_" not in name
        )
        if full:
            continue
        names = [name for name, own in on_head.items() if own == head]
        yield this.finding(
            f"The adapter holds a LoRA update of '{head}' but not '{head}' itself, and the base has none: it "
            "starts at random on each load, and the update is added to that.",
            subjects=tuple(names),
            evidence=(Evidence("factors_on_the_head", len(names), "tensors"),),
            advice=f'Train again with "{head.split(".")[0]}" in modules_to_save instead of target_modules.',
        )
