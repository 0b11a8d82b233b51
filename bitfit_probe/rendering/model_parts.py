"""What became of each of several models in one checkpoint, in clauses of a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bitfit_probe.rendering.words import join_names, part_name, percent, plural

if TYPE_CHECKING:
    from bitfit_probe.records import Comparison, ModelPart, Verdict

__all__ = ["PART_VERDICTS", "missing_parts", "moved_parts", "still_parts"]

#: A part's verdict in a word or two.
PART_VERDICTS: dict[Verdict | None, str] = {
    "identical": "at rest",
    "rounding-only": "rounded",
    "bitfit": "BitFit",
    "bitfit+norm": "BitFit with norms",
    "head-only": "head only",
    "partial": "partly tuned",
    "full": "full fine-tuning",
    "merged-lora": "merged LoRA",
    "incomparable": "not comparable",
    None: "",
}


def missing_parts(comparison: Comparison) -> str | None:
    """The parts that were compared, where others are absent: "its language model (75 % of the base's …)".

    None where something else than whole parts is missing.
    """
    absent = [part for part in comparison.model_parts if part.state == "absent"]
    if not absent or any(item.reason != "part-absent" for item in comparison.coverage.rest):
        return None
    compared = _names([part for part in comparison.model_parts if part.state == "compared"])
    share = percent(comparison.coverage.share or 0.0)
    return f"its {compared} ({share} of the base's parameters; {_names(absent)} absent)"


def moved_parts(comparison: Comparison) -> Iterator[str]:
    """What each part is, where they differ; of an adapter, how many tensors it moves in each."""
    compared = [part for part in comparison.model_parts if part.state == "compared"]
    if comparison.adapter is not None:
        within = [part for part in compared if part.tensors]
        counts = [f"{part.moved:,} of {part.tensors:,} in the {part_name(part.name)}" for part in within]
        if counts and len(comparison.model_parts) > 1:
            yield join_names(counts)
    elif len({part.verdict for part in compared}) > 1:
        groups: dict[Verdict | None, list[ModelPart]] = {}
        for part in compared:
            groups.setdefault(part.verdict, []).append(part)
        for verdict, parts in groups.items():
            yield f"{_names(parts)}: {PART_VERDICTS[verdict]}"


def still_parts(comparison: Comparison) -> Iterator[str]:
    """Tensors at rest because the model takes its features from before them."""
    for part in comparison.model_parts:
        if part.still and part.moved:
            at_rest = f"{plural(len(part.still), 'tensor')} of the {part_name(part.name)} at rest"
            yield f"{at_rest}, as expected with {part.still_because}"


def _names(parts: Sequence[ModelPart]) -> str:
    return join_names([part_name(part.name) for part in parts])
