"""config.json: how many layers there are, and that each of them is whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from bitfit_probe.architectures import is_bias
from bitfit_probe.promises.case import BASES, Case, Held
from bitfit_probe.records.promises import Promise
from bitfit_probe.wording import join_names, plural

__all__ = ["promises"]

#: Names by layer, and by what of a layer they are.
_Layers = Mapping[int, Mapping[str, str]]
#: Layers in the file of which transformers builds none: they predict tokens further ahead.
_AHEAD = "num_nextn_predict_layers"


def promises(case: Case) -> Iterator[Promise]:
    """As many layers as config.json says, each with what its siblings or the base's layer have."""
    if not case.is_model or case.architecture.known_from == "heuristics":
        return
    for stack, layers in _stacks(case.held).items():
        yield from _count(case, stack, layers)
        yield _whole(case, stack, layers)


def _stacks(held: Mapping[str, Held]) -> dict[str | None, dict[int, dict[str, str]]]:
    found: dict[str | None, dict[int, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for name, (_, info, canonical) in held.items():
        if info.layer is not None and info.kind not in ("head", "buffer"):
            module = canonical.replace(f".{info.layer}.", ".{layer}.", 1)
            found[info.stack][info.layer][module] = name
    return found


def _count(case: Case, stack: str | None, layers: _Layers) -> Iterator[Promise]:
    key = f"{stack}.layers" if stack else "layers"
    stated = case.architecture.figure(key)
    if stated is None:
        return
    ahead = case.tuned.config.get(_AHEAD)
    absent = [number for number in range(stated) if number not in layers]
    beyond = [number for number in layers if number >= stated + (ahead if isinstance(ahead, int) else 0)]
    what = f"{plural(stated, f'{stack} layer' if stack else 'layer')}"
    said = f"{plural(len(layers), 'layer')} in the file"
    if absent:
        which = join_names([str(number) for number in absent], 4)
        yield Promise(
            "layers",
            case.table,
            what,
            f"{said}, layer {which} absent",
            "broken",
            loader="loading draws the absent ones at random",
            first="what exported the file, and its shards",
            subjects=tuple(f"layer {number}" for number in absent),
        )
    elif beyond:
        yield Promise(
            "layers",
            case.table,
            what,
            f"{said}",
            "broken",
            loader=f"loading drops layer {join_names([str(number) for number in sorted(beyond)], 4)}",
            first="config.json against the base's",
            subjects=tuple(name for number in beyond for name in layers[number].values())[:10],
        )
    else:
        yield Promise("layers", case.table, what, said, "kept")


def _whole(case: Case, stack: str | None, layers: _Layers) -> Promise:
    base = _stacks(case.held_by_base).get(stack, {})
    usual = _usual(layers)
    # Where all biases are gone the architecture has none, or BP601 says so.
    has_biases = any(is_bias(module) for own in layers.values() for module in own)
    lost = [
        module.replace("{layer}", str(number))
        for number, own in layers.items()
        for module in sorted(_wanted(number, own, base, usual) - set(own))
        if has_biases or not is_bias(module)
    ]
    source = BASES if base else "the other layers"
    expected = f"the same parameters in each of {plural(len(layers), 'layer')}"
    if not lost:
        return Promise("parameters", source, expected, "all of them", "kept")
    found = f"{plural(len(lost), 'parameter')} absent, such as '{lost[0]}'"
    return Promise(
        "parameters",
        source,
        expected,
        found,
        "broken",
        loader="loading draws them at random",
        first="what wrote the file",
        subjects=tuple(lost),
    )


def _usual(layers: _Layers) -> set[str]:
    """What more than half of the layers have."""
    counts = Counter(module for own in layers.values() for module in own)
    return {module for module, count in counts.items() if count > len(layers) / 2}


def _wanted(number: int, own: Mapping[str, str], base: _Layers, usual: set[str]) -> set[str]:
    """What the layer must have; a layer that is built in another way is no measure of the others."""
    if base:
        theirs = set(base.get(number, ()))
        return theirs if set(own) & theirs and set(own) <= theirs else set()
    return usual if set(own) < usual else set()
