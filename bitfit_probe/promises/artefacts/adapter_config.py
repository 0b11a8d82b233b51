"""adapter_config.json: the tensors that peft looks for in the file beside it, and in the base."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bitfit_probe.checkpoint.adapters import Adapter, low_rank
from bitfit_probe.checkpoint.adapters.lora import BiasShift
from bitfit_probe.promises.case import Case
from bitfit_probe.records.promises import Promise
from bitfit_probe.wording import join_names, plural

__all__ = ["promises"]

_FILE = "adapter_config.json"
_SKIPS = "loading starts it at nothing, without a word"


def promises(case: Case) -> Iterator[Promise]:
    """Ranks, whole pairs of factors, magnitudes, biases, saved modules, and every target there is."""
    adapter = case.tuned.adapter
    if adapter is None or adapter.config.get("peft_type") != "LORA":
        return
    modules = {name.removesuffix(".weight"): change for name, change in low_rank(adapter).items()}
    yield _ranks(adapter, len(modules))
    yield _pairs(adapter, len(modules))
    yield from _magnitudes(adapter, [name for name, change in modules.items() if change.magnitude is None])
    yield from _shifts(case, adapter, list(modules))
    yield from _saved(case, adapter)
    yield from _targets(adapter, list(modules))


def _ranks(adapter: Adapter, modules: int) -> Promise:
    odd = adapter.misranked
    expected = "its ranks (r, rank_pattern)"
    if not odd:
        return Promise("adapter", f"{_FILE}: r", expected, plural(modules, "module"), "kept")
    name, (stated, there) = next(iter(odd.items()))
    return Promise(
        "adapter",
        f"{_FILE}: r",
        f"rank {stated} in {name}",
        f"factors of rank {there}, and another rank in {len(odd)} of {plural(modules, 'module')}",
        "broken",
        loader="peft stops with a size mismatch",
        first="rank_pattern in the configuration that it was trained with",
        subjects=tuple(odd),
    )


def _pairs(adapter: Adapter, modules: int) -> Promise:
    lost = adapter.incomplete
    return Promise(
        "adapter",
        _FILE,
        "two factors in each module",
        f"one of two in {join_names(lost)}" if lost else plural(modules, "module"),
        "broken" if lost else "kept",
        loader=_SKIPS,
        first="what saved it, and whether the state was gathered",
        subjects=tuple(lost),
    )


def _magnitudes(adapter: Adapter, without: Sequence[str]) -> Iterator[Promise]:
    """DoRA's magnitudes, in all modules or in none."""
    modules = len(low_rank(adapter))
    if not adapter.config.get("use_dora"):
        if len(without) < modules:
            yield Promise(
                "adapter",
                f"{_FILE}: use_dora=false",
                "no magnitudes",
                f"magnitudes in {plural(modules - len(without), 'module')}",
                "broken",
                loader="peft drops them, and every output has another length",
                first="use_dora in the configuration that it was trained with",
                subjects=(_FILE,),
            )
    elif modules:
        yield Promise(
            "adapter",
            f"{_FILE}: use_dora",
            "a magnitude in each module",
            f"none in {join_names(without)}" if without else plural(modules, "module"),
            "broken" if without else "kept",
            loader=_SKIPS,
            first="what saved it",
            subjects=tuple(without),
        )


def _shifts(case: Case, adapter: Adapter, modules: Sequence[str]) -> Iterator[Promise]:
    """Biases beside the second factors (``lora_bias``), which take a bias in the base to be merged into."""
    shifts = [name for name, change in adapter.altered.items() if isinstance(change, BiasShift)]
    if adapter.config.get("lora_bias") and len(shifts) < len(modules):
        yield Promise(
            "adapter",
            f"{_FILE}: lora_bias",
            f"a bias in each of {plural(len(modules), 'module')}",
            f"{len(shifts)} of them",
            "broken",
            loader=_SKIPS,
            first="what saved it",
            subjects=tuple(name for name in modules if f"{name}.bias" not in shifts),
        )
    lacking = _lacking(shifts, case.base.tensors) if case.base is not None else []
    if lacking:
        yield Promise(
            "adapter",
            f"{_FILE}: lora_bias",
            "a bias in the base for each of its own",
            f"{plural(len(lacking), 'module')} without one, such as {lacking[0].removesuffix('.bias')}",
            "broken",
            loader="peft can't merge them; the adapter works unmerged only",
            first="lora_bias, for models whose layers have no biases",
            severity="warning",
            subjects=tuple(lacking),
        )


def _saved(case: Case, adapter: Adapter) -> Iterator[Promise]:
    stated = adapter.config.get("modules_to_save")
    names = [name for name in stated if isinstance(name, str)] if isinstance(stated, list) else []
    held = {part for name in adapter.stored for part in name.split(".")}
    if case.base is not None:
        # peft writes names of heads that other classes have.
        there = {part for name in case.base.tensors for part in name.split(".")}
        names = [name for name in names if name in there or name in held]
    if not names:
        return
    lost = [name for name in names if name not in held]
    if case.base is None and len(lost) < len(names):
        lost = []
    yield Promise(
        "adapter",
        f"{_FILE}: modules_to_save",
        join_names(names),
        f"no tensor of {join_names(lost)}" if lost else "tensors of them",
        "broken" if lost else "kept",
        loader="peft stops, or starts them at random",
        first="what saved it",
        subjects=tuple(lost),
    )


def _targets(adapter: Adapter, modules: Sequence[str]) -> Iterator[Promise]:
    """A module of each target; which of the base's are lacking, BP502 says."""
    stated = adapter.config.get("target_modules")
    ends = {end for name in modules for end in _ends(name)}
    left_out = adapter.config.get("exclude_modules") or ()
    targets = [str(name) for name in stated if name not in left_out] if isinstance(stated, list) else []
    lost = [target for target in targets if target not in ends]
    if targets:
        yield Promise(
            "adapter",
            f"{_FILE}: target_modules",
            plural(len(targets), "kind of module", "kinds of modules"),
            f"none called {join_names(lost)}" if lost else "modules of each",
            "untold" if lost else "kept",  # peft takes names that match nothing where another one does
            subjects=tuple(lost),
        )


def _ends(name: str) -> Iterator[str]:
    """`name`, and what is left of it behind each dot."""
    yield name
    yield from (name[at + 1 :] for at, char in enumerate(name) if char == ".")


def _lacking(names: Sequence[str], there: Iterable[str]) -> list[str]:
    """Those of `names` that none of `there` is, a prefix of either side aside."""
    whole = set(there)
    ends = {end for name in whole for end in _ends(name)}
    return [name for name in names if name not in ends and not any(end in whole for end in _ends(name))]
