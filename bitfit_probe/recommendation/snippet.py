"""What is advised as Python: plain transformers and peft, without this package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from bitfit_probe.data import TaskData
from bitfit_probe.recommendation.parameter_count import TaskModel
from bitfit_probe.records.recommendation import LoraAdvice
from bitfit_probe.tuning.options import TuneOptions

__all__ = ["TRAINING", "Names", "snippet"]

#: The line behind which the model is ready and training begins.
TRAINING = "# Train as `bitfit-probe tune` does, but for held-out examples and early stopping."
_CSV = 'read_csv(data{separator}, dtype=str, keep_default_na=False, na_values=[""])'
#: How pandas reads a table, by the ending of its name.
_READERS = {
    ".json": "read_json(data, lines={lines}, dtype=False)",
    ".jsonl": "read_json(data, lines=True, dtype=False)",
    ".ndjson": "read_json(data, lines=True, dtype=False)",
    ".parquet": "read_parquet(data)",
    ".tab": _CSV.format(separator=', sep="\\t"'),
    ".tsv": _CSV.format(separator=', sep="\\t"'),
}


class Names(NamedTuple):
    """What the user calls the base, the file of examples and the directory that is made."""

    base: str
    examples: str
    out: str


def snippet(
    options: TuneOptions,
    model: TaskModel,
    data: TaskData,
    names: Names,
    lora: LoraAdvice | None,
) -> str:
    """A program that trains what ``bitfit-probe tune`` would.

    Parameters
    ----------
    options
        Method, rate and the rest.
    model
        What the base is.
    data
        The examples, of which it takes columns and classes.
    names
        What the user calls base, examples and what is made.
    lora
        Rank and modules, with the method ``lora``.
    """
    lines = [
        "import pandas",
        *(["import peft"] if lora else []),
        "import transformers",
        "",
        f"base = {_quoted(names.base)}",
        f"data = {_quoted(names.examples)}",
        "",
        *_model(options, model, data, lora),
        "",
        TRAINING,
        *_table(data, Path(names.examples)),
        *_rows(data),
        *_training(options, len(data), names.out),
    ]
    return "\n".join(lines) + "\n"


def _model(options: TuneOptions, model: TaskModel, data: TaskData, lora: LoraAdvice | None) -> Iterator[str]:
    """The tokenizer, and the model with only that trainable which the method trains."""
    head = f"num_labels={len(data.label_names)}"
    if data.task == "regression":
        head = 'num_labels=1, problem_type="regression"'
    yield "tokenizer = transformers.AutoTokenizer.from_pretrained(base)"
    yield "model = transformers.AutoModelForSequenceClassification.from_pretrained("
    yield f"    base, {head}, ignore_mismatched_sizes=True"
    yield ")"
    if model.decodes:
        yield "tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token"
        yield "model.config.pad_token_id = tokenizer.pad_token_id"
    if options.method == "bitfit":
        yield "# Beside these, all of the head is trained."
        yield "for name, parameter in model.base_model.named_parameters():"
        pooler = (model.new_pooler or "").partition(".")[0]
        new = f' or name.startswith("{pooler}.")  # new' if pooler else ""
        yield f'    parameter.requires_grad = name.endswith("bias"){new}'
    elif lora is not None:
        yield "config = peft.LoraConfig("
        yield f"    r={lora.rank},"
        yield f"    lora_alpha={options.lora_alpha or 2 * lora.rank},"
        yield from _listed("target_modules", lora.targets)
        yield from _listed("modules_to_save", model.modules)
        if model.architecture.inputs_first:
            yield "    fan_in_fan_out=True,"
        yield ")"
        yield "model = peft.get_peft_model(model, config)"


def _listed(name: str, items: Iterable[str]) -> Iterator[str]:
    """An argument that is a list, one item a line."""
    yield f"    {name}=["
    yield from (f"        {_quoted(item)}," for item in items)
    yield "    ],"


def _quoted(text: str | None) -> str:
    """`text` as Python, between the quotation marks of the rest where it holds none."""
    said = repr(text)
    return f'"{said[1:-1]}"' if said.startswith("'") and '"' not in said else said


def _table(data: TaskData, path: Path) -> Iterator[str]:
    reader = _READERS.get(path.suffix.lower(), _CSV.format(separator=""))
    wanted = ", ".join(map(_quoted, filter(None, (data.columns.text, data.columns.label))))
    yield f"table = pandas.{reader.format(lines=not _is_list(path))}"
    yield f'table = table.dropna(subset=[{wanted}]).fillna("")'


def _is_list(path: Path) -> bool:
    """Whether a .json file is one list instead of an object a line."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            return next((line for line in stream if line.strip()), "").lstrip().startswith("[")
    except (OSError, UnicodeDecodeError):
        return False


def _rows(data: TaskData) -> Iterator[str]:
    """Tokens with labels, an example a row."""
    columns = data.columns
    pair = f", list(table[{_quoted(columns.pair)}].astype(str))" if columns.pair else ""
    yield "tokens = tokenizer("
    yield f"    list(table[{_quoted(columns.text)}].astype(str)){pair},"
    yield f"    truncation=True, max_length={TuneOptions.max_length},"
    yield ")"
    if data.task == "regression":
        yield f"labels = [float(label) for label in table[{_quoted(columns.label)}]]"
    else:
        yield f"names = list(table[{_quoted(columns.label)}].astype(str))"
        yield "classes = sorted(set(names))"
        yield "labels = [classes.index(name) for name in names]"
    yield "rows = ["
    yield '    {key: tokens[key][at] for key in tokens} | {"labels": label}'
    yield "    for at, label in enumerate(labels)"
    yield "]"


def _training(options: TuneOptions, examples: int, out: str) -> Iterator[str]:
    yield "arguments = transformers.TrainingArguments("
    yield f"    {_quoted(out)},"
    yield f"    learning_rate={options.rate:g},"
    yield f"    num_train_epochs={options.passes(examples)},"
    yield f"    per_device_train_batch_size={options.batch_size},"
    yield f"    warmup_steps={options.warmup_ratio:g},  # a share of all steps"
    yield f"    seed={options.seed},"
    yield ")"
    yield "collator = transformers.DataCollatorWithPadding(tokenizer)"
    yield "trainer = transformers.Trainer("
    yield "    model=model, args=arguments, train_dataset=rows, data_collator=collator"
    yield ")"
    yield "trainer.train()"
    yield "trainer.save_model()"
    yield "tokenizer.save_pretrained(arguments.output_dir)"
