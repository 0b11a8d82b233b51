"""Write the held-out questions of the embedded sample's task as a CSV of text and label.

python -m benchmarks.rankings.questions questions.csv
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.rankings.tasks import question_types


def main() -> None:
    question_types(600).write_test(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
