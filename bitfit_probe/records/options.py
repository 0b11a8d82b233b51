"""What calls are asked, where that is more than a few words: one frozen object a call.

Fields bear the names of the command's options. `bitfit_probe.tuning.options.TuneOptions` is one more.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bitfit_probe.frozen import Frozen

if TYPE_CHECKING:
    from bitfit_probe.records.measures import By

__all__ = [
    "CheckOptions",
    "DiagnoseOptions",
    "DistanceOptions",
    "Expected",
    "FleetOptions",
    "RecommendOptions",
    "ReportOptions",
    "RevertOptions",
    "TrialOptions",
]

#: What `check` may be told to expect.
Expected = Literal["bitfit", "bitfit+norm", "lora", "head", "full"]


class CheckOptions(Frozen):
    """What `check` is asked.

    Attributes
    ----------
    select, ignore
        Codes of rules, or beginnings of codes (``BP2``), to run alone or to leave out.
    expect
        The method that trained it; anything else that moved is an error.
    build
        Ask transformers which parameters the class in config.json has, which imports torch.
    state_dict_key
        Which state dict to take where a file holds several, such as ``model`` or ``ema``.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    expect: Expected | None = None
    build: bool = False
    state_dict_key: str | None = None


class RevertOptions(Frozen):
    """What `revert` is asked.

    Attributes
    ----------
    by
        What goes back as one: ``role``, ``layer``, ``role-layer`` or ``tensor``.
    examples
        Take at most so many, at random: with paired differences of 0.2 nats between examples their mean is
        known to ± 0.014 from 1,000, which is what it takes to call a group free.
    confidence
        Of the intervals: the usual level, a convention.
    tolerance
        Up to which rise of the mean loss a group is free, in nats: at 0.02 the right answer's probability
        falls by 2 % (geometric mean over examples). For a regression in variances of the labels: R² falls by
        0.02. A convention, not calibrated.
    early_stop
        Stop a group once its interval decides.
    model_dir
        Directory of config.json and tokenizer, where they lie beside neither checkpoint.
    state_dict_key
        Which state dict to take where a file holds several, such as ``model`` or ``ema``.
    """

    by: By = "role"
    examples: int = 1000
    confidence: float = 0.95
    tolerance: float = 0.02
    early_stop: bool = True
    model_dir: str | Path | None = None
    state_dict_key: str | None = None


class ReportOptions(Frozen):
    """What `report` is asked.

    Attributes
    ----------
    state_dict_key, biases_only, trust_checksums
        As for `diff`.
    by
        Groupings to rank the biases by: ``role``, ``layer``, ``role-layer``, ``tensor``.
    paper
        Rank as in the BitFit paper: its order, its sums, biases inside layers only.
    spectra
        Take the singular values of the change of matrices, which costs minutes on a large model.
    adapter
        A PEFT adapter of factors, to tell how often it was merged; needs `spectra`.
    trajectory
        Take the tuned checkpoints for steps of one run.
    hashes
        Take the SHA-256 of every file that tensors were read from.
    check
        Look for known failures too, as `check` does.
    revert
        With data: how biases are put back. Its `state_dict_key` is not read.
    recommend
        With data: say how far the task is, and which method it asks for, as `recommend` does.
    diagnose
        With data: say how good the models are and which step would make them better, as `diagnose` does.
    date
        What to date it; None takes the day on which the newest of the weight files was written (UTC).
    """

    state_dict_key: str | None = None
    biases_only: bool = False
    trust_checksums: bool = False
    by: tuple[By, ...] = ("role", "layer", "role-layer")
    paper: bool = False
    spectra: bool = True
    adapter: str | Path | None = None
    trajectory: bool = False
    hashes: bool = True
    check: bool = True
    revert: RevertOptions = RevertOptions()
    recommend: bool = True
    diagnose: bool = True
    date: str | None = None


class DiagnoseOptions(Frozen):
    """What `diagnose` is asked.

    Attributes
    ----------
    train_data
        Examples to fit on; without them each fifth of the examples is judged by what the others give.
    examples
        Judge at most so many, at random: an accuracy among 400 is known to ± 5 points.
    no_examples
        Keep the texts of examples out of the result.
    check
        Look for known failures too, and test what is found.
    apply, out
        The name of a step to do for good, and the folder to make.
    seed
        Of the sample.
    state_dict_key
        As for `diff`.
    """

    train_data: str | Path | None = None
    examples: int = 400
    no_examples: bool = False
    check: bool = True
    apply: str | None = None
    out: str | Path | None = None
    seed: int = 0
    state_dict_key: str | None = None


class DistanceOptions(Frozen):
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


class RecommendOptions(Frozen):
    """What `recommend` is asked.

    Attributes
    ----------
    reference, examples, seed
        As in `DistanceOptions`. All examples of the data count as those to train on.
    trial
        Minutes for short runs of the candidates, whose results take the place of forecasts.
    work_dir
        Directory in which finished runs of a trial are kept, so that an interrupted one goes on.
    price
        Points that a tenfold saving of stored parameters is worth.
    margin
        The same said otherwise: points that BitFit may lose against LoRA; goes before `price`.
    """

    reference: str | Path | Literal[False] | None = None
    examples: int = 300
    seed: int = 0
    trial: float | None = None
    work_dir: str | Path | None = None
    price: float = 0.5
    margin: float | None = None

    @property
    def distance(self) -> DistanceOptions:
        """What it asks of `distance`."""
        return DistanceOptions(self.reference, examples=self.examples, seed=self.seed)


class TrialOptions(Frozen):
    """What a trial is asked.

    Attributes
    ----------
    minutes
        The budget of this call.
    methods
        Which of ``bitfit``, ``lora`` and ``full``; None takes the first two, as far as the model can be
        trained by them, and all three where the price is low.
    price
        Points that a tenfold saving of stored parameters is worth.
    lora_r
        LoRA's r.
    seed
        Of what is held out, the new heads, the order of examples, and the resampling behind intervals.
    work_dir
        A directory for finished runs. The next trial of the same model, data, seed and r goes on there.
    """

    minutes: float
    methods: tuple[str, ...] | None = None
    price: float = 0.5
    lora_r: int = 8
    seed: int = 0
    work_dir: str | Path | None = None


class FleetOptions(Frozen):
    """What `run_fleet` is asked.

    Attributes
    ----------
    state_dict_key, biases_only, trust_checksums
        As for `diff`.
    data, text, pair, label
        A file of labelled examples, for rules that run the model, and which of its columns to read.
    select, ignore
        Rules to run alone or to leave out, as for `check`.
    jobs
        How many processes; one a processor where not given. Not read where something else runs the workers.
    resume
        Go on in a directory that is there: what is done and unchanged is not done again.
    shard
        Which part of the checkpoints to judge, as (i, n): the i-th of n, counted from 1.
    dask
        Address of a Dask scheduler whose workers do it.
    """

    state_dict_key: str | None = None
    biases_only: bool = False
    trust_checksums: bool = False
    data: str | Path | None = None
    text: str | None = None
    pair: str | None = None
    label: str | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    jobs: int | None = None
    resume: bool = False
    shard: tuple[int, int] | None = None
    dask: str | None = None
