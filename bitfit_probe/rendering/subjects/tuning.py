"""A run card: what was trained, how it went epoch by epoch, and what to do with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bitfit_probe.rendering.document.blocks import Block, Code, Column, Document, Facts, Table, Text
from bitfit_probe.rendering.figures import measure
from bitfit_probe.rendering.roles import role_legend
from bitfit_probe.rendering.words import plural

__all__ = ["tuning_document"]

_FIGURES = (
    "loss",
    "held_out_loss",
    "held_out_accuracy",
    "held_out_macro_f1",
    "held_out_rmse",
    "held_out_pearson",
)
_METHODS = {"bitfit": "BitFit", "lora": "LoRA", "full": "full fine-tuning", "head": "a head on a frozen body"}
#: Rows of the losses that were logged, where no examples were held out.
_MOST_LOGGED = 8


def tuning_document(card: dict[str, Any], out: str, base: str) -> Document:
    """A run by its card, its directory and its base, as the caller names them."""
    settings = card["settings"]
    title = f"{_METHODS[settings['method']]} of {card['base']} ({card['architecture']}), {card['objective']}"
    signs = (Text(f"warning: step {sign['step']}: {sign['message']}", "alarm") for sign in card["signs"])
    lead = (Facts(tuple(_facts(card))), _curve(card), *signs, *_next(card, out, base))
    return Document(title, lead)


def _facts(card: dict[str, Any]) -> Iterator[tuple[str, str]]:
    data, trained, settings = card["data"], card["trained"], card["settings"]
    roles = ", ".join(f"{role} {count:,}" for role, count in trained["by_role"].items())
    classes = f", {len(data['labels'])} classes" if data["labels"] else ""
    counts = f"{data['trained_on']:,} trained on, {data['held_out']:,} held out"
    yield "data", f"{data['path'] or 'given'}: {counts}{classes}"
    share = 100 * trained["parameters"] / trained["of"]
    yield "trained", f"{trained['parameters']:,} of {trained['of']:,} parameters ({share:.2f} %): {roles}"
    legend = role_legend(trained["by_role"])
    if legend:
        yield "", f"({legend})"
    epochs = plural(settings["epochs"], "epoch")
    yield "rate", f"{settings['learning_rate']:.3g}, {epochs}, batches of {settings['batch']}"
    if data["cut_at_max_length"]:
        yield "note", f"{data['cut_at_max_length']:,} texts were cut at {data['max_length']} tokens"
    yield from (("note", note) for note in data["notes"])
    for trial in card["search"]:
        yield (
            "tried",
            f"rate {trial['learning_rate']:.2e}: held-out loss {trial['held_out_loss']:.4f}",
        )


def _curve(card: dict[str, Any]) -> Table:
    """One row an epoch where examples were held out, else the losses that were logged."""
    every: list[dict[str, float]] = []
    loss: dict[str, float] = {}
    for row in card["curve"]:
        loss = {"loss": row["loss"]} if "loss" in row else loss  # the last one that was logged
        every.append(loss | row)
    rows = [row for row in every if "held_out_loss" in row] or every[-_MOST_LOGGED:]
    names = [name for name in _FIGURES if rows and name in rows[-1]]
    columns = (
        Column("epoch", "number"),
        *(Column(measure(name).label) for name in names),
        Column("note", "words"),
    )
    cells = tuple(
        (
            f"{row['epoch']:.1f}",
            *(measure(name).text(row[name]) if name in row else "" for name in names),
            "kept" if row["step"] == card["best_step"] else "",
        )
        for row in rows
    )
    return Table("curve", "", columns, cells)


def _next(card: dict[str, Any], out: str, base: str) -> Iterator[Block]:
    yield Text(f"Written to {out} in {card['seconds']:.0f} s.")
    settings = card["run"]["settings"]
    if settings["method"] == "lora" and not settings["merge"]:
        yield Text("It is an adapter. To merge it, run the same with --merge, or in Python:")
        yield Code("merge", _merging(card, out, base), "python")
        return
    yield Text("What moved:")
    yield Code("diff", _command("diff", base, out), "sh")
    if settings["method"] in ("bitfit", "head"):
        yield Text("Ship it:")
        yield Code("patch", f"{_command('patch extract', base, out)} -o PATCH.safetensors", "sh")


def _command(name: str, base: str, out: str) -> str:
    import shlex

    return f"bitfit-probe {name} {shlex.join((base, out))}"


_AUTO = {
    "classify": "AutoModelForSequenceClassification",
    "regress": "AutoModelForSequenceClassification",
    "masked-lm": "AutoModelForMaskedLM",
    "causal-lm": "AutoModelForCausalLM",
}


def _merging(card: dict[str, Any], out: str, base: str) -> str:
    labels = len(card["data"]["labels"]) or (1 if card["objective"] == "regress" else 0)
    cls, count = _AUTO[card["objective"]], f", num_labels={labels}" if labels else ""
    return (
        f'base = transformers.{cls}.from_pretrained("{base}"{count})\n'
        f'peft.PeftModel.from_pretrained(base, "{out}").merge_and_unload().save_pretrained("MERGED")'
    )
