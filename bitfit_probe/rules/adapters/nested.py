"""BP510."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from bitfit_probe.checkpoint.adapters import low_rank
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.run_logs import trainer_state
from bitfit_probe.wording import format_number, join_names, plural

__all__ = ["nested"]

#: An adapter that took this many steps and whose B holds nothing larger than this was begun anew near the
#: end: Adam moves its elements by about the learning rate a step. Those of benchmarks/healthy.py reach 0.06
#: to 0.43 within 100 steps.
MANY_STEPS, TINY_B = 1000, 1e-5
_NESTED = re.compile(
    r"base_layer\.base_layer|\.lora_[AB]_\d+\.|\.lora_[AB]\.default_\d+\.|default_\d+\.weight$"
)


@rule(
    "BP510",
    "adapter-nested",
    "error",
    needs=("tuned",),
    explains=("BP203", "BP502", "BP505", "BP506", "BP501", "BP401", "BP402"),
    catalogue=(33,),
)
def nested(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Resuming put a new adapter over or in place of the old one.

    What it means
    -------------
    An adapter was added to a model that had one: names nest (`base_layer.base_layer`) or count
    (`lora_A_1`, `default_0`); or a fresh adapter replaced the trained one shortly before the save.

    Why it matters
    --------------
    Loaders find the names of one adapter only: what the other learned is lost.

    How it is recognised
    --------------------
    Such names in the file; or trainer_state.json counts at least 1000 steps while no element of any B is
    above 0.00001.

    What to do
    ----------
    Resume with `PeftModel.from_pretrained(base, folder, is_trainable=True)` instead of `get_peft_model` on a
    model that has an adapter; go back to the last checkpoint before the resume.

    References
    ----------
    huggingface/lerobot#3459, huggingface/peft#2390
    """
    names = [name for name in pair.tuned.tensors if _NESTED.search(name)]
    if names:
        yield this.finding(
            f"{plural(len(names), 'tensor')} carry the names of an adapter on an adapter: "
            f"{join_names(names, 2)}.",
            subjects=tuple(names),
            evidence=(Evidence("nested_names", len(names), "tensors"),),
        )
        return
    yield from _reset(pair, this)


def _reset(pair: Pair, this: Rule) -> Iterator[Finding]:
    steps, tuned = trainer_state(pair).steps, pair.tuned
    factors = low_rank(tuned.adapter) if tuned.adapter is not None else {}
    if not factors or steps is None or steps < MANY_STEPS:
        return
    largest = max(float(np.max(np.abs(change.b.values()), initial=0.0)) for change in factors.values())
    if 0 < largest <= TINY_B:
        yield this.finding(
            f"After {steps:,} steps no element of any B is above {format_number(largest)}: the adapter was "
            "begun anew shortly before the save.",
            evidence=(
                Evidence("max_abs_b", largest),
                Evidence("global_step", steps, "steps", source="trainer_state.json"),
            ),
        )
