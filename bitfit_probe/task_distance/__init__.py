"""How far a task lies from what a model already knows, and what training could reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bitfit_probe.align import align
from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.errors import ModelError
from bitfit_probe.inference import LiveModel
from bitfit_probe.inference.language_loss import language_losses
from bitfit_probe.records import Evidence
from bitfit_probe.records.distance import Distance, LayerProbe, Reach
from bitfit_probe.records.options import DistanceOptions
from bitfit_probe.task_distance.data_validation import (
    notes_on,
    require_reference,
    require_sampled,
    require_usable,
)
from bitfit_probe.task_distance.explainable import explained_by, layer_inputs
from bitfit_probe.task_distance.kernel_forecast import head_kernel, reach, score_kernel, targets_of
from bitfit_probe.task_distance.kernels import DEFAULT
from bitfit_probe.task_distance.labels import h_score, log_evidence, nearest_neighbours, probe
from bitfit_probe.task_distance.reference_tasks import reading
from bitfit_probe.task_distance.text import (
    Spelling,
    frechet,
    loss_gap,
    maximum_mean_discrepancy,
    proxy_a_distance,
    spelling,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

__all__ = ["Progress", "Reference", "english_reference", "measure_distance"]

#: Called with what is being done, and the part of it done and to do.
Progress = Callable[[str, int, int], None]

#: Language-model losses are a pass a text; this many say enough.
_MOST_FOR_LOSSES = 100


def english_reference() -> tuple[str, ...]:
    """Sentences of State of the Union addresses since 1950: public domain, a stand-in for general English."""
    file = resources.files(__package__).joinpath("reference_en.txt")
    return tuple(file.read_text(encoding="utf-8").splitlines())


class Reference(NamedTuple):
    """Texts like those that a model was pretrained on, under a name; none leave the text distances out."""

    name: str
    texts: Sequence[str]


def measure_distance(
    model: str | Path | Checkpoint | LiveModel,
    data: TaskData,
    reference: Reference,
    options: DistanceOptions | None = None,
    *,
    tuned: str | Path | Checkpoint | None = None,
    progress: Progress | None = None,
) -> Distance:
    """Measure a task against a frozen model.

    Parameters
    ----------
    model
        Model directory, open or not, or the model itself where it lives already; its head is left aside.
    data
        Labelled examples; ``options.examples`` of them are taken at random.
    reference
        What the task's texts are held against.
    options
        What is measured, on how many examples; the reference that it names is not read.
    tuned
        A checkpoint tuned from the model: how much of its change biases could have done.
    progress
        Told about each stage.

    Raises
    ------
    DataError
        The data can't be used.
    ModelError
        The model can't be loaded, or has no features.
    """
    options, tell = options or DistanceOptions(), progress or (lambda stage, done, total: None)
    require_usable(data)
    require_reference(len(reference.texts), reference.name)
    notes = notes_on(data)
    data = data.sample(options.examples, options.seed)
    require_sampled(data)
    live = model if isinstance(model, LiveModel) else LiveModel.of(_opened(model))
    _require_features(live)
    features = live.features(data, lambda done, total: tell("features", done, total))
    layers = _by_layer(features, data, options.seed)
    evidence = [*_labels(features[-1], data, layers, options.seed)]
    if reference.texts:
        evidence += _texts(live, features[-1], data, reference, options.seed, tell)
    else:
        notes = (*notes, "text distances were not measured: no reference text fits (--reference)")
    foreseen = _foreseen(live, data, features[-1], tell) if options.reach else None
    if foreseen is not None and foreseen.uncovered:
        notes = (*notes, f"reach does not cover {len(foreseen.uncovered)} parameters")
    live.checkpoint.check_unchanged()
    return Distance(
        model=str(model if isinstance(model, str | Path) else live.checkpoint.path),
        data=data.path,
        examples=len(data),
        classes=len(data.label_names),
        evidence=tuple(evidence),
        layers=layers,
        reach=foreseen,
        explained_after=_explained_after(live, tuned, data) if tuned is not None else (),
        notes=notes,
    )


def _opened(checkpoint: str | Path | Checkpoint) -> Checkpoint:
    return checkpoint if isinstance(checkpoint, Checkpoint) else open_checkpoint(checkpoint)


def _require_features(live: LiveModel) -> None:
    if live.model.config.is_encoder_decoder:
        raise ModelError(
            "is an encoder-decoder, whose features are not defined here",
            advice="give an encoder or a decoder",
            path=live.checkpoint.path,
        )


def _foreseen(live: LiveModel, data: TaskData, final: Floats, tell: Progress) -> Reach:
    return reach(live, data, DEFAULT, progress=lambda done, total: tell("reach", done, total), final=final)


def _explained_after(
    live: LiveModel, tuned: str | Path | Checkpoint, data: TaskData
) -> tuple[tuple[str, int | None, float], ...]:
    alignment = align(live.checkpoint, _opened(tuned))
    found = explained_by(alignment, layer_inputs(live, data))
    return tuple((role, layer, share) for (role, layer), share in found.items())


def _by_layer(features: Floats, data: TaskData, seed: int) -> tuple[LayerProbe, ...]:
    """Leave-one-out ridge on each layer's features: closed form, so that depth costs nothing."""
    out = []
    for layer, states in enumerate(features):
        score, interval, _ = score_kernel(head_kernel(states.astype(np.float64)), None, data, seed)
        out.append(LayerProbe(layer, score, interval))
    return tuple(out)


