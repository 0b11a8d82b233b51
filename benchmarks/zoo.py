"""Recall of `check` on every planted fault, and its alarms on what is healthy.

python -m benchmarks.zoo [--write docs/zoo.md] [--healthy DIR] [--kind N]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from zoo.specimens import lookalikes, specimens
from zoo.table import HEALTHY, page, rows, sample_rows, trained_rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, help="write the page there")
    parser.add_argument("--healthy", type=Path, default=HEALTHY, help="folder of trained runs")
    parser.add_argument("--kind", action="append", default=[], help="only this kind")
    options = parser.parse_args()
    chosen = options.kind
    kinds = list(rows([s for s in specimens() if not chosen or s.kind in chosen]))
    alike = list(rows([s for s in lookalikes() if not chosen or s.kind in chosen]))
    own = [] if chosen else list(sample_rows())
    trained = [] if chosen else list(trained_rows(options.healthy))
    text = page(kinds, alike, own, trained)
    print(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
