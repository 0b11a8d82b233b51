"""BP102."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bitfit_probe.architectures import Architecture
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.tensors import architecture_of, is_adapter

__all__ = ["foreign_prefix"]

#: A prefix is constant where this share of the names have it (the catalogue's own figure).
CONSTANT = 0.95
_PEFT = "base_model.model."
#: Where a family lists no attribute for its body, its task models use one of these.
_USUAL_BODIES = ("model.", "transformer.", "decoder.", "model.decoder.", "encoder.", "model.encoder.")


@rule("BP102", "foreign-prefix", "error", explains=("BP401", "BP405", "BP412"), catalogue=(23,))
def foreign_prefix(pair: Pair, this: Rule) -> Iterator[Finding]:
    """All names stand behind a prefix that loaders don't know.

    What it means
    -------------
    A trainer kept the model as an attribute (``net.``, ``model.bert.``, ``base_model.model.``) and saved its
    own state dict, or the backbone is called otherwise than in the class that config.json names.

    Why it matters
    --------------
    The values are all there, but ``from_pretrained`` matches names: it finds none and starts at random.

    How it is recognised
    --------------------
    At least 95 % of the names share a prefix that the base lacks and that is neither empty nor the attribute
    under which the architecture's task models hold their body (``bert.``, ``transformer.``, ``model.``):
    those two, transformers adds and removes by itself. With fewer names the model is a part of a larger one,
    which no loader of the base's class is meant to read. A doubled ``model.model.`` is a warning, as
    transformers 5 repairs it and others don't.

    What to do
    ----------
    Rename the tensors: take the prefix away, or save ``trainer.model.net`` itself.

    References
    ----------
    huggingface/transformers#4028, vllm-project/vllm#11802
    """
    if is_adapter(pair.tuned):
        return
    names = list(pair.tuned.tensors)
    prefix = _prefix(pair, names)
    if not prefix:
        return
    having = sum(name.startswith(prefix) or f".{prefix}" in name for name in names)
    if _beside(pair, names, prefix) > (1 - CONSTANT) * len(names):
        return  # a part of a larger net, which is loaded by a class of its own
    doubled = prefix == "model." and any(name.startswith("model.model.") for name in names)
    example = next(name for name in names if prefix in name)
    yield this.finding(
        f"{having} of {len(names)} tensor names stand behind '{prefix}', which the architecture's loaders "
        f"don't look for (for example '{example}'): they would start at random.",
        severity="warning" if doubled else "error",
        subjects=tuple(name for name in names if prefix in name)[:10],
        evidence=(
            Evidence("prefixed_names", having, "tensors", about=prefix),
            Evidence("tensors", len(names), "tensors"),
        ),
        advice=f"Take '{prefix}' away from every name, or save the inner model.",
    )


def _beside(pair: Pair, names: list[str], prefix: str) -> int:
    """How many names stand neither behind the prefix nor in the classifier that the family's models have."""
    classifier = architecture_of(pair).classifier
    own = classifier.modules if classifier else ()
    return sum(prefix not in name and name.partition(".")[0] not in own for name in names)


def _prefix(pair: Pair, names: list[str]) -> str:
    """What stands before the names and should not; empty where nothing does."""
    if sum(name.startswith(_PEFT) for name in names) >= CONSTANT * len(names):
        return "" if next(iter(pair.base.tensors)).startswith(_PEFT) else _PEFT
    architecture = architecture_of(pair)
    if architecture.family == "generic":
        return _between(pair)
    ours = pair.alignment.architecture.prefix
    if architecture.prefix == ours or architecture.prefix in _tolerated(architecture):
        return ""
    return _outer(architecture)


def _tolerated(architecture: Architecture) -> set[str]:
    bodies = {f"{body}." for body in architecture.bodies}
    return {"", *(bodies or _USUAL_BODIES)}


def _outer(architecture: Architecture) -> str:
    """The prefix without the body's own attribute at its end."""
    prefix = architecture.prefix
    for own in sorted(_tolerated(architecture) - {""}, key=len, reverse=True):
        if prefix.endswith(f".{own}"):
            return prefix.removesuffix(own)
    return prefix


def _between(pair: Pair) -> str:
    """For an unknown architecture: what the tuned names have before the base's."""
    found = Counter(
        match.tuned.name.removesuffix(match.base.name)
        for match in pair.alignment.pairs
        if match.tuned.name.endswith(match.base.name)
    )
    prefix, count = found.most_common(1)[0] if found else ("", 0)
    constant = prefix.endswith(".") and count >= CONSTANT * len(pair.alignment.pairs)
    return prefix if constant and "." in prefix else ""
