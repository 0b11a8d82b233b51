"""Finished runs on disk: one file a cell, one line a run.

benchmarks/results/experiment/{open,sealed}/MODEL--TASK--SIZE--DRAW.jsonl

The first line describes the cell: ``cell``, ``classes`` (names by class number), ``examples`` (sha256 of the
texts and labels of the n and the test examples), ``labels`` (``train``: of the n, in the draw's order;
``test``), ``folds`` (places among the n that each fold holds out), ``balanced`` (whether
the score is the mean recall).
Each further line is a run:

- ``method``, ``rate``, ``part`` (``fold-0`` … or ``final-0`` …), ``seed``, ``epochs``, ``batch``, ``steps``,
- ``trained``: parameters trained; ``train_counts``: training examples by class,
- ``score`` (accuracy, or the mean recall), ``loss`` (mean −log p), null where they are no numbers, and
  ``classes_said``: how many classes were answered,
- ``history``: [epoch, loss, accuracy] on the held-out examples while training (folds only),
- ``log_p``: log-probabilities of all classes, float16, an example a row, in the order of the fold or the test
  set; or, in finals with more than ten classes, ``said`` (the class answered, uint8) and ``log_p_right``,
- ``seconds``, ``cpu_seconds`` (training and judging), ``judging_seconds``, ``device``, ``precision``,
  ``torch``, ``transformers``.

Arrays are base64 of little-endian bytes. A line is written in one piece; one that was cut off all the same is
dropped at the next start. `results` reads; it leaves sealed clusters out unless told otherwise.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.experiment.plan import Cell, Outcome, Run, is_sealed

__all__ = ["RESULTS", "CellResults", "Store", "packed", "results", "unpacked"]

RESULTS = Path(__file__).parents[1] / "results" / "experiment"


def packed(array: npt.NDArray[Any]) -> str:
    """An array's bytes as text."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def unpacked(text: str, dtype: str, width: int | None = None) -> npt.NDArray[Any]:
    """The array again, in rows of `width`."""
    flat = np.frombuffer(base64.b64decode(text), np.dtype(dtype).newbyteorder("<"))
    return flat if width is None else flat.reshape(-1, width)


@dataclass(frozen=True)
class CellResults:
    """A cell's description and its runs as they were stored."""

    cell: Cell
    head: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]

    def log_p(self, row: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        """Log-probabilities of all classes, an example a row."""
        return unpacked(row["log_p"], "float16", len(self.head["classes"])).astype(np.float64)

    def labels(self, part: str) -> npt.NDArray[np.int64]:
        """What was right in a part."""
        if part.startswith("final"):
            return np.asarray(self.head["labels"]["test"])
        return np.asarray(self.head["labels"]["train"])[self.head["folds"][int(part[-1])]]

    def right(self, row: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
        """Whether each answer was right."""
        said = unpacked(row["said"], "uint8") if "said" in row else self.log_p(row).argmax(1)
        return np.asarray(said == self.labels(row["part"]))


def results(folder: Path = RESULTS, *, open_sealed: bool = False) -> Iterator[CellResults]:
    """All cells with their runs, by name; those of sealed clusters only if they are to be opened."""
    for kind in ("open", "sealed") if open_sealed else ("open",):
        for path in sorted((folder / kind).glob("*.jsonl")):
            lines = _lines(path)
            if lines:
                yield CellResults(Cell(*lines[0]["cell"]), lines[0], tuple(lines[1:]))


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file."""
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


class Store:
    """Where the runner writes. It reads sealed cells as well, as the plan needs them, and shows none."""

    def __init__(self, folder: Path = RESULTS) -> None:
        self._folder = folder
        self._known: dict[Cell, dict[Run, Outcome]] = {}

    def path_of(self, cell: Cell) -> Path:
        kind = "sealed" if is_sealed(cell.task) else "open"
        return self._folder / kind / ("--".join(map(str, cell)) + ".jsonl")

    def known(self, cell: Cell) -> dict[Run, Outcome]:
        """The finished runs of a cell."""
        if cell not in self._known:
            path = self.path_of(cell)
            rows = _lines(path)[1:] if path.is_file() else []
            self._known[cell] = dict(_outcome(cell, row) for row in rows)
        return self._known[cell]

    def add(self, cell: Cell, head: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """Keep a run for good.

        Raises
        ------
        ValueError
            The cell was begun with other examples.
        """
        path = self.path_of(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            stream.seek(0)
            content = stream.read()
            whole = content.rfind(b"\n") + 1
            stream.truncate(whole)
            if whole and json.loads(content[: content.index(b"\n")]) != head:
                raise ValueError(f"{path.name} was begun with other examples; move it away or restore them")
            lines = [row] if whole else [head, row]
            stream.write("".join(json.dumps(line) + "\n" for line in lines).encode())
            stream.flush()
            os.fsync(stream.fileno())
        self.known(cell).update([_outcome(cell, row)])


def _outcome(cell: Cell, row: Mapping[str, Any]) -> tuple[Run, Outcome]:
    numbers = (float("nan") if row[name] is None else row[name] for name in ("score", "loss"))
    return Run(cell, row["method"], row["rate"], row["part"]), Outcome.of(row["classes_said"], *numbers)
