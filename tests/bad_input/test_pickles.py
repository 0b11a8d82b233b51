"""Pickles that would run code, or fill the memory. A canary file tells whether anything ran."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bad_input.builders import legacy, zipped

CONTAINERS: dict[str, Callable[[Path, bytes], Path]] = {"zip": zipped, "legacy": legacy}


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def short(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def programs(canary: Path) -> dict[str, bytes]:
    """Pickle programs that create `canary` when a real unpickler runs them."""
    shell, code = text(f"touch {canary}"), text(f"open({str(canary)!r}, 'w').close()")
    statement = text(f"import pathlib; pathlib.Path({str(canary)!r}).touch()")
    command = text("touch") + text(str(canary)) + b"\x86"
    return {
        "REDUCE os.system": b"\x80\x02cos\nsystem\n" + shell + b"\x85R.",
        "REDUCE posix.system": b"\x80\x02cposix\nsystem\n" + shell + b"\x85R.",
        "REDUCE builtins.eval": b"\x80\x03cbuiltins\neval\n" + code + b"\x85R.",
        "REDUCE builtins.exec": b"\x80\x03cbuiltins\nexec\n" + statement + b"\x85R.",
        "REDUCE __builtin__.eval": b"\x80\x02c__builtin__\neval\n" + code + b"\x85R.",
        "REDUCE subprocess.call": b"\x80\x02csubprocess\ncall\n" + command + b"\x85R.",
        "REDUCE subprocess.check_output": b"\x80\x02csubprocess\ncheck_output\n" + command + b"\x85R.",
        "REDUCE runpy": b"\x80\x02crunpy\n_run_code\n" + statement + b"}\x86R.",
        "REDUCE partial": b"\x80\x02cfunctools\npartial\ncos\nsystem\n" + shell + b"\x86R)R.",
        "REDUCE getattr": b"\x80\x02cbuiltins\ngetattr\ncimportlib\nimport_module\n"
        + text("__call__")
        + b"\x86R"
        + text("os")
        + b"\x85R0"
        + b"cos\nsystem\n"
        + shell
        + b"\x85R.",
        "INST": b"(" + shell + b"ios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + shell + b"o.",
        "STACK_GLOBAL": b"\x80\x04" + short("os") + short("system") + b"\x93" + shell + b"\x85R.",
        "STACK_GLOBAL from the memo": b"\x80\x04"
        + short("system")
        + b"\x940"
        + short("os")
        + b"h\x00\x93"
        + shell
        + b"\x85R.",
        "dotted STACK_GLOBAL": b"\x80\x04"
        + short("os")
        + short("path.os.system")
        + b"\x93"
        + shell
        + b"\x85R.",
        "within a dict": b"\x80\x02}" + text("layer.bias") + b"cos\nsystem\n" + shell + b"\x85Rs.",
        "within a list": b"\x80\x02](cos\nsystem\n" + shell + b"\x85Re.",
        "thrown away": b"\x80\x02cos\nsystem\n" + shell + b"\x85R0}.",
        "as a BUILD state": b"\x80\x02ccollections\nOrderedDict\n)R}"
        + text("a")
        + b"cos\nsystem\n"
        + shell
        + b"\x85Rsb.",
    }


class Evil:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        import os

        return os.system, (f"touch {self.canary}",)


NAMES = list(programs(Path("x")))


@pytest.mark.parametrize("name", NAMES)
def test_the_programs_do_run_in_a_real_unpickler(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickle.loads(programs(canary)[name])
    assert canary.exists()


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs(name: str, container: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    canary = tmp_path / "canary"
    path = CONTAINERS[container](tmp_path / "x.pt", programs(canary)[name])
    assert "nothing was run" in refused(path, "BE108")
    assert not canary.exists()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs_from_a_plain_pickle(name: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / "x.pkl"
    path.write_bytes(programs(canary)[name])
    # Without a protocol's opcode at its start it is not even known for a pickle.
    refused(path, "BE113" if path.read_bytes().startswith(b"\x80") else "BE103")
    assert not canary.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_runs_in_any_protocol(protocol: int, tmp_path: Path, refused: Callable[..., str]) -> None:
    canary = tmp_path / "canary"
    program = pickle.dumps({"layer.bias": [Evil(canary)]}, protocol)
    for write in CONTAINERS.values():
        assert ".system" in refused(write(tmp_path / "x.pt", program), "BE108")
    (tmp_path / "x.pkl").write_bytes(program)
    refused(tmp_path / "x.pkl", "BE113" if protocol >= 2 else "BE103")
    assert not canary.exists()


def test_nothing_runs_from_the_other_pickles_of_a_legacy_file(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    canary = tmp_path / "canary"
    path = legacy(tmp_path / "x.pt", b"\x80\x02}.")
    head = path.read_bytes()
    evil = programs(canary)["REDUCE os.system"]
    for at in (15, len(pickle.dumps(1001, 2)) + 15):
        path.write_bytes(head[:at] + evil + head[at:])
        refused(path, "BE108")
    assert not canary.exists()


@pytest.mark.parametrize(
    ("program", "code"),
    [
        (b"\x80\x02}q\x00" + text("a") + b"h\x00s.", "BE111"),  # a dict within itself
        (b"\x80\x02]q\x00h\x00a.", "BE111"),  # a list within itself
        (b"\x80\x02N" + b"r\xff\xff\xff\x7f" + b".", "BE111"),  # memo at 2^31 - 1
        (b"\x80\x02N" + b"r\xff\xff\xff\xff" + b".", "BE111"),  # and at 2^32 - 1
        (b"N" + b"p99999999999999999999\n.", "BE111"),
        (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "BE111"),  # lists 100,000 deep
        (b"\x80\x02N" + b"\x85" * 100_000 + b".", "BE111"),  # tuples 100,000 deep
        (b"\x80\x02.", "BE107"),  # nothing on the stack
        (b"\x80\x02h\x07.", "BE107"),  # nothing in the memo
        (b"\x80\x02t.", "BE107"),  # no mark
        (b"\x80\x02}" + text("a") + b"s.", "BE107"),  # a key without a value
        (b"\x80\x02(N" + b"N" * 2 + b"d.", "BE107"),  # a dict of three items
        (b"\x80\x02\xff.", "BE107"),  # no opcode
        (b"\x80\x02\x82\x01.", "BE107"),  # an extension code
        (b"\x80\x05\x97.", "BE107"),  # a buffer from elsewhere
        (b"Pabc\n.", "BE107"),  # a persistent id in text
        (b"\x80\x02K\x01Q.", "BE107"),  # a persistent id that is a number
        (b"\x80\x02X\xff\xff\xff\xffab.", "BE106"),  # a text of 4 GB
        (b"\x80\x04\x8d" + b"\xff" * 8 + b"ab.", "BE107"),  # a text of 2^64 bytes
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0fab.", "BE106"),  # bytes beyond any memory
        (b"\x80\x02\x8b\xff\xff\xff\xff.", "BE107"),  # a number of negative length
        (b"I" + b"9" * 10_000 + b"\n.", "BE107"),  # a number of 10,000 digits
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "BE107"),  # a tensor of nothing
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NNNNNNNNNtR.", "BE107"),
        (b"\x80\x02ccollections\nOrderedDict\n]K\x01a\x85R.", "BE107"),  # pairs that are none
        (b"\x80\x02ccollections\nOrderedDict\n]]K\x01aa\x85R.", "BE107"),  # pairs of one
        (
            # a call whose arguments hold the call
            b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\nq\x00]q\x01(h\x00Nh\x01e0h\x00h\x00Nh\x01\x87R.",
            "BE107",
        ),
    ],
)
def test_strange_programs(program: bytes, code: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    refused(zipped(tmp_path / "x.pt", program), code)


BOMBS = {
    # One list of 200,000 items, given to 20,000 calls that would each keep a copy: 32 GB.
    "torch.Size": b"ctorch\nSize\nq\x010](" + b"N" * 200_000 + b"eq\x000" + b"h\x01h\x00\x85R" * 20_000,
    "any class": b"cargparse\nNamespace\nq\x010](" + b"N" * 200_000 + b"eq\x000" + b"h\x01h\x00R" * 20_000,
    "OrderedDict": b"ccollections\nOrderedDict\nq\x010]("
    + b"".join(b"](" + text(f"{i:05d}") + b"Ne" for i in range(50_000))
    + b"eq\x000"
    + b"h\x01h\x00\x85R" * 20_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_pickles_do_not_fill_the_memory(name: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.pt", b"\x80\x02" + BOMBS[name] + b".")
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
        "from bitfit_probe.checkpoint import open_checkpoint\n"
        "from bitfit_probe.errors import UnreadableError\n"
        "try: open_checkpoint(sys.argv[1])\n"
        "except UnreadableError as error: print(error.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() in {"BE107", "BE111", "BE113"}
