"""BP502."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.checkpoint.adapters import Adapter, low_rank
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.adapter_files import adapter_of
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.wording import join_names, plural

__all__ = ["empty_adapter"]

_FUSED = "the class: experts fused into one parameter are no modules for target_modules to find"
_NEVER_ADAPTED = (
    "Name fused experts in target_parameters (such as mlp.experts.gate_up_proj) and train again, or take the "
    "names out of target_modules: the adapter does what it was trained to, without these modules."
)


@rule(
    "BP502",
    "adapter-empty",
    "error",
    needs=("comparison", "adapter"),
    explains=("BP203", "BP310", "BP501", "BP503", "BP505", "BP506", "BP401", "BP709"),
    catalogue=(2,),
)
def empty_adapter(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The adapter file holds nothing, or not all of the factors that its configuration promises.

    What it means
    -------------
    The file was written from an empty or partial state dict: under ZeRO-3 or FSDP without gathering, or
    by a second save that found the weights gone. Such files have 443 or 888 bytes, or about 100 kB.

    Why it matters
    --------------
    What is absent stays at the base, and peft loads the rest without an error.

    How it is recognised
    --------------------
    No tensors at all; a module with one factor of two; or fewer modules than the base has under the names
    in `target_modules` (where the configuration restricts no layers).

    What to do
    ----------
    Take the adapter from a step's checkpoint folder, and save once more with the full state gathered.

    References
    ----------
    huggingface/transformers#24551, mikeybellissimo/LoRA-MPT#5, hiyouga/LlamaFactory#852
    """
    adapter = adapter_of(pair)
    size = sum(file.size for file in pair.tuned.files)
    file = Evidence("file_size", size, "bytes")
    if not adapter.altered and not adapter.stored:
        what = "no tensors" if not adapter.incomplete else "no module with both factors"
        yield this.finding(
            f"The adapter is empty: its file has {size:,} bytes and holds {what}.",
            subjects=adapter.incomplete,
            evidence=(file, Evidence("tensors", len(pair.tuned.tensors), "tensors")),
        )
        return
    if adapter.incomplete:
        yield this.finding(
            f"The adapter lacks a factor in {plural(len(adapter.incomplete), 'module')}: "
            f"{join_names(adapter.incomplete, 2)}.",
            subjects=adapter.incomplete,
            evidence=(file, Evidence("incomplete_modules", len(adapter.incomplete), "modules")),
        )
        return
    absent = _absent(pair, adapter)
    if absent:
        yield _lacking(this, absent, adapter, file)


def _lacking(this: Rule, absent: list[str], adapter: Adapter, file: Evidence) -> Finding:
    """Modules that are absent here and there were lost; a kind that is absent everywhere had no factors."""
    there = {_kind(name.removesuffix(".weight")) for name in adapter.altered}
    evidence = (file, Evidence("absent_modules", len(absent), "modules"))
    if any(_kind(module) in there for module in absent):
        message = f"that its configuration targets in this base: {join_names(absent, 2)}."
        message = f"The adapter lacks {plural(len(absent), 'module')} {message}"
        return this.finding(message, subjects=tuple(absent), evidence=evidence)
    kinds = join_names(dict.fromkeys(module.rpartition(".")[2] for module in absent))
    experts = any(".experts." in module for module in absent)
    first = "which modules the model had in training"
    return this.finding(
        f"The configuration targets {kinds}, but none of these {plural(len(absent), 'module')} has factors, "
        f"as {absent[0]}: they were never adapted. Look first at "
        f"{_FUSED if experts else first}.",
        subjects=tuple(absent),
        evidence=evidence,
        advice=_NEVER_ADAPTED,
    )


def _kind(module: str) -> tuple[bool, str]:
    """The last name, of experts apart from that of the dense layers."""
    return ".experts." in module, module.rpartition(".")[2]


def _absent(pair: Pair, adapter: Adapter) -> list[str]:
    """Modules of the base that the configuration targets by name, but which nothing alters."""
    targets = adapter.config.get("target_modules")
    restricted = any(
        adapter.config.get(key) for key in ("layers_to_transform", "layers_pattern", "exclude_modules")
    )
    factors = low_rank(adapter)
    if not isinstance(targets, list) or restricted or not factors:
        return []
    wanted = {
        row.name: row.name.removesuffix(".weight")
        for row in pair.comparison.tensors
        if row.name.endswith(".weight") and len(row.shape) >= 2
    }
    targeted = {str(target) for target in targets}
    altered = {match.base.name for match in pair.alignment.pairs if match.computed}
    if not altered:
        return []  # its paths match nothing: another finding
    return [
        module
        for name, module in wanted.items()
        if name not in altered and any(end in targeted for end in _ends(module))
    ]


def _ends(module: str) -> Iterator[str]:
    """`module`, and what is left of it behind each dot: to look up, for targets may be any number."""
    yield module
    yield from (module[at + 1 :] for at, char in enumerate(module) if char == ".")
