"""BP101."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bitfit_probe.align import unwrapped
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.tensors import is_adapter

__all__ = ["wrapper_prefix"]

#: What peft puts into the names of adapted layers; BP510 and BP102 speak of it.
_PEFT = frozenset({"base_model", "model", "base_layer"})


@rule(
    "BP101",
    "wrapper-prefix",
    "error",
    needs=("tuned",),
    explains=("BP102", "BP401", "BP405", "BP412"),
    catalogue=(22,),
)
def wrapper_prefix(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Names carry what a wrapper added.

    What it means
    -------------
    DataParallel and DDP (``module.``), torch.compile (``_orig_mod.``), FSDP and activation checkpointing put
    a component into every name of what they wrap. Here it was saved with the weights.

    Why it matters
    --------------
    ``from_pretrained`` looks for the plain names, finds none, and starts the model at random with a warning;
    ``load_state_dict(strict=False)`` says nothing at all. (transformers 5.24: 41 of 41 tensors missing.)

    How it is recognised
    --------------------
    Names lose a component when the known wrappers are taken away, at the front or inside, as often as it
    takes. Where the base has the very same names, both came from one trainer, whose loader knows them: then
    it is a note.

    What to do
    ----------
    Save ``model.module.state_dict()``, or ``accelerator.unwrap_model(model)`` before saving, or rename the
    tensors once: drop the component from every name.

    References
    ----------
    karpathy/nanoGPT#325, eole-nlp/eole#179, huggingface/transformers#29659,
    rwightman/pytorch-image-models#1566
    """
    tuned = pair.tuned
    if is_adapter(tuned):
        return
    added = {name: found for name in tuned.tensors if (found := _added(name))}
    if not added:
        return
    wrappers = Counter(part for parts in added.values() for part in set(parts))
    shown = " and ".join(f"'{part}.'" for part in wrappers)
    both = all(name in pair.base.tensors for name in added)
    whose = " in both checkpoints" if both else ""
    yield this.finding(
        f"{len(added)} of {len(tuned.tensors)} tensor names carry {shown}{whose}, which a wrapper added; "
        "loaders look for the plain names and leave those weights at random.",
        severity="info" if both else "error",
        subjects=tuple(added)[:10],
        evidence=(
            Evidence("wrapped_names", len(added), "tensors"),
            Evidence("tensors", len(tuned.tensors), "tensors"),
        ),
        advice=f"Drop {shown} from every name, or unwrap the model before saving it.",
    )


def _added(name: str) -> tuple[str, ...]:
    """Components that a wrapper put into `name`, outermost first."""
    plain = Counter(unwrapped(name).split(".")[:-1])
    out = []
    for part in name.split(".")[:-1]:
        if plain[part]:
            plain[part] -= 1
        elif part not in _PEFT:
            out.append(part)
    return tuple(out)
