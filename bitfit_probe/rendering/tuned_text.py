"""A run card in words."""

from __future__ import annotations

from typing import Any

from bitfit_probe.rendering.words import printable

__all__ = ["below", "tuned_to_text"]

#: Columns of a line, and where what follows a word at its start begins.
_WIDTH, _INDENT = 80, 9
_FIGURES = (
    "loss",
    "held_out_loss",
    "held_out_accuracy",
    "held_out_macro_f1",
    "held_out_rmse",
    "held_out_pearson",
)
_METHODS = {"bitfit": "BitFit", "lora": "LoRA", "full": "full fine-tuning", "head": "a head on a frozen body"}


def tuned_to_text(card: dict[str, Any], out: str, base: str) -> str:
    """What was trained, how it went epoch by epoch, where it is, and what to do with it.

    Parameters
    ----------
    card
        The run card.
    out, base
        The run's directory and its base, as the caller names them.
    """
    said = [piece for line in [*_head(card), "", *_curve(card), "", *_signs(card)] for piece in below(line)]
    return "\n".join(map(printable, [*said, *_next(card, out, base)])) + "\n"


def below(line: str) -> list[str]:
    """A long line as several, the later ones below the words after its first."""
    import textwrap

    indent = " " * _INDENT
    # A path that is longer than a line stays whole: it is there to be copied.
    return textwrap.wrap(
        line, _WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    ) or [""]


def _head(card: dict[str, Any]) -> list[str]:
    data, trained, settings = card["data"], card["trained"], card["settings"]
    share = 100 * trained["parameters"] / trained["of"]
    roles = ", ".join(f"{role} {count:,}" for role, count in trained["by_role"].items())
    classes = f", {len(data['labels'])} classes" if data["labels"] else ""
    counts = f"{data['trained_on']:,} trained on, {data['held_out']:,} held out"
    epochs = f"{settings['epochs']} epoch{'s' if settings['epochs'] > 1 else ''}"
    lines = [
        f"{_METHODS[settings['method']]} of {card['base']} ({card['architecture']}), {card['objective']}",
        f"data     {data['path'] or 'given'}: {counts}{classes}",
        f"trained  {trained['parameters']:,} of {trained['of']:,} parameters ({share:.2f} %): {roles}",
        f"rate     {settings['learning_rate']:.3g}, {epochs}, batches of {settings['batch']}",
    ]
    if data["cut_at_max_length"]:
        lines.append(f"note     {data['cut_at_max_length']:,} texts were cut at {data['max_length']} tokens")
    lines += [f"note     {note}" for note in data["notes"]]
    lines += [
        f"tried    rate {trial['learning_rate']:.2e}: held-out loss {trial['held_out_loss']:.4f}"
        for trial in card["search"]
    ]
    return lines


def _curve(card: dict[str, Any]) -> list[str]:
    """One line an epoch where examples were held out, else the losses that were logged."""
    every: list[dict[str, float]] = []
    loss: dict[str, float] = {}
    for row in card["curve"]:
        loss = {"loss": row["loss"]} if "loss" in row else loss  # the last one that was logged
        every.append(loss | row)
    rows = [row for row in every if "held_out_loss" in row] or every[-8:]
    names = [name for name in _FIGURES if name in rows[-1]]
    titles = {name: name.replace("held_out_", "held-out ").replace("_", " ") for name in names}
    lines = ["epoch  " + "  ".join(title.rjust(8) for title in titles.values())]
    for row in rows:
        cells = "  ".join(
            (f"{row[name]:.4f}" if name in row else "").rjust(max(8, len(titles[name]))) for name in names
        )
        kept = "  kept" if row["step"] == card["best_step"] else ""
        lines.append(f"{row['epoch']:5.1f}  {cells}{kept}".rstrip())
    return lines


def _signs(card: dict[str, Any]) -> list[str]:
    return [f"warning  step {sign['step']}: {sign['message']}" for sign in card["signs"]]


def _next(card: dict[str, Any], out: str, base: str) -> list[str]:
    lines = [f"Written to {out} in {card['seconds']:.0f} s."]
    settings = card["run"]["settings"]
    if settings["method"] == "lora" and not settings["merge"]:
        labels = len(card["data"]["labels"]) or (1 if card["objective"] == "regress" else 0)
        cls, count = _AUTO[card["objective"]], f", num_labels={labels}" if labels else ""
        return [
            *lines,
            "It is an adapter. To merge it, run the same with --merge, or in Python:",
            f'  base = transformers.{cls}.from_pretrained("{base}"{count})',
            f'  peft.PeftModel.from_pretrained(base, "{out}").merge_and_unload().save_pretrained("MERGED")',
        ]
    lines.append(f"What moved:  bitfit-probe diff {base} {out}")
    if settings["method"] in ("bitfit", "head"):
        lines.append(f"Ship it:     bitfit-probe patch extract {base} {out} -o PATCH.safetensors")
    return lines


_AUTO = {
    "classify": "AutoModelForSequenceClassification",
    "regress": "AutoModelForSequenceClassification",
    "masked-lm": "AutoModelForMaskedLM",
    "causal-lm": "AutoModelForCausalLM",
}
