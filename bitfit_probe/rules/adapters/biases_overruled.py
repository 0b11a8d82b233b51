"""BP503."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.adapter_files import adapter_of
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.rows import body, moved
from bitfit_probe.wording import plural

__all__ = ["biases_overruled"]


@rule("BP503", "bias-setting-overruled", "warning", needs=("comparison", "adapter"), catalogue=(4,))
def biases_overruled(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The configuration trains biases, but no bias moved.

    What it means
    -------------
    `bias` says "all" or "lora_only", and something froze the biases again afterwards, mostly a second
    call that prepares the model (for 8-bit training, for speed).

    Why it matters
    --------------
    The run is plain LoRA, not LoRA with biases, whatever the configuration says.

    How it is recognised
    --------------------
    The base has biases, and each of them is bit for bit the base's or absent from the adapter.

    What to do
    ----------
    Print the names with `requires_grad` after the last call that prepares the model.

    References
    ----------
    unslothai/unsloth#2343
    """
    setting = adapter_of(pair).config.get("bias")
    biases = body(pair, "bias")
    if setting not in ("all", "lora_only") or not biases or moved(biases):
        return
    held = sum(row.judged_by != "not-in-file" for row in biases)
    yield this.finding(
        f"The adapter's configuration says bias={setting!r}, but none of "
        f"{plural(len(biases), 'bias', 'biases')} "
        f"moved ({held} of them lie in the file).",
        subjects=("adapter_config.json",),
        evidence=(
            Evidence("bias", str(setting), source="adapter_config.json"),
            Evidence("moved_biases", 0, "tensors"),
        ),
    )
