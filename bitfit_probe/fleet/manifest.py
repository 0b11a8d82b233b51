"""What a fleet's directory holds: a manifest that is only added to, and a JSON file a checkpoint.

Each run adds a line about itself and then one a checkpoint, so that a killed run loses only what was under
way. The last run decides: rows that were judged beside another base, with other options or by another
version, are left in the file and count no more.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bitfit_probe.errors import ManifestError
from bitfit_probe.outputs import Content, append_line, told_as_output, write_files
from bitfit_probe.records.failures import Failure
from bitfit_probe.records.fleet import FleetRow, Found

__all__ = [
    "MANIFEST",
    "Entry",
    "Manifest",
    "Run",
    "begin",
    "keep",
    "read_manifest",
    "result_name",
    "row_of",
    "together",
]

MANIFEST = "manifest.jsonl"
_RESULTS = "checkpoints"


@dataclass(frozen=True)
class Run:
    """What all rows of a manifest have in common.

    Attributes
    ----------
    base, inputs
        The base's path, and the stamps of the base and of the data.
    options
        Those that a result depends on.
    version
        Of bitfit-probe.
    asked
        The checkpoints that were to be judged.
    """

    base: str
    inputs: str
    options: dict[str, Any]
    version: str
    asked: tuple[str, ...]

    @property
    def digest(self) -> str:
        """What the rows of two runs must share to stand beside each other."""
        told = json.dumps([self.base, self.inputs, self.options, self.version], sort_keys=True)
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A row, and the stamp of the files that it is about."""

    row: FleetRow
    inputs: str


@dataclass(frozen=True)
class Manifest:
    """The last run of a directory, and the entries that count, by path."""

    run: Run
    entries: dict[str, Entry]


def read_manifest(folder: Path) -> Manifest:
    """What `folder` holds; lines that a kill cut off are passed over.

    Raises
    ------
    ManifestError
        There is no fleet in it.
    """
    run: Run | None = None
    entries: dict[tuple[str, str], Entry] = {}
    for line in _lines(folder):
        if "run" in line:
            run = Run(**{**line["run"], "asked": tuple(line["run"]["asked"])})
        elif run is not None:
            entry = Entry(row_of(line["row"]), line["inputs"])
            entries[line["judged_with"], entry.row.tuned] = entry
    if run is None:
        raise ManifestError("holds no fleet", advice="give what `fleet run` wrote with -o", path=folder)
    counting = {tuned: entry for (judged, tuned), entry in entries.items() if judged == run.digest}
    return Manifest(run, {tuned: counting[tuned] for tuned in run.asked if tuned in counting})


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    try:
        with (folder / MANIFEST).open(encoding="utf-8", errors="surrogatepass") as stream:
            for text in stream:
                try:
                    line = json.loads(text)
                except ValueError:
                    continue
                if isinstance(line, dict):
                    yield line
    except OSError as error:
        raise ManifestError(
            f"its manifest can't be read ({error.strerror})",
            advice="give what `fleet run` wrote with -o",
            path=folder,
        ) from error


def row_of(told: dict[str, Any]) -> FleetRow:
    """A row from what JSON made of it."""
    found = tuple(Found(**item) for item in told["findings"])
    error = told["error"] and Failure(**told["error"])
    return FleetRow(**{**told, "findings": found, "direction": tuple(told["direction"]), "error": error})


def begin(folder: Path, run: Run) -> None:
    """Make room for results, and add the line of a run; raises OutputError."""
    with told_as_output(folder):
        (folder / _RESULTS).mkdir(parents=True, exist_ok=True)
    _append(folder, {"run": {**asdict(run), "asked": list(run.asked)}})


def keep(folder: Path, run: Run, entry: Entry, document: Content) -> None:
    """Write a checkpoint's own file, then its line; raises OutputError."""
    write_files([(folder / entry.row.result, document)], ())
    _append(folder, {"judged_with": run.digest, "inputs": entry.inputs, "row": asdict(entry.row)})


def result_name(tuned: str) -> str:
    """Where the file of a checkpoint lies in a fleet's directory."""
    parts = Path(tuned).parts[-2:]
    plain = re.sub(r"[^A-Za-z0-9._=-]+", "-", "-".join(parts)).strip(".-")[-60:]
    return f"{_RESULTS}/{plain}-{hashlib.sha256(tuned.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}.json"


def _append(folder: Path, line: dict[str, Any]) -> None:
    with told_as_output(folder / MANIFEST):
        append_line(folder / MANIFEST, json.dumps(line))


def together(manifests: Sequence[Manifest], folders: Sequence[Path]) -> tuple[Manifest, dict[str, Path]]:
    """Shards as one fleet, and in which folder each row's file lies.

    Of a checkpoint that several judged, the first that could read it counts.

    Raises
    ------
    ManifestError
        They were judged beside another base, with other options or by another version.
    """
    first = manifests[0].run
    entries: dict[str, Entry] = {}
    homes: dict[str, Path] = {}
    for manifest, folder in zip(manifests, folders, strict=True):
        for what, name in (("base", "base"), ("options", "set of options"), ("version", "version")):
            if getattr(manifest.run, what) != getattr(first, what):
                raise ManifestError(
                    f"was judged with another {name} than {folders[0]}",
                    advice="merge shards of one run",
                    path=folder,
                )
        for tuned, entry in manifest.entries.items():
            if tuned not in entries or entries[tuned].row.status == "failed":
                entries[tuned], homes[tuned] = entry, folder
    asked = tuple(dict.fromkeys(name for manifest in manifests for name in manifest.run.asked))
    return Manifest(replace(first, asked=asked), entries), homes