def _labels(final: Floats, data: TaskData, layers: tuple[LayerProbe, ...], seed: int) -> list[Evidence]:
    score, interval = probe(final, np.asarray(data.labels), regression=data.task == "regression", seed=seed)
    metric = "accuracy" if data.task == "classification" else "R²"
    folds = "logistic regression, five folds" if data.task == "classification" else "ridge, five folds"
    out = [
        Evidence("linear_probe", score, metric, interval, "last layer", folds, reading("linear_probe", score))
    ]
    best = max(layers, key=lambda layer: layer.score)
    out.append(Evidence("best_layer", best.layer, "layer", None, f"probe {best.score:.3f}", "probe by layer"))
    out.append(
        Evidence(
            "log_me", log_evidence(final, targets_of(data)), "nats", None, "last layer", "You et al. 2021"
        )
    )
    if data.task == "classification":
        labels = np.asarray(data.labels)
        score, interval = nearest_neighbours(final, labels, seed=seed)
        out.append(Evidence("nearest_neighbours", score, "accuracy", interval, "last layer", "k = 5, cosine"))
        out.append(Evidence("h_score", h_score(final, labels), "", None, "last layer", "Ibrahim et al. 2022"))
        chance = float(np.bincount(labels).max() / len(labels))
        out.append(Evidence("majority", chance, "share", None, "most frequent class", "label column"))
    return out


def _texts(
    live: LiveModel,
    final: Floats,
    data: TaskData,
    reference: Reference,
    seed: int,
    tell: Progress,
) -> list[Evidence]:
    random = np.random.default_rng(seed)
    chosen = sorted(random.permutation(len(reference.texts))[: len(data)])
    other = TaskData(tuple(reference.texts[i] for i in chosen), None, None, (), "unlabelled", data.columns)
    theirs = live.features(other, lambda done, total: tell("reference", done, total))[-1]
    about = f"against {reference.name}"
    distance, interval = proxy_a_distance(final, theirs, seed=seed)
    discrepancy, chance = maximum_mean_discrepancy(final, theirs, seed=seed)
    out = [
        Evidence(
            "proxy_a_distance",
            distance,
            "0 to 2",
            interval,
            about,
            "Ben-David et al. 2007",
            reading("proxy_a_distance", distance),
        ),
        Evidence("frechet", frechet(final, theirs), "", None, about, "Dowson & Landau 1982"),
        Evidence("mmd", discrepancy, f"p = {chance:.3f}", None, about, "Gretton et al. 2012"),
    ]
    ours, others = spelling(live.tokenizer, data.texts), spelling(live.tokenizer, other.texts)
    out += _spelling(ours, others, about)
    return [*out, *_losses(live, data, other, about, seed)]


def _losses(live: LiveModel, data: TaskData, other: TaskData, about: str, seed: int) -> Iterator[Evidence]:
    """How much more the task's texts surprise the model than the reference; nothing from other models."""
    few = [sample.take(range(min(len(sample), _MOST_FOR_LOSSES))) for sample in (data, other)]
    try:
        ours, theirs = (language_losses(live, sample)[0] for sample in few)
    except ModelError:
        return
    if np.isfinite(ours).any() and np.isfinite(theirs).any():
        gap, interval = loss_gap(ours, theirs, seed=seed)
        kind = "causal" if live.purpose == "causal-lm" else "masked"
        yield Evidence("language_loss_gap", gap, "nats a token", interval, about, f"{kind} language model")


def _spelling(ours: Spelling, others: Spelling, about: str) -> list[Evidence]:
    out = []
    for measure, unit in (
        ("tokens_per_word", "tokens"),
        ("unknown_share", "share"),
        ("length", "tokens"),
    ):
        value, interval = getattr(ours, measure)
        beside = f"{getattr(others, measure)[0]:.3g} in the reference"
        out.append(Evidence(measure, value, unit, interval, about, beside, reading(measure, value)))
    return out
