"""The few numbers about a task that the rule looks at."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bitfit_probe.records.distance import Distance

__all__ = ["features", "features_of"]


def features_of(distance: Distance, examples: int) -> dict[str, float]:
    """The rule's numbers from what was measured; `examples` is how many there are to train on."""
    values = {item.measure: item.value for item in distance.evidence if isinstance(item.value, (int, float))}
    if distance.reach is not None:
        for forecast in distance.reach.forecasts:
            values[f"reach_{forecast.method}"] = forecast.score
            values[f"error_{forecast.method}"] = forecast.error
    return features(values, examples, distance.classes)


def features(values: Mapping[str, float], examples: int, classes: int) -> dict[str, float]:
    """The rule's numbers; those whose measure is absent are left out.

    Parameters
    ----------
    values
        Measures by name, as `bitfit-probe distance` gives them; forecasts as ``reach_bitfit`` and so on.
    examples
        How many there are to train on.
    classes
        0 for a quantity.

    Returns
    -------
    dict
        ``log2_examples``; ``log2_classes``; ``skill``, how far the linear probe is from the most frequent
        class (0) to always right (1); by how many points the reach of one method exceeds another's, and the
        logarithm of the ratio of their squared errors.
    """
    out = {"log2_examples": math.log2(examples), "log2_classes": math.log2(max(classes, 1))}
    if "linear_probe" in values:
        chance = values.get("majority", 0.0)
        out["skill"] = (values["linear_probe"] - chance) / max(1 - chance, 1e-9)
    for name, ours, theirs in (
        ("reach_lora_over_bitfit", "reach_lora-8", "reach_bitfit"),
        ("reach_full_over_lora", "reach_full", "reach_lora-8"),
        ("reach_bitfit_over_head", "reach_bitfit", "reach_head"),
    ):
        if ours in values and theirs in values:
            out[name] = 100 * (values[ours] - values[theirs])
    for name, ours, theirs in (
        ("error_lora_under_bitfit", "error_lora-8", "error_bitfit"),
        ("error_full_under_lora", "error_full", "error_lora-8"),
    ):
        if values.get(ours, 0) > 0 and values.get(theirs, 0) > 0:
            out[name] = math.log(values[theirs] / values[ours])
    return out
