"""What calls are asked, where that is more than a few words: one frozen object a call.

Fields bear the names of the command's options. `bitfit_probe.tuning.options.TuneOptions` is one more.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["DistanceOptions", "RecommendOptions", "TrialOptions"]


@dataclass(frozen=True)
class DistanceOptions:
    """What `distance` is asked.

    Attributes
    ----------
    reference
        A file of texts like those of the pretraining, one a line; None takes the English sample of the
        package, False leaves the text distances out.
    reach
        Whether to forecast head, biases, LoRA and all weights.
    examples
        How many to take at random.
    seed
        Of sampling, folds and directions.
    """

    reference: str | Path | Literal[False] | None = None
    reach: bool = True
    examples: int = 300
    seed: int = 0


@dataclass(frozen=True)
class RecommendOptions:
    """What `recommend` is asked.

    Attributes
    ----------
    reference, examples, seed
        As in `DistanceOptions`. All examples of the data count as those to train on.
    trial
        Minutes for short runs of the candidates, whose results take the place of forecasts.
    work_dir
        Directory in which finished runs of a trial are kept, so that an interrupted one goes on.
    margin
        Points that a cheaper method may lose against the best.
    """

    reference: str | Path | Literal[False] | None = None
    examples: int = 300
    seed: int = 0
    trial: float | None = None
    work_dir: str | Path | None = None
    margin: float = 1.0

    @property
    def distance(self) -> DistanceOptions:
        """What it asks of `distance`."""
        return DistanceOptions(self.reference, examples=self.examples, seed=self.seed)


@dataclass(frozen=True)
class TrialOptions:
    """What a trial is asked.

    Attributes
    ----------
    minutes
        The budget of this call.
    methods
        Which of ``bitfit``, ``lora`` and ``full``; None takes those that the model can be trained by.
    lora_r
        LoRA's r.
    seed
        Of what is held out, the new heads, the order of examples, and the resampling behind intervals.
    work_dir
        A directory for finished runs. The next trial of the same model, data, seed and r goes on there.
    """

    minutes: float
    methods: tuple[str, ...] | None = None
    lora_r: int = 8
    seed: int = 0
    work_dir: str | Path | None = None
