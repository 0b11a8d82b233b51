"""BP503."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.interface import Case, Rule, rule
from bitfit_probe.rules.looking import body, moved, plural
from bitfit_probe.rules.merges import adapter_of

__all__ = ["biases_overruled"]


@rule("BP503", "bias-setting-overruled", "warning", catalogue=(4,))
def biases_overruled(case: Case, this: Rule) -> Iterator[Finding]:
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
    setting = adapter_of(case).config.get("bias")
    biases = body(case, "bias")
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
