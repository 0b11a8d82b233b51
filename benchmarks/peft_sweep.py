"""Every method of the installed peft by its main options, and ours beside peft's own merge.

    python -m benchmarks.peft_sweep [--write docs/adapters.md] [--only NAME]

The cases stand in `tests/formats/peft_cases.py`; a test runs the same ones and holds the page to them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from formats.peft_cases import CASES, TOLERANCE, Case, Outcome, run

_HEAD = """# PEFT adapters: what is read, what is refused

Made by `python -m benchmarks.peft_sweep --write docs/adapters.md` with peft {version}; the tests run every
row. A tiny model gets the adapter, every trained value noise; peft saves it, loads it and merges it. *Equal*
means that base + adapter, as `diff` reads it, is peft's own `merge_and_unload()` within {tolerance:g} in each
element. Where it is refused, the message names the method and what to do; the last column is that, done.

Two adapters of any method can be held against each other (`diff A B`): LoRA's by ΔW, others as they are
stored.

| method | option | base + adapter | instead |
|---|---|---|---|
"""


def row(case: Case, outcome: Outcome) -> str:
    """The page's line of a case."""
    read = "equal" if outcome.difference is not None else "refused"
    if outcome.difference is not None and outcome.difference > TOLERANCE:
        read = f"differs by {outcome.difference:.1e}"
    return f"| {case.method} | {case.option or '–'} | {read} | {outcome.alternative or '–'} |"


def outcomes(only: str = "") -> Iterator[tuple[Case, Outcome]]:
    """Every case whose name holds `only`, run in a folder of its own."""
    for case in CASES:
        if only.lower() in case.name.lower():
            with tempfile.TemporaryDirectory() as folder:
                yield case, run(case, Path(folder))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, help="write the page there")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    options = parser.parse_args()
    lines = []
    for case, outcome in outcomes(options.only):
        figure = "" if outcome.difference is None else f"  {outcome.difference:.1e}"
        lines.append(row(case, outcome))
        print(f"{lines[-1]}{figure}", flush=True)
    if options.write:
        import peft

        head = _HEAD.format(version=peft.__version__, tolerance=TOLERANCE)
        options.write.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
