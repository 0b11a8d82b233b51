"""BP106."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bitfit_probe.inference.purpose import task_of
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.tensors import heads, is_adapter, plain_name

__all__ = ["wrapped_head"]

_FIRST = re.compile(
    r"^(?P<head>.*?(?:classifier|score|lm_head|qa_outputs|cls|classification_head)(?:\.[a-z_]+)*?)\.0\.(?P<rest>.+)$"
)


@rule("BP106", "wrapped-head", "error", explains=("BP401", "BP412"), catalogue=(28,))
def wrapped_head(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The head is wrapped in a container of one.

    What it means
    -------------
    The head was put into a Sequential or a list, so its tensors are called ``lm_head.0.weight`` where the
    class that loads them says ``lm_head.weight``.

    Why it matters
    --------------
    The trained head is in the file, yet ``from_pretrained`` starts a new one at random (transformers 5.24:
    reported as missing and unexpected, nothing raised).

    How it is recognised
    --------------------
    Head names with a component ``0`` behind the head's own name and no ``1`` beside it, where config.json
    names a class of transformers, or the base has the same head without the ``0``.

    What to do
    ----------
    Rename the tensors, or save the head's only element.

    References
    ----------
    shibing624/MedicalGPT#213
    """
    if is_adapter(pair.tuned):
        return
    theirs = heads(pair)
    wrapped = {name: found for name in theirs if (found := _FIRST.match(plain_name(name)))}
    several = {
        found["head"] for found in wrapped.values() if any(f"{found['head']}.1." in name for name in theirs)
    }
    known = task_of(pair.tuned.config) is not None
    names = [
        name
        for name, found in wrapped.items()
        if found["head"] not in several and (known or _unwrapped(found) in pair.base.tensors)
    ]
    if names:
        plain = _unwrapped(wrapped[names[0]])
        yield this.finding(
            f"The head stands in a container: '{names[0]}' where the model's class reads '{plain}'; "
            f"{len(names)} trained head tensors are not loaded and start at random.",
            subjects=tuple(names)[:10],
            evidence=(Evidence("wrapped_head_tensors", len(names), "tensors"),),
            advice=f"Rename it to '{plain}', or save the container's only element.",
        )


def _unwrapped(found: re.Match[str]) -> str:
    return f"{found['head']}.{found['rest']}"
