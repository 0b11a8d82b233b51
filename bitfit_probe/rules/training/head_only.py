"""BP205."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.rows import body
from bitfit_probe.wording import plural

__all__ = ["head_only"]


@rule("BP205", "head-only", "warning", catalogue=(9,))
def head_only(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Only the head was trained; the body is the base's.

    What it means
    -------------
    The head is new or changed, and no tensor of the body moved. That is a linear probe, whether it was
    meant to be one or not: often the body was frozen by a wrong pattern, or an adapter was never applied.

    Why it matters
    --------------
    A head on frozen features reaches far less than BitFit on most tasks (GLUE dev average with BERT-base:
    frozen 62, all biases 82).

    How it is recognised
    --------------------
    Every body tensor is identical to the base's or only rounded; the head differs.

    What to do
    ----------
    If more was to be trained, print the names with `requires_grad` after the last step that prepares the
    model, and check that they are in the optimizer.

    References
    ----------
    huggingface/peft#793, huggingface/transformers#400; Ben Zaken et al. 2022, table 3
    """
    if pair.comparison.verdict != "head-only" or not pair.comparison.coverage.enough:
        return
    rows = body(pair)
    state = "is new" if pair.comparison.summary.head == "new" else "changed"
    yield this.finding(
        f"Only the head trained: it {state}, and none of the other {plural(len(rows), 'tensor')} moved.",
        evidence=(Evidence("moved_tensors", 0, "tensors", about="outside the head"),),
    )
