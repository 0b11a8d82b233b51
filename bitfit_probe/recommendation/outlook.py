"""What each method is expected to score against LoRA, and which one a price of parameters speaks for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from bitfit_probe.recommendation.calibration import Calibration, Spread, published
from bitfit_probe.records.recommendation import Basis, Expected, Priced, Trial

__all__ = ["ENOUGH_TO_COMPARE", "Outlook", "choose", "expected_of", "margin_price", "outlooks", "price_table"]

#: Fewer held-out examples choose a rate and compare nothing: of 16 and 32 the method that looks best is
#: within a point of the best in 54 % and 61 % of drawings (docs/validation.md).
ENOUGH_TO_COMPARE = 64
#: What the table of prices shows: points that a tenfold saving of stored parameters is worth.
PRICES = (0.0, 0.25, 0.5, 1.0, 2.0)
_DRAWS = 4_000


@dataclass(frozen=True)
class Outlook:
    """Points that a method scores above LoRA, as a normal distribution, and what that rests on."""

    method: str
    over_lora: Spread
    basis: Basis

    def within(self, points: float) -> float:
        """The chance to lose no more than so many points against LoRA."""
        return 1 - self._normal.cdf(-points)

    def at_most(self, chance: float) -> float:
        """The loss against LoRA that is not exceeded with this chance, points."""
        return -self._normal.inv_cdf(1 - chance)

    @property
    def _normal(self) -> NormalDist:
        return NormalDist(self.over_lora.mean, max(self.over_lora.sd, 1e-9))


def outlooks(
    methods: Sequence[str], by: Calibration, trial: Trial | None = None, *, outside: bool = False
) -> tuple[Outlook, ...]:
    """What is expected of each method.

    Parameters
    ----------
    methods
        Those that the model can be trained by.
    by
        What the runs say.
    trial
        Short runs on the user's data. Where LoRA is among them and enough examples were held out, the gaps
        seen there, shrunk, take the place of what methods differ by on other tasks.
    outside
        Whether the task is unlike those that were run: published comparisons stand in.
    """
    seen = _seen(trial)
    prior = published() if outside else by.prior
    basis: Basis = "out of range" if outside else "runs"
    held_out = trial.held_out if trial is not None else 0
    return tuple(
        Outlook(method, by.shrunk(method, seen[method], held_out), "trial")
        if method in seen and method != "lora"
        else Outlook(method, prior[method], "trial" if method in seen else basis)
        for method in methods
    )


def _seen(trial: Trial | None) -> dict[str, float]:
    """Points above LoRA that a trial saw, LoRA's own among them; none where it can't compare."""
    lora = trial.of("lora") if trial is not None else None
    if trial is None or lora is None or trial.held_out < ENOUGH_TO_COMPARE:
        return {}
    return {item.method: lora.gap - item.gap for item in trial.results}


def choose(found: Sequence[Outlook], trained: Mapping[str, int], price: float) -> str:
    """The method whose expected score less the price of its parameters is highest; of equal ones the first.

    Parameters
    ----------
    trained
        Parameters that have to be stored, by method.
    price
        Points that a tenfold saving is worth.
    """
    return max(found, key=lambda item: item.over_lora.mean - price * math.log10(trained[item.method])).method


def price_table(found: Sequence[Outlook], trained: Mapping[str, int]) -> tuple[Priced, ...]:
    """The answer for each of `PRICES`."""
    return tuple(Priced(price, choose(found, trained, price)) for price in PRICES)


def margin_price(margin: float, trained: Mapping[str, int]) -> float | None:
    """The price at which giving up LoRA for BitFit is worth `margin` points; None without both."""
    if not {"bitfit", "lora"} <= trained.keys() or trained["bitfit"] >= trained["lora"]:
        return None
    return margin / math.log10(trained["lora"] / trained["bitfit"])


def expected_of(found: Sequence[Outlook]) -> tuple[Expected, ...]:
    """Points of each method below the best, with 80 % intervals; the best one's place is uncertain too.

    What methods score above LoRA is drawn independently, which over tasks it nearly is (docs/validation.md).
    """
    random = np.random.default_rng(0)
    draws = np.stack([random.normal(item.over_lora.mean, item.over_lora.sd, _DRAWS) for item in found])
    below = draws.max(0) - draws
    rows = []
    for item, gap in zip(found, below, strict=True):
        low, high = np.quantile(gap, (0.1, 0.9))
        rows.append(Expected(item.method, float(gap.mean()), (float(low), float(high)), item.basis))
    return tuple(rows)
