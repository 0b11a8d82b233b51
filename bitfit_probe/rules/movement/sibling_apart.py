"""BP310."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from bitfit_probe.measures.siblings import siblings_of
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding, Severity
from bitfit_probe.records.siblings import Apart, How
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.wording import format_number, plural

__all__ = ["sibling_apart"]

_FIRST = {
    "layers at rest": "what had requires_grad, and at how the file was saved",
    "kind at rest": "target_modules, or the pattern that froze it",
    "at rest": "what had requires_grad, and at how the file was saved",
    "far": "its learning rate and weight decay, and at what else wrote to it",
    "near": "its learning rate, and at whether it was in the optimizer from the start",
    "unlike": "whether it comes from this base: which names loading called missing",
}


@rule("BP310", "unlike-its-siblings", "warning")
def sibling_apart(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Tensors did not do what their siblings in other layers did.

    What it means
    -------------
    A layer or a module rests while its siblings moved, one moved ten times more or less than they did, or one
    is far less like its base than they are.

    Why it matters
    --------------
    One method trains all layers alike. What stands out was frozen by a pattern, lost in saving or merging,
    overwritten, or ran away.

    How it is recognised
    --------------------
    Tensors of one name in all layers are a family. At rest: no change beyond rounding where at least twice as
    many siblings moved. Ten times: √(Σ Δ² / n) lies that far from the family's median, and beyond six
    deviations. Unlike: a cosine to the base below 0.5, or one below 0.9 where its siblings' lie ten times
    nearer to 1, that no form explains. Information are what moved far in the last layer, layers that rest
    from the first one on (lower ones are often frozen on purpose) unless biases only were trained, what a
    setting explains (`layers_to_transform`, `vision_feature_layer`), an expert at rest, and one kind of
    matrix that rests in all layers.

    What to do
    ----------
    If it was not meant so, compare the trained state in memory with the file, tensor by tensor, before
    training again.

    References
    ----------
    Hampel 1974, The influence curve and its role in robust estimation
    """
    groups: dict[tuple[How, Severity, str | None], list[Apart]] = {}
    for apart in siblings_of(pair):
        groups.setdefault((apart.how, _severity(apart, pair), apart.explained), []).append(apart)
    for (how, severity, explained), found in groups.items():
        found.sort(key=_distance, reverse=True)
        most = found[0]
        more = f"; so {plural(len(found) - 1, 'other')}" if len(found) > 1 else ""
        why = f", as {explained} says." if explained else f". Look first at {_FIRST[how]}."
        yield this.finding(
            f"{_SAYS[how](most)}{more}{why}",
            severity=severity,
            subjects=tuple(name for apart in found for name in apart.tensors),
            evidence=tuple(_evidence(most)),
        )


def _distance(apart: Apart) -> float:
    """How far it stands out."""
    if apart.figure is None or not apart.usual:
        return float(len(apart.tensors))
    return abs(math.log(apart.figure / apart.usual)) if apart.figure > 0 < apart.usual else 100.0


def _severity(apart: Apart, pair: Pair) -> Severity:
    if apart.explained or apart.how in ("kind at rest", "near"):
        return "info"
    if apart.how == "at rest" and apart.is_expert:
        return "info"  # no token may have been sent to it
    if apart.how == "far" and apart.layers == (_last_layer(apart, pair),):
        return "info"  # what is nearest to a new head often moves most
    lower = apart.layers == tuple(range(len(apart.layers)))
    meant = pair.comparison.verdict not in ("bitfit", "bitfit+norm")
    return "info" if apart.how == "layers at rest" and lower and meant else "warning"


def _last_layer(apart: Apart, pair: Pair) -> int:
    layers = (row.info.layer for row in pair.comparison.tensors if row.info.stack == apart.stack)
    return max(layer for layer in layers if layer is not None)


def _evidence(apart: Apart) -> Iterator[Evidence]:
    yield Evidence("tensors", len(apart.tensors), "tensors", about=apart.how)
    yield Evidence("siblings", apart.siblings)
    if apart.figure is not None and apart.usual is not None:
        name = "cosine" if apart.how == "unlike" else "rms_delta"
        yield Evidence(name, apart.figure, about=apart.tensors[0])
        yield Evidence(name, apart.usual, about="median of its siblings")


def _layers(apart: Apart) -> str:
    """``layers 0–3, 7``."""
    runs: list[list[int]] = []
    for layer in apart.layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    texts = [f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    where = f"{apart.stack} " if apart.stack else ""
    return f"{where}layer{'s' if len(apart.layers) > 1 else ''} {', '.join(texts)}"


def _layers_rest(apart: Apart) -> str:
    return (
        f"Nothing moved in {_layers(apart)} ({plural(len(apart.tensors), 'tensor')}), while the other "
        f"{plural(apart.siblings, 'layer')} did, so that they still do what the base's do"
    )


def _kind_rests(apart: Apart) -> str:
    return (
        f"All but one of the kinds of matrices moved: {apart.kind} rests in all {len(apart.tensors)} places, "
        f"{_layers(apart)}"
    )


def _rests(apart: Apart) -> str:
    return (
        f"{apart.kind} rests in {_layers(apart)}, while {plural(apart.siblings, 'sibling')} in other layers "
        "moved"
    )


def _ran(apart: Apart) -> str:
    assert apart.figure is not None
    assert apart.usual is not None
    ratio = apart.figure / apart.usual
    times = f"{ratio:.2g} times as far as" if ratio > 1 else f"{1 / ratio:.2g} times less than"
    return (
        f"'{apart.tensors[0]}' moved {times} its {apart.siblings} siblings in other layers (√mean Δ² "
        f"{format_number(apart.figure)} against {format_number(apart.usual)})"
    )


def _unlike(apart: Apart) -> str:
    return (
        f"'{apart.tensors[0]}' has a cosine of {apart.figure:.2f} to its base, where its {apart.siblings} "
        f"siblings in other layers have {apart.usual:.2f}, and no other form explains it"
    )


_SAYS: dict[How, Callable[[Apart], str]] = {
    "layers at rest": _layers_rest,
    "kind at rest": _kind_rests,
    "at rest": _rests,
    "far": _ran,
    "near": _ran,
    "unlike": _unlike,
}
