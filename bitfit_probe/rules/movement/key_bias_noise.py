"""BP305."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.rules.rows import body
from bitfit_probe.wording import format_number

__all__ = ["key_bias_noise"]

#: Movement of the key bias beside that of the value bias. In float32 it is 1e-7 of an absolute move and so
#: far below; under bfloat16 autocast it was 0.19 on a tiny BERT, while reverting it changed logits by 7e-7.
NOISE = 0.01


@rule("BP305", "key-bias-noise", "info", catalogue=(15,))
def key_bias_noise(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The key biases moved, which changes nothing.

    What it means
    -------------
    A key bias adds the same to all scores of a query, and softmax drops what all scores share. Its exact
    gradient is 0; Adam turns the rounding noise of a low-precision gradient into full steps.

    Why it matters
    --------------
    A ranking of biases by movement shows an effect where there is none. It matters to nothing else.

    How it is recognised
    --------------------
    In architectures with plain dot-product attention (not with rotary positions, nor in DeBERTa) the key
    biases moved by more than 1 % of what the value biases did.

    What to do
    ----------
    Leave the key biases out of rankings and patches; reverting them costs nothing.

    References
    ----------
    microsoft/unilm#510, pengzhiliang/MAE-pytorch#52
    """
    if pair.comparison.key_bias_cancels is None:
        raise CannotTell("it is not known whether softmax cancels this architecture's key bias")
    keys, values = (_mean_abs(pair, role) for role in ("k", "v"))
    if not pair.comparison.key_bias_cancels or not keys or not values or keys <= NOISE * values:
        return
    yield this.finding(
        f"The key biases moved by {format_number(keys)} on average ({keys / values:.0%} of the value "
        "biases'), which is noise: softmax cancels what they add.",
        subjects=tuple(row.name for row in body(pair, "bias") if row.info.role == "k"),
        evidence=(
            Evidence("mean_abs_delta", keys, about="key biases"),
            Evidence("mean_abs_delta", values, about="value biases"),
        ),
    )


def _mean_abs(pair: Pair, role: str) -> float:
    rows = [row for row in pair.comparison.roles if row.role == role and row.mean_abs_delta is not None]
    if not any(row.moved for row in rows):  # what rounding did is no movement
        return 0.0
    return sum(row.mean_abs_delta or 0.0 for row in rows) / len(rows)
