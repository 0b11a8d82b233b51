"""What every figure is called, counted in and written like: once, for all renderers and charts.

Keyed by the name that the record's field or the evidence's `measure` has. The rooms that compute a figure
know its name alone; a figure without an entry is shown under its name spelled out, in three digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from bitfit_probe.frozen import Frozen
from bitfit_probe.rendering.words import format_interval, format_number

__all__ = ["MEASURES", "RANKED", "Measure", "figures_of", "measure"]


class Measure(Frozen):
    """One figure as it is shown.

    Attributes
    ----------
    name
        The record's field or the evidence's measure.
    label
        What it is called.
    unit
        In words; empty for a plain number, and where the evidence brings its own.
    form
        How it is written, as a format specification; with ``%`` for a share.
    """

    name: str
    label: str
    unit: str = ""
    form: str = "#.3g"

    def text(self, value: float | int | str | bool | None) -> str:
        """The figure without its unit."""
        return format_number(value, self.form)

    def interval(self, bounds: tuple[float, float] | None) -> str:
        """Both ends of its interval; empty where there is none."""
        return format_interval(bounds, self.form)


_ALL = (
    # a tensor's or a group's movement
    Measure("mean_abs_delta", "mean|Δ|"),
    Measure("max_abs_delta", "max|Δ|"),
    Measure("relative_l2", "relative", "of max(‖b‖, ‖t‖)"),
    Measure("beft", "BEFT"),
    Measure("fisher", "Fisher", "nats²", "#.2g"),
    Measure("cosine", "cosine", "", "+.3f"),
    Measure("mean_shift", "mean shift", "", "+.1e"),
    Measure("changed_fraction", "changed", "of the elements", ".1%"),
    # a matrix's change
    Measure("spectral_norm", "σ₁(Δ)"),
    Measure("base_spectral_norm", "σ₁(b)"),
    Measure("effective_rank", "effective rank", "", ".1f"),
    Measure("stable_rank", "stable rank", "", ".1f"),
    Measure("energy", "energy", "of ‖Δ‖²", ".1%"),
    Measure("top_row_share", "top 1 % rows", "of ‖Δ‖²", ".1%"),
    Measure("merge_strength", "merged α*", "", ".2f"),
    # two adapters' updates of a matrix
    Measure("relative", "of ΔW", "", ".1%"),
    Measure("base_norm", "‖ΔW‖ before"),
    Measure("tuned_norm", "‖ΔW‖ after"),
    Measure("delta_rank", "rank moved", "", ".1f"),
    # a group put back to the base
    Measure("loss_change", "Δ loss", "nats", "+.3f"),
    Measure("accuracy_change", "Δ accuracy", "", "+.1%"),
    # a step that was tried
    Measure("loss_gain", "loss falls by", "nats", "+.3f"),
    # several checkpoints
    Measure("likeness", "cosine", "", ".3f"),
    Measure("norms", "‖Δb‖₂"),
    Measure("bias_change", "‖Δbias‖₂"),
    # a task before training
    Measure("linear_probe", "linear probe"),
    Measure("nearest_neighbours", "nearest neighbours"),
    Measure("log_me", "LogME"),
    Measure("h_score", "H-score"),
    Measure("majority", "most frequent class"),
    Measure("best_layer", "best probing layer"),
    Measure("proxy_a_distance", "proxy A-distance"),
    Measure("frechet", "Fréchet distance"),
    Measure("mmd", "MMD²"),
    Measure("tokens_per_word", "fertility"),
    Measure("unknown_share", "unknown tokens"),
    Measure("length", "tokens a text"),
    Measure("language_loss_gap", "language loss gap"),
    Measure("score", "score", "", ".3f"),
    # methods
    Measure("gap", "points below", "points", ".1f"),
    # what rules saw, where the name spelled out would not do
    Measure("lr_times_steps", "learning rate × steps"),
    Measure("eos_token_id", "id of the end token"),
    Measure("max_abs", "max|·|"),
    Measure("max_abs_b", "max|B|"),
    Measure("zero_b", "modules with B = 0"),
    # a run
    Measure("loss", "loss", "", ".4f"),
    Measure("held_out_loss", "held-out loss", "", ".4f"),
    Measure("held_out_accuracy", "held-out accuracy", "", ".4f"),
    Measure("held_out_macro_f1", "held-out macro F1", "", ".4f"),
    Measure("held_out_rmse", "held-out RMSE", "", ".4f"),
    Measure("held_out_pearson", "held-out Pearson", "", ".4f"),
)

MEASURES: Mapping[str, Measure] = MappingProxyType({item.name: item for item in _ALL})
#: The measures that groups of biases are ranked by, in tables and in charts.
RANKED = ("mean_abs_delta", "relative_l2", "beft", "fisher")


def measure(name: str) -> Measure:
    """The entry for `name`.

    >>> measure("log_me").label, measure("moved_tensors").label
    ('LogME', 'moved tensors')
    """
    return MEASURES.get(name) or Measure(name, name.replace("_", " "))


def figures_of(record: Any, names: Iterable[str]) -> tuple[str, ...]:
    """The cells of a record's figures."""
    return tuple(measure(name).text(getattr(record, name)) for name in names)
