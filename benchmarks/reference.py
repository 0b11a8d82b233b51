"""Make the English reference sample that `distance` falls back on.

    python -m benchmarks.reference

Sentences of the State of the Union addresses since 1950, works of the United States government in the public
domain, from the registry package that the embedded sample was pretrained on (see benchmarks/sample/fetch.py).
"""

from __future__ import annotations

import json
import random
import re
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks" / "sample"))

from fetch import fetch_all  # noqa: E402

OUT = ROOT / "bitfit_probe" / "distance" / "reference_en.txt"
SENTENCES, FIRST_YEAR, SEED = 500, 1950, 1
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_SPEECH = re.compile(r"/data/(\d{4})_[a-z_]+\.json$")


def main() -> None:
    archive = fetch_all(ROOT / "benchmarks" / ".cache")["sotu"]
    sentences: set[str] = set()
    with tarfile.open(archive) as opened:
        for member in opened.getmembers():
            found = _SPEECH.search(member.name)
            stream = opened.extractfile(member) if found and int(found[1]) >= FIRST_YEAR else None
            if stream is not None:
                document = json.loads(stream.read())
                text = document["text"] if isinstance(document, dict) else "\n".join(document)
                for line in text.split("\n"):
                    sentences.update(part.strip() for part in _SENTENCE_END.split(line))
    usable = sorted(s for s in sentences if 5 <= len(s.split()) <= 40 and s[-1] in ".!?" and s.isascii())
    chosen = sorted(random.Random(SEED).sample(usable, SENTENCES))
    OUT.write_text("\n".join(chosen) + "\n", encoding="utf-8")
    print(f"{len(chosen)} of {len(usable)} sentences to {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
