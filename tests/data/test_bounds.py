"""Tables that are small on the disk and large in memory, and cells that break what comes after them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bitfit_probe.data import TaskData, read_examples, read_texts
from bitfit_probe.errors import DataError
from bitfit_probe.task_distance.data_validation import require_reference, require_sampled, require_usable

#: Reads a table and tells the most memory that this took, in MiB.
READ = """
import re, sys
from bitfit_probe.data import read_examples
from bitfit_probe.errors import DataError
try:
    found = read_examples(sys.argv[1])
    print(len(found), *found.notes, sep="|")
except DataError as error:
    print(error)
# Of this process alone: getrusage would count what its parent had when it was forked.
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10)
"""


def read_apart(path: Path) -> tuple[str, int]:
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    said, memory = done.stdout.splitlines()
    assert not done.stderr
    return said, int(memory)


def test_forty_million_equal_rows_are_sampled_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    rows = 1_000_000
    equal = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["the same"]).cast(pa.string())
    table = pa.table({"text": equal, "label": pa.array([1] * rows)})
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(40):
            writer.write_table(table)
    assert path.stat().st_size < 1 << 20
    said, memory = read_apart(path)
    assert said.startswith("300000|300,000 of 40,000,000 rows were read, chosen at random")
    assert memory < 512


def test_a_long_cell_that_is_repeated_is_sampled_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "cell.parquet"
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 60_000, pa.int32()), ["x" * 500_000])
    pq.write_table(pa.table({"text": long}), path, compression="zstd")
    said, memory = read_apart(path)
    assert memory < 512
    assert "of 60,000 rows were read, chosen at random" in said


def columns(count: int) -> str:
    return ",".join(f"c{number}" for number in range(count))


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("wide.csv", f"{columns(200_000)}\n{columns(200_000)}\n", "more than 2,000 columns"),
        ("cells.csv", "text,label\n" + "," * 5_000_000, "a row of more than 4,194,304 characters"),
        ("cell.csv", "text,label\n" + "x" * 5_000_000, "a row of more than 4,194,304 characters"),
        ("quoted.csv", 'text,label\n"' + "x\n" * 5_000_000, "field larger than field limit"),
        ("many.jsonl", json.dumps({f"k{n}": 1 for n in range(3000)}), "more than 2,000 columns"),
        ("keys.jsonl", "\n".join(f'{{"k{n}": 1}}' for n in range(3000)), "more than 2,000 columns"),
        ("deep.jsonl", '{"text": ' + "[" * 500_000, "recursion|nested"),
        ("long.jsonl", '{"text": "' + "x" * 5_000_000, "a row of more than 4,194,304 characters"),
        ("long.json", '[{"text": "' + "x" * 9_000_000, "Unterminated string"),
        ("open.json", '[{"text": "a"} {"text": "b"}]', "a list that is not closed"),
        ("two.json", '[{"text": "a"}] [1]', "more than one list"),
        ("digits.jsonl", '{"text": "a", "label": ' + "1" * 5000 + "}", "limit"),
    ],
)
def test_what_would_take_much_memory_is_refused_in_a_line(
    tmp_path: Path, name: str, content: str, why: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    said, memory = read_apart(path)
    assert "can't be read as a table" in said
    with pytest.raises(DataError, match=why):
        read_examples(path)
    assert memory < 512


def test_long_lists_are_read_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    rows = [{"text": f"{number} " + "x" * 3000, "label": number % 2} for number in range(1500)]
    for indent in (None, 1):  # one line, and many
        path.write_text(json.dumps(rows, indent=indent))
        assert read_examples(path).texts == tuple(row["text"] for row in rows)
    path.write_text("[ ]")
    with pytest.raises(DataError, match="no rows"):
        read_examples(path)


def test_labels_of_any_length_and_halves_of_characters(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    labels = ["1" * 400, "2" * 4000, 10**400, 1]
    rows = [{"text": "\ud800 half \0", "label": label} for label in labels]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = read_examples(path)
    assert found.texts[0] == "\ufffd half \0"
    assert set(found.label_names) == {"1" * 400, "2" * 4000, str(10**400), "1"}
    assert "4 of 4 rows hold halves of characters, which were replaced" in found.notes
    with pytest.raises(DataError, match="are not the model's"):
        found.class_numbers({0: "a", 1: "b"})


def test_a_reference_of_one_endless_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reference.txt"
    path.write_text("x" * 5_000_000)
    with pytest.raises(DataError, match="a row of more than 4,194,304 characters"):
        read_texts(path)


def table(texts: list[str], labels: list[int]) -> TaskData:
    from bitfit_probe.data import Columns

    names = tuple(str(label) for label in range(max(labels) + 1))
    return TaskData(tuple(texts), None, tuple(labels), names, "classification", Columns("text"), path="x.csv")


def test_data_on_which_nothing_can_be_measured_are_told_before_a_model_is_loaded() -> None:
    half = [number % 2 for number in range(40)]
    with pytest.raises(DataError, match="one text only"):
        require_usable(table(["the same"] * 40, half))
    with pytest.raises(DataError, match="one text only in the 40 rows"):
        require_sampled(table(["the same"] * 40, half))
    texts = [f"text {number}" for number in range(40)]
    require_sampled(table(texts, half))
    with pytest.raises(DataError, match="fewer than two classes with two examples among the 40"):
        require_sampled(table(texts, [0] * 39 + [1]))
    with pytest.raises(DataError, match="3,000 classes"):
        require_usable(table([str(n) for n in range(9000)], [n % 3000 for n in range(9000)]))
    with pytest.raises(DataError, match="gives 3 texts to compare with"):
        require_reference(3, "reference.txt")
    require_reference(0, "none")
    require_reference(20, "reference.txt")
