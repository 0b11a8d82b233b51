"""BP505."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.adapter_files import adapter_of
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.wording import join_names

__all__ = ["kept_outside"]

#: Files in which LLaVA, LongLoRA and their kin keep what they trained beside the adapter.
_BESIDE = (
    "non_lora_trainables.bin",
    "non_lora_state_dict.bin",
    "trainable_params.bin",
    "mm_projector.bin",
)


@rule("BP505", "trained-outside-adapter", "error", needs=("comparison", "adapter"), catalogue=(14,))
def kept_outside(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Trained tensors lie outside the adapter, or were promised and not saved.

    What it means
    -------------
    More was trained than the adapter: embeddings, norms, a projector. They lie in a file of their own that
    peft does not read, or `modules_to_save` names modules that the adapter does not hold.

    Why it matters
    --------------
    Loading the adapter alone gives a model that was never evaluated.

    How it is recognised
    --------------------
    A file such as non_lora_trainables.bin or trainable_params.bin in the folder; or a module of the base
    that `modules_to_save` names and the adapter has no tensor of.

    What to do
    ----------
    Load the extra file into the base before the adapter, or train again with the modules in
    `modules_to_save` and check that they are in the adapter file.

    References
    ----------
    JIA-Lab-research/LongLoRA#53, JIA-Lab-research/LongLoRA#86
    """
    adapter = adapter_of(pair)
    files = [name for name in _BESIDE if (pair.tuned.folder / name).is_file()]
    if files:
        yield this.finding(
            f"Trained tensors lie beside the adapter in {join_names(files)}, which loading the adapter does "
            "not read.",
            subjects=tuple(files),
            evidence=(Evidence("files_beside", len(files), "files"),),
        )
    promised = adapter.config.get("modules_to_save")
    held = {part for name in adapter.stored for part in name.split(".")}
    modules = {part for name in pair.base.tensors for part in name.split(".")[:-1]}
    lost = [
        name
        for name in (promised if isinstance(promised, list) else ())
        if isinstance(name, str) and name in modules and name not in held
    ]
    if lost:
        yield this.finding(
            f"The configuration saves {join_names(lost)} with the adapter (modules_to_save), but the file "
            "has no tensor of it.",
            subjects=tuple(lost),
            evidence=(Evidence("promised_modules_absent", len(lost), "modules"),),
        )
