"""docs/needle.md from the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.needle.causes import CAUSES
from benchmarks.needle.plan import GIVEN, RUNS
from benchmarks.needle.scoring import WORTH, Case, cases, coverage, mean, share, told_right

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parents[2] / "docs" / "needle.md"

_START = """# Does diagnose find the step that helps?

Written by `make needle` from the rows in benchmarks/results/needle. Small models are fine-tuned and made to
disappoint for one known cause each; `bitfit-probe diagnose` gets 100 or 300 labelled examples, and each
step's true gain is measured on 1,000 other ones. The *attainable* gain is that of the best step, the
*realised* one that of the step that the first line advises: none where it says that no cheap step helps.
"""
_HOW = """
## How it was done

Models: the first two layers of the embedded sample's base (0.9 M parameters) and the first layer of MiniLM
(13.7 M, most of them its table of tokens). Tasks: kinds of questions (TREC), subjectivity (Subj), opinion
polarity of phrases (MPQA), texts cut to their first 12 words. Trained on 1,000 examples for 100 steps of
16, by biases or by all weights. Causes lie in training (labels shuffled, rate, steps, frozen layers, few
examples) or are done to the files afterwards; what causes have in common is trained once. True gains of
steps that are fitted are of a fit on the given examples, as done for good. Steps that 250 of the 1,000
examples show to be worse than the best one, with 99 % confidence, were given up there. LoRA is trained from
the base on the same given examples; in exchange for minutes of training it needs no tuned model at all, so
it gains most where the tuned one is worst.

Heads on another pooling take another class of the model; they are shown to users and not counted here. A
cause counts among those with a needle where the best step gains {worth:.0%} or more on average. The best of
some 25 steps on 1,000 examples looks a point or two better than it is, so what counts as attainable is a
little too high, and with it the shares are a little too low.

```sh
make materials                                   # MiniLM
make needle TASKS=DIR                            # DIR/trec.csv, subj.csv, mpqa.csv: columns text, label
```
"""


def page() -> str:
    """The whole page."""
    found = cases()
    names = {(item.model, item.task, item.cause) for item in found}
    lines = [_START, f"{len(names)} of {len(RUNS)} planned runs are in.\n", *_summary(found)]
    lines += ["\n## By cause, with 300 examples\n", *_by_cause([c for c in found if c.given == max(GIVEN)])]
    lines.append(_HOW.format(worth=WORTH))
    return "\n".join(lines)


def _summary(found: Sequence[Case]) -> Iterator[str]:
    parts = {given: [item for item in found if item.given == given] for given in GIVEN}
    yield "| | wanted | " + " | ".join(f"{given} examples" for given in GIVEN) + " |"
    yield "|---|---|" + "---:|" * len(GIVEN)
    rows = {
        "share of the attainable gain, mean of causes": ("≥ 65 % / ≥ 80 %", _mean_share),
        "the worst cause": ("≥ 60 %", _worst),
        "sound runs told that no cheap step helps": ("≥ 90 %", lambda some: f"{told_right(some):.0%}"),
        "95 % intervals that hold the true gain": ("≥ 90 %", lambda some: f"{coverage(some):.0%}"),
        "points gained by the first advice": ("", lambda some: _points([item.realised for item in some])),
        "… by doing nothing": ("", lambda some: _points([0.0 for _ in some])),
        "… by always refitting the head": ("", lambda some: _points([item.refit for item in some])),
        "… by always training LoRA on them": ("", _lora),
        "… by the best step of each run": ("", lambda some: _points([item.attainable for item in some])),
    }
    for title, (wanted, figure) in rows.items():
        yield f"| {title} | {wanted} | " + " | ".join(figure(part) for part in parts.values()) + " |"


def _with_needle(found: Sequence[Case]) -> dict[str, list[Case]]:
    """Runs by cause, of causes that some cheap step mends."""
    grouped = {cause: [item for item in found if item.cause == cause] for cause in CAUSES}
    return {
        cause: items
        for cause, items in grouped.items()
        if items and not CAUSES[cause].sound and mean([item.attainable for item in items]) >= WORTH
    }


def _mean_share(found: Sequence[Case]) -> str:
    return f"{mean([share(items) for items in _with_needle(found).values()]):.0%}"


def _worst(found: Sequence[Case]) -> str:
    shares = {cause: share(items) for cause, items in _with_needle(found).items()}
    worst = min(shares, key=lambda cause: shares[cause])
    return f"{shares[worst]:.0%} ({worst})"


def _points(gains: Sequence[float]) -> str:
    return f"{100 * mean(gains):+.1f}"


def _lora(found: Sequence[Case]) -> str:
    known = [item.lora for item in found if item.lora is not None]
    beside = [item.realised for item in found if item.lora is not None]
    return f"{_points(known)} of {len(known)} runs (advice there {_points(beside)})" if known else "–"


def _known(found: Sequence[Case]) -> bool:
    return any(item.lora is not None for item in found)


def _by_cause(found: Sequence[Case]) -> Iterator[str]:
    yield "| cause | runs | accuracy | attainable | realised | refit | LoRA, where it was run | advised |"
    yield "|---|---:|---:|---:|---:|---:|---:|---|"
    for cause in CAUSES:
        items = [item for item in found if item.cause == cause]
        if items:
            advised = Counter(item.advised or "nothing cheap" for item in items).most_common(2)
            figures = (
                f"{mean([item.before for item in items]):.1%}",
                *(
                    _points([getattr(item, name) for item in items])
                    for name in ("attainable", "realised", "refit")
                ),
                _points([item.lora for item in items if item.lora is not None]) if _known(items) else "–",
            )
            shown = ", ".join(f"{name} ({count})" for name, count in advised)
            yield f"| {cause} | {len(items)} | {' | '.join(figures)} | {shown} |"
