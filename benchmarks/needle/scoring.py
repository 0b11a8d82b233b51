"""What the rows come to: the share of the attainable gain that the first advice realises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.needle.causes import CAUSES
from benchmarks.needle.plan import lora_accuracies, read_rows

__all__ = ["IN_CODE", "WORTH", "Case", "cases", "coverage", "mean", "share", "told_right"]

#: A cause whose best step gains less than so much, on average, has no cheap step to be found.
WORTH = 0.03


#: Steps that take another class of the model: files can't hold them, so nobody is advised to.
IN_CODE = "pool-"


@dataclass(frozen=True)
class Case:
    """A run with so many examples given.

    Attributes
    ----------
    before
        Accuracy as it is.
    advised, realised
        The advised step and what it truly gains; None and 0 where no cheap step was advised.
    best, attainable
        The step that truly gains most, and how much; never less than nothing.
    refit, lora
        What always refitting the head, or always training LoRA on the given examples, gains.
    covered, intervals
        Of the steps' 95 % intervals on all given examples, how many hold the true gain.
    """

    model: str
    task: str
    cause: str
    given: int
    before: float
    advised: str | None
    realised: float
    best: str
    attainable: float
    refit: float
    lora: float | None
    covered: int
    intervals: int

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with the run."""
        return CAUSES[self.cause].sound


def cases() -> list[Case]:
    """Every run and number of examples that has rows."""
    grouped: dict[tuple[str, str, str, int], list[dict[str, str]]] = {}
    for row in read_rows():
        grouped.setdefault((row["model"], row["task"], row["cause"], int(row["given"])), []).append(row)
    return [_case(*key, rows) for key, rows in grouped.items()]


def _case(model: str, task: str, cause: str, given: int, rows: Sequence[dict[str, str]]) -> Case:
    gains = {
        row["step"]: float(row["true_gain"])
        for row in rows
        if row["true_gain"] and not row["step"].startswith(IN_CODE)
    }
    advised = next((row["step"] for row in rows if int(row["advised"])), None)
    best = max(gains, key=lambda step: gains[step])
    before = float(rows[0]["before"])
    lora = lora_accuracies().get((model, task, given))
    whole = [row for row in rows if int(row["examples"]) == given and row["true_examples"] == "1000"]
    inside = [row for row in whole if float(row["low"]) <= float(row["true_gain"]) <= float(row["high"])]
    return Case(
        model,
        task,
        cause,
        given,
        before,
        advised,
        gains.get(advised or "", 0.0),
        best,
        max(gains[best], 0.0),
        gains.get("refit-head", 0.0),
        None if lora is None else lora - before,
        len(inside),
        len(whole),
    )


def mean(values: Sequence[float]) -> float:
    """Their mean; 0 of none."""
    return sum(values) / len(values) if values else 0.0


def share(found: Sequence[Case]) -> float:
    """What the first advice realises of what is attainable, over runs."""
    attainable = sum(item.attainable for item in found)
    return sum(item.realised for item in found) / attainable if attainable else 1.0


def told_right(found: Sequence[Case]) -> float:
    """Of sound runs, how often it says that no cheap step helps."""
    return mean([float(item.advised is None) for item in found if item.sound])


def coverage(found: Sequence[Case]) -> float:
    """How often a 95 % interval holds the true gain."""
    return sum(item.covered for item in found) / max(sum(item.intervals for item in found), 1)
