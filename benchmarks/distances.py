"""Measure every task against MiniLM, and molecules against a chemical BERT as well.

    python -m benchmarks.distances --tasks DIR [--reference FILE] [--write docs/distances.md]

DIR holds CSV files with the columns text, text_pair and label. Rows already measured are kept, so that an
interrupted run goes on. Writes benchmarks/results/distances.csv, the table of known tasks that ships with the
package, and the page.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import time
from pathlib import Path

from benchmarks.materials import ALBERT, DEFAULT, MINILM, RXNFP
from bitfit_probe.data import read_examples, read_texts
from bitfit_probe.records.distance import Distance
from bitfit_probe.task_distance import Reference, english_reference, measure_distance

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "distances.csv"
KNOWN = ROOT / "bitfit_probe" / "task_distance" / "reference_tasks.csv"
CACHE = ROOT / "benchmarks" / ".cache" / "distance"
_FIELDS = ("model", "task", "measure", "value", "low", "high", "unit")
#: What separates a SMILES string into tokens (Schwaller et al. 2018, §2.1), as the model was pretrained.
_SMILES = (
    r"(\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>>?|\*|\$|\%[0-9]{2}|[0-9])"
)


def chemical_model(name: str = "rxnfp") -> Path:
    """A chemical base (``rxnfp`` or ``albert``) whose tokenizer.json splits SMILES as its pretraining did."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    source = DEFAULT / (RXNFP / "bert_pretrained" if name == "rxnfp" else ALBERT)
    target = CACHE / name
    if (target / "tokenizer.json").is_file():
        return target
    target.mkdir(parents=True, exist_ok=True)
    words = (source / "vocab.txt").read_text(encoding="utf-8").split()
    vocabulary = {word: number for number, word in enumerate(words)}
    inner = Tokenizer(WordLevel(vocabulary, "[UNK]"))
    inner.pre_tokenizer = Split(Regex(_SMILES), "isolated")
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    inner.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(target)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    (target / "config.json").write_text(json.dumps({"model_type": "bert"} | config), encoding="utf-8")
    shutil.copy(source / "pytorch_model.bin", target)
    return target


def rows_of(result: Distance, model: str, task: str, seconds: float) -> list[dict[str, object]]:
    """One row a number."""
    out: list[dict[str, object]] = []

    def add(measure: str, value: object, interval: tuple[float, float] | None = None, unit: str = "") -> None:
        low, high = interval or ("", "")
        row = (model, task, measure, value, low, high, unit)
        out.append(dict(zip(_FIELDS, row, strict=True)))

    for item in result.evidence:
        add(item.measure, item.value, item.interval, item.unit)
    for probe in result.layers:
        add(f"layer_{probe.layer}", probe.score, probe.interval)
    if result.reach is not None:
        for item in result.reach.forecasts:
            add(f"reach_{item.method}", item.score, item.interval)
            add(f"error_{item.method}", item.error)
        for role, share in result.reach.roles:
            add(f"role_{role}", share)
    add("examples", result.examples)
    add("seconds", seconds)
    return out


def measure_all(tasks: Path, reference: tuple[str, ...]) -> None:
    """Measure what is not in the results yet."""
    RESULTS.parent.mkdir(exist_ok=True)
    done = {(row["model"], row["task"]) for row in _read()}
    jobs = [("minilm", DEFAULT / MINILM, path.stem) for path in sorted(tasks.glob("*.csv"))]
    jobs.append(("rxnfp", chemical_model(), "bbbp"))
    for name, folder, task in jobs:
        if (name, task) in done or not (tasks / f"{task}.csv").is_file():
            continue
        texts = reference if name == "minilm" else ()
        start = time.perf_counter()
        data = read_examples(tasks / f"{task}.csv")
        result = measure_distance(folder, data, Reference("the reference", texts))
        seconds = time.perf_counter() - start
        new = not RESULTS.is_file()
        with RESULTS.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, _FIELDS)
            if new:
                writer.writeheader()
            writer.writerows(rows_of(result, name, task, seconds))
        print(f"{name} {task}: {seconds:.0f} s", file=sys.stderr, flush=True)


def _read() -> list[dict[str, str]]:
    if not RESULTS.is_file():
        return []
    with RESULTS.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


_COLUMNS = (
    ("majority", "majority"),
    ("linear_probe", "probe"),
    ("nearest_neighbours", "kNN"),
    ("log_me", "LogME"),
    ("h_score", "H-score"),
    ("proxy_a_distance", "A-dist."),
    ("frechet", "Fréchet"),
    ("mmd", "MMD²"),
    ("tokens_per_word", "tok/word"),
    ("unknown_share", "unknown"),
    ("best_layer", "layer"),
    ("reach_head", "head"),
    ("reach_bitfit", "bias"),
    ("reach_lora-8", "LoRA 8"),
    ("reach_full", "full"),
    ("seconds", "s"),
)


def page(reference: str) -> str:
    """The table as Markdown."""
    values: dict[tuple[str, str], dict[str, str]] = {}
    for row in _read():
        values.setdefault((row["model"], row["task"]), {})[row["measure"]] = row["value"]
    titles = ["model", "task", *(title for _, title in _COLUMNS)]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for (model, task), found in values.items():
        cells = [f"{float(found[name]):.3g}" if found.get(name) else "–" for name, _ in _COLUMNS]
        lines.append("| " + " | ".join([model, task, *cells]) + " |")
    return "\n".join(
        [
            "# Distances of nine tasks",
            "",
            "Made by `python -m benchmarks.distances --tasks DIR --write docs/distances.md`.",
            f"300 examples each; text distances are against {reference}. The last columns are the",
            "forecasts by method, and the seconds that it all took on two cores with other work to do.",
            "",
            *lines,
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    texts = read_texts(options.reference) if options.reference else english_reference()
    measure_all(options.tasks, texts)
    known = [row for row in _read() if row["model"] == "minilm"]
    with KNOWN.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("task", "measure", "value"))
        for row in known:
            if row["measure"] in {"linear_probe", "proxy_a_distance", "tokens_per_word", "unknown_share"}:
                writer.writerow((row["task"], row["measure"], f"{float(row['value']):.4g}"))
    if options.write:
        name = "the given reference texts" if options.reference else "the package's English sample"
        options.write.write_text(page(name), encoding="utf-8")


if __name__ == "__main__":
    main()
