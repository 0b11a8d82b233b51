"""Which tests a change asks for first: those of the rooms it touches.

``make quick`` runs them. A room is a folder of the package; its tests lie in the folder of the same name, and
rooms whose files show elsewhere name those tests here too.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: Tests beyond the folder of the room's own name.
_ALSO = {
    "bitfit_probe/checkpoint/adapters": ("tests/formats/test_adapters.py",),
    "bitfit_probe/checkpoint/formats": ("tests/formats", "tests/bad_input/test_files.py"),
    "bitfit_probe/checkpoint/layouts": ("tests/formats", "tests/checkpoint/test_directories.py"),
    "bitfit_probe/checkpoint/remote": ("tests/remote",),
    "bitfit_probe/checkpoint/torch": ("tests/checkpoint/test_torch.py", "tests/bad_input"),
    "bitfit_probe/records": ("tests/comparison", "tests/rendering"),
    "bitfit_probe/api": ("tests/cli/test_command.py", "tests/comparison/test_options.py"),
    "bitfit_probe/errors.py": ("tests/bad_input",),
    "docs": ("tests/docs",),
    "README.md": ("tests/cli/test_readme.py",),
    "benchmarks": ("tests/packaging", "tests/recommendation/test_benchmark.py"),
}


def changed() -> list[str]:
    """Files that differ from main where this branch left it, or that git does not know yet."""
    fork = _git("merge-base", "HEAD", "main") or ["HEAD"]
    return [*_git("diff", "--name-only", fork[0]), *_git("ls-files", "--others", "--exclude-standard")]


def wanted_by(files: Iterable[str]) -> list[str]:
    """Folders and files of tests for these files, without what lies inside another one of them."""
    wanted: set[str] = set()
    for file in files:
        parts = Path(file).parts
        if parts[0] == "tests":
            wanted.add("/".join(parts[:2]))
        elif parts[0] == "bitfit_probe" and len(parts) > 2:
            wanted.add(f"tests/{parts[1]}")
        for place, tests in _ALSO.items():
            if file == place or file.startswith(f"{place}/"):
                wanted.update(tests)
    there = sorted(path for path in wanted if (ROOT / path).exists() and path != "tests/quick.py")
    return [path for path in there if not any(path.startswith(f"{other}/") for other in there)]


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


if __name__ == "__main__":
    print(*wanted_by(changed()))
