"""The malicious set: refused with its reason, in little memory, and nothing ran."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bad_input.malicious import FILES, LIMIT

READER = """
import json, os, resource, sys
os.environ["OPENBLAS_NUM_THREADS"] = "1"
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import UnreadableError
mapped, resident = (int(n) * resource.getpagesize() for n in open("/proc/self/statm").read().split()[:2])
limit = mapped - resident + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for name, path in json.load(sys.stdin).items():
    try:
        open_checkpoint(path)
        print(json.dumps([name, None, "it was read"]))
    except UnreadableError as error:
        print(json.dumps([name, error.code, str(error)]))
"""


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canary") / "sang"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, canary: Path) -> dict[str, tuple[str, str]]:
    """What a process of little memory says of each file."""
    paths = {}
    for number, (name, (make, _, _)) in enumerate(FILES.items()):
        folder = tmp_path_factory.mktemp(f"malicious{number}")
        paths[name] = str(make(folder, str(canary)))
    command = [sys.executable, "-c", READER, str(LIMIT)]
    done = subprocess.run(command, input=json.dumps(paths), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return {name: (code, message) for name, code, message in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", FILES)
def test_it_is_refused_with_its_reason(name: str, told: dict[str, tuple[str, str]], canary: Path) -> None:
    _, code, reason = FILES[name]
    assert told[name][0] == code, told[name]
    assert reason in told[name][1]
    assert len(told[name][1]) < 1500
    assert not canary.exists()


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 25
