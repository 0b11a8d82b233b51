"""Files by somebody who means harm: each with the code that it gets, and words of the reason."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_input.builders import legacy, safetensors, tensor_pickle, zipped

__all__ = ["FILES", "LIMIT"]

#: Bytes of memory that reading any of them may take.
LIMIT = 512 << 20
Make = Callable[[Path, str], Path]


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def call(module: str, name: str, *arguments: str) -> bytes:
    """A program that calls a global with texts."""
    return f"c{module}\n{name}\n(".encode() + b"".join(map(text, arguments)) + b"tR"


def zip_(program: bytes) -> Make:
    return lambda folder, _: zipped(folder / "x.pt", b"\x80\x02" + program + b".")


def runs(module: str, name: str, before: bytes = b"", after: bytes = b"", *, old: bool = False) -> Make:
    """A pickle that would call a global with the shell command that makes the canary."""

    def make(folder: Path, canary: str) -> Path:
        program = b"\x80\x02" + before + call(module, name, f"touch {canary}") + after + b"."
        return (legacy if old else zipped)(folder / "x.pt", program)

    return make


def st(header: Any, **options: Any) -> Make:
    return lambda folder, _: safetensors(folder / "x.safetensors", header, **options)


def entry(**changes: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | changes


def index(weight_map: object, info: Callable[[Path], object] = lambda folder: None) -> Make:
    def make(folder: Path, _: str) -> Path:
        safetensors(folder / "one.safetensors", {"w": entry()})
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        info(folder)
        return folder

    return make


def link(name: str, target: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).symlink_to(target)


def views(count: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Make:
    """Many tensors that look at sixteen bytes."""
    one = tensor_pickle(shape=shape, strides=strides)
    head, name, rest = one.partition(text("layer.bias"))
    tensor = rest[: rest.rindex(b"s.")]
    # The first tensor is put into the memo; the others are got from there.
    more = b"".join(
        text(f"layer.{number}.bias") + b"r\xff\0\0\0"[:0] + b"j\xff\0\0\0s" for number in range(count)
    )
    program = head + name + tensor + b"r\xff\0\0\0" + b"s" + more + b"."
    return lambda folder, _: zipped(folder / "x.pt", program)


def overlapping(folder: Path, _: str) -> Path:
    """Two storages whose entries point to the same bytes."""
    program = tensor_pickle(key="0"), tensor_pickle(key="1")
    both = program[0][:-2] + b"s" + program[1][2:].replace(b"layer.bias", b"later.bias")[3:]
    path = zipped(folder / "x.pt", both)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/data/1", bytes(16))
    data = bytearray(path.read_bytes())
    first, second = (data.index(name, data.index(b"PK\x01\x02")) for name in (b"a/data/0", b"a/data/1"))
    data[second - 4 : second] = data[first - 4 : first]  # the offset stands before the name
    path.write_bytes(data)
    return path


def bomb(folder: Path, _: str) -> Path:
    """A thousand times its own size, once it is unpacked."""
    path = folder / "x.pt"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a/data.pkl", "w") as stream,
    ):
        for _number in range(32):
            stream.write(bytes(4 << 20))
    return path


def many_entries(folder: Path, _: str) -> Path:
    """An archive whose directory says that it takes 40 MB."""
    path = zipped(folder / "x.pt", tensor_pickle())
    data = path.read_bytes()
    at = data.rindex(b"PK\x05\x06")
    directory = data[int.from_bytes(data[at + 16 : at + 20], "little") : at]
    copies = (40 << 20) // len(directory)
    end = struct.pack(
        "<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, len(directory) * copies, at - len(directory), 0
    )
    path.write_bytes(data[: at - len(directory)] + directory * copies + end)
    return path


def forged_sizes(folder: Path, _: str) -> Path:
    path = zipped(folder / "x.pt", tensor_pickle())
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 20
    data[at : at + 8] = b"\0\0\0\x70" * 2
    path.write_bytes(data)
    return path


def large(name: str, size: int, start: bytes = b"") -> Make:
    """A file of any size that takes no room."""

    def make(folder: Path, _: str) -> Path:
        path = folder / name
        path.write_bytes(start)
        os.truncate(path, size)
        return path

    return make


def pipe(folder: Path, _: str) -> Path:
    os.mkfifo(folder / "model.safetensors.index.json")
    return folder / "model.safetensors.index.json"


def laughs(levels: int) -> bytes:
    """Each level holds the one below it twice."""
    return b")" + b"".join(b"q\x01h\x01\x86" for _ in range(levels))


_KEY = text("k" * 1_000_000)
_HALF = b"cargparse\nNamespace\n"
FILES: dict[str, tuple[Make, str, str]] = {
    # would run code
    "os.system": (runs("os", "system"), "BE108", "would run os.system"),
    "posix.system, old container": (runs("posix", "system", old=True), "BE108", "would run posix.system"),
    "eval among weights": (
        runs("builtins", "eval", b"}" + text("layer.bias"), b"s"),
        "BE108",
        "would run builtins.eval",
    ),
    "subprocess": (runs("subprocess", "getoutput"), "BE108", "would run subprocess.getoutput"),
    "a pickle in a pickle": (runs("pickle", "loads"), "BE108", "would run pickle.loads"),
    "torch.load from a pickle": (
        runs("torch.serialization", "load"),
        "BE108",
        "would run torch.serialization",
    ),
    "numpy.load with pickles": (runs("numpy", "load"), "BE108", "would run numpy.load"),
    "a module run by name": (runs("runpy", "run_path"), "BE108", "would run runpy.run_path"),
    "a shell through pip": (runs("pip._internal", "main"), "BE108", "would run pip._internal.main"),
    "the debugger": (runs("pdb", "run"), "BE108", "would run pdb.run"),
    "doctest": (runs("doctest", "debug_script"), "BE108", "would run doctest.debug_script"),
    "machine code": (runs("ctypes", "CDLL"), "BE108", "would run ctypes.CDLL"),
    "a download": (runs("urllib.request", "urlopen"), "BE108", "would run urllib.request.urlopen"),
    "a browser": (runs("webbrowser", "open"), "BE108", "would run webbrowser.open"),
    "deletes files": (runs("shutil", "rmtree"), "BE108", "would run shutil.rmtree"),
    "called and thrown away": (runs("os", "popen", after=b"0}"), "BE108", "would run os.popen"),
    "a class nobody knows": (
        zip_(call("helpful.tool", "Model", "weights")),
        "BE113",
        "an object of class helpful.tool.Model",
    ),
    # would fill the memory, or never end
    "tuples of tuples, 2^60": (zip_(laughs(60)), "BE111", "maps no names to tensors"),
    "three million lists": (zip_(b"]" * 3_000_000), "BE107", "more than 2,097,152 opcodes"),
    "twenty thousand classes": (
        zip_(b"".join(b"cm\nc%d\n" % number for number in range(20_000))),
        "BE107",
        "more than 16,384 classes",
    ),
    "a call with 200,000 arguments, often": (
        zip_(b"ccollections\nOrderedDict\nq\x01(" + b"N" * 200_000 + b"tq\x000" + b"h\x01h\x00R" * 50_000),
        "BE107",
        "with 200,000 arguments",
    ),
    "a key of a megabyte in 50,000 places": (
        zip_(
            _KEY
            + b"q\x000}q\x01("
            + b"".join(text(str(number)) + b"}(h\x00}(h\x00}uu" for number in range(50_000))
            + b"u"
        ),
        "BE111",
        "maps no names to tensors",
    ),
    "a number of 10,000 digits": (zip_(b"I" + b"9" * 10_000 + b"\n"), "BE107", "malformed"),
    "text of 4 GB": (zip_(b"X\xff\xff\xff\xff"), "BE106", "ends too early"),
    "bytes of 2^60": (zip_(b"\x8e" + struct.pack("<Q", 1 << 60)), "BE106", "ends too early"),
    "one element 2^40 times": (views(1, (1 << 40,), (0,)), "BE107", "repeat those of a small storage"),
    "thousands of views": (views(4000, (1 << 28,), (0,)), "BE107", "bytes of a file of"),
    "negative stride": (views(0, (4,), (-1,)), "BE107", "negative"),
    "a pickle of 5 GB, old container": (
        large("x.pt", 5 << 30, b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02B\xff\xff\xff\xff"),
        "BE106",
        "ends too early",
    ),
    # archives
    "a zip bomb": (bomb, "BE107", "134,217,728 bytes"),
    "a directory of 600,000 entries": (many_entries, "BE107", "directory would take"),
    "an entry that says 1.8 GB": (forged_sizes, "BE107", "1,879,048,192 bytes"),
    "two storages in one place": (overlapping, "BE107", "overlap"),
    "a storage that climbs": (
        lambda folder, _: zipped(folder / "x.pt", tensor_pickle(key="../../../../etc/passwd")),
        "BE107",
        "missing in the archive",
    ),
    # safetensors headers
    "header of 2^63": (st(b"{}", length=1 << 63), "BE107", "claims 9,223,372,036,854,775,808 bytes"),
    "header of 90 MB": (
        large("x.safetensors", 1 << 30, struct.pack("<Q", 90_000_000) + b"{"),
        "BE107",
        "more than the 33,554,432 that are read",
    ),
    "header of three million lists": (
        st(b'{"a":[' + b"[]," * 3_000_000 + b"[]]}"),
        "BE107",
        "more than the 2,097,152 that are read",
    ),
    "header of 400,000 tensors": (
        st(
            b"{"
            + b",".join(b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % n for n in range(400_000))
            + b"}"
        ),
        "BE107",
        "more than the 2,097,152 that are read",
    ),
    "header 10,000 deep": (st(b'{"a":' * 10_000), "BE107", "nested too deep"),
    "a million axes": (st({"a": entry(shape=[(1 << 62) + 1] * 200_000)}), "BE107", "200,000 axes"),
    "a name twice": (
        st(
            b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{"dtype":"U8","shape":[16],"data_offsets":[0,16]}}'
        ),
        "BE107",
        "a key stands twice",
    ),
    "ranges that overlap": (
        st({"a": entry(), "b": entry(data_offsets=[8, 24])}, data=bytes(24)),
        "BE107",
        "overlap",
    ),
    "a name of 5 MB": (st({"n" * 5_000_000: entry(shape=[-1])}), "BE107", "nnnn"),
    # paths
    "an index that climbs": (index({"w": "../../one.safetensors"}), "BE109", "lies outside its directory"),
    "an index to /etc/passwd": (index({"w": "/etc/passwd"}), "BE109", "lies outside its directory"),
    "an index to a device": (index({"w": "/dev/zero"}), "BE109", "lies outside its directory"),
    "an index to a link out": (
        index({"w": "two.safetensors"}, link("two.safetensors", "/etc/passwd")),
        "BE109",
        "lies outside its directory",
    ),
    "an index through a linked folder": (
        index({"w": "sub/passwd"}, link("sub", "/etc")),
        "BE109",
        "lies outside its directory",
    ),
    "an index of 40 MB": (
        large("model.safetensors.index.json", 40 << 20, b'{"weight_map":{'),
        "BE107",
        "more than the 33,554,432 that are read",
    ),
    "an index that is a pipe": (pipe, "BE103", "not a regular file"),
    "weights linked to a device": (
        lambda folder, _: (link("model.safetensors", "/dev/zero")(folder), folder)[1],
        "BE102",
        "no weight file in it",
    ),
    "weights linked to themselves": (
        lambda folder, _: (link("model.safetensors", "model.safetensors")(folder), folder)[1],
        "BE102",
        "no weight file in it",
    ),
}
