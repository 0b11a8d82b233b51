"""Checkpoints in buckets: moto's S3 server, and fsspec's file system in memory."""

from __future__ import annotations

import json
import tempfile
import urllib.request
import uuid
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from support.builders import biases, config_of, move, state, write
from support.s3 import store

import bitfit_probe as bp
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.checkpoint.remote import buckets
from bitfit_probe.checkpoint.remote.buckets import BucketFile
from bitfit_probe.cli import run
from bitfit_probe.errors import ChangedError

KIND = "bert"
SECRET = "wJalrXUtnFEMI-very-secret"


@pytest.fixture(scope="module")
def server():
    with store() as found:
        yield found


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("buckets")
    base = state(KIND)
    return (
        write(folder / "base", base, config_of(KIND)),
        write(folder / "tuned", move(base, *biases(base)), config_of(KIND)),
    )


@pytest.fixture
def s3(server, folders, monkeypatch):
    """Both folders in a bucket, and this process's credentials."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    addresses = [server.put_folder(path.name, path) for path in folders]
    server.forget()
    return addresses


@pytest.fixture
def memory(folders):
    """Both folders in fsspec's memory."""
    system, root = fsspec.filesystem("memory"), uuid.uuid4().hex
    for folder in folders:
        system.put(str(folder), f"/{root}/{folder.name}", recursive=True)
    yield [f"memory://{root}/{folder.name}" for folder in folders]
    system.rm(f"/{root}", recursive=True)


def figures(diff):
    (comparison,) = diff.comparisons
    return comparison.verdict, comparison.summary, comparison.tensors


@pytest.mark.parametrize("store", ["s3", "memory"])
@pytest.mark.parametrize("biases_only", [False, True])
def test_a_pair_in_a_bucket_is_the_pair_on_the_disk(store, biases_only, folders, request):
    there = request.getfixturevalue(store)
    ours = bp.diff(*folders, biases_only=biases_only)
    theirs = bp.diff(*there, biases_only=biases_only)
    assert figures(theirs) == figures(ours)
    assert theirs.architecture_known_from == "config"
    assert theirs.base.path == there[0]


@pytest.mark.parametrize("suffix", [".pt", ".legacy", ".safetensors", ".index.json"])
def test_files_of_every_kind(suffix, tmp_path, folders, memory):
    path = write(tmp_path / f"model{suffix}", state(KIND))
    system = fsspec.filesystem("memory")
    root = memory[0].removeprefix("memory:/").removesuffix("base")
    system.put(f"{tmp_path}/", f"{root}files/", recursive=True)
    found = bp.diff(f"memory:/{root}files/{path.name}", memory[1])
    assert figures(found)[0] == figures(bp.diff(path, folders[1]))[0] == "bitfit"


def test_check_reads_what_lies_beside(s3, folders):
    ours, theirs = bp.check(*folders), bp.check(*s3)
    assert [item.code for item in theirs.findings] == [item.code for item in ours.findings]
    assert [(item.code, item.why) for item in theirs.not_checked] == [
        (item.code, item.why) for item in ours.not_checked
    ]


def test_only_biases_are_fetched_and_few_requests_are_made(s3, server, tmp_path):
    """Of each file: its head, which holds its header, and one stretch for each bias."""
    base = {f"layer.{at}.weight": torch.ones(512, 1024) for at in range(3)}
    base |= {f"layer.{at}.bias": torch.ones(512) for at in range(3)}
    names = [name for name in base if name.endswith("bias")]
    for name, tensors in (("wide", base), ("moved", move(base, *names))):
        server.put_folder(name, write(tmp_path / name, tensors))
    server.forget()
    (comparison,) = bp.diff("s3://models/wide", "s3://models/moved", biases_only=True).comparisons
    assert comparison.summary.changed_biases == 3
    assert server.sent < 2 * (3 * 512 * 4 + (1 << 17))
    assert len([path for method, path in server.log if method == "GET" and path.endswith("safetensors")]) == 8


def test_ranges_that_are_announced_come_together_and_long_ones_are_read_ahead(tmp_path, monkeypatch):
    """Of 64 MiB read in order: one request for the head, the windows double, and never more is held."""
    data = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8)
    system = fsspec.filesystem("memory")
    system.pipe("/x/long.bin", data.tobytes())
    monkeypatch.setattr(buckets, "_FIRST", 1 << 12)
    monkeypatch.setattr(buckets, "_AHEAD", 1 << 16)
    monkeypatch.setattr(buckets, "_PART", 1 << 14)
    monkeypatch.setattr(buckets, "_SMALL", 1 << 10)
    file = BucketFile(system, "/x/long.bin", Path("memory:/x/long.bin"), tempfile.TemporaryDirectory())
    asked, real = [], system.cat_ranges

    def noted(paths, starts, ends, **more):
        asked.append((starts[0], ends[-1], len(starts)))
        return real(paths, starts, ends, **more)

    monkeypatch.setattr(system, "cat_ranges", noted)
    out = np.empty(1 << 10, np.uint8)
    for offset in range(0, 1 << 20, 1 << 10):
        file.read_into(out, offset)
        assert (out == data[offset : offset + len(out)]).all()
    widths = [stop - start for start, stop, _ in asked]
    assert widths[:5] == [1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16]
    assert max(widths) == 1 << 16
    assert [parts for *_, parts in asked][:5] == [1, 1, 1, 2, 4]
    asked.clear()
    file.expect([(100, 200), (300, 400), (900_000, 900_100), (0, 1 << 19)])
    assert len(asked) == 1
    assert asked[0][2] == 2
    file.read_into(out[:100], 900_000)
    assert (out[:100] == data[900_000:900_100]).all()
    assert len(asked) == 1
    system.rm("/x", recursive=True)


def test_an_object_that_is_replaced_meanwhile_is_an_error(memory):
    opened = open_checkpoint(memory[0])
    opened.check_unchanged()
    system, name = fsspec.url_to_fs(f"{memory[0]}/model.safetensors")
    system.pipe(name, system.cat(name) + b"x")
    with pytest.raises(ChangedError):
        opened.check_unchanged()


def test_a_fleet_in_a_bucket_knows_what_is_done(memory, tmp_path):
    from support.fleets import Recording
    from support.fleets import run as run_fleet

    executor = Recording()
    run_fleet(memory[0], [memory[1]], tmp_path / "o", executor)
    (row,) = run_fleet(memory[0], [memory[1]], tmp_path / "o", executor, resume=True).rows
    assert (row.verdict, len(executor.judged)) == ("bitfit", 1)
    system, name = fsspec.url_to_fs(f"{memory[1]}/model.safetensors")
    system.pipe(name, system.cat(name))
    run_fleet(memory[0], [memory[1]], tmp_path / "o", executor, resume=True)
    assert len(executor.judged) == 2


# What goes wrong ----------------------------------------------------------------------------------


@pytest.fixture
def strict(s3, server):
    """The server checks credentials from here on."""

    def check_after(count):
        asked = urllib.request.Request(
            f"{server.url}/moto-api/reset-auth", str(count).encode(), {"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(asked, timeout=30).close()

    check_after(0)
    yield s3
    check_after(10**9)


def line(capsys, *arguments):
    status = run(["diff", *map(str, arguments), "--biases-only"])
    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert SECRET not in said.err
    assert said.err.count("\n") == 1
    return said.err


def test_an_absent_key_and_an_absent_bucket_are_one_line(s3, capsys):
    absent = f"{s3[0]}/nothing.safetensors"
    assert line(capsys, absent, s3[1]).startswith(f"error BE101: {absent}: no such object or bucket")
    assert line(capsys, "s3://nowhere/x", s3[1]).startswith("error BE101: s3://nowhere/x: no such object")


def test_wrong_credentials_are_one_line_without_them(strict, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    said = line(capsys, *strict)
    assert said.startswith(f"error BE116: {strict[0]}: access is denied")
    assert "AKIAWRONG" not in said


def test_no_credentials_are_one_line(s3, capsys, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert line(capsys, *s3).startswith(f"error BE116: {s3[0]}: no usable credentials")


def test_a_server_that_is_gone_is_one_line(s3, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert line(capsys, *s3).startswith(f"error BE115: {s3[0]}: no answer")


def test_a_store_without_its_package_is_one_line(capsys, folders, monkeypatch):
    def missing(*_, **__):
        raise ImportError("no gcsfs")

    monkeypatch.setattr(fsspec, "url_to_fs", missing)
    said = line(capsys, "gs://bucket/base", folders[1])
    assert said.startswith("error BE501: gs://bucket/base: fsspec lacks a package")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"s3://key:{SECRET}@bucket/model.safetensors", "s3://bucket/model.safetensors"),
        (f"az://container/x.safetensors?sig={SECRET}", "az://container/x.safetensors"),
    ],
)
def test_what_is_secret_in_an_address_is_not_shown(address, shown, capsys, folders, monkeypatch):
    monkeypatch.setattr(fsspec, "url_to_fs", lambda *_: (_ for _ in ()).throw(ValueError(address)))
    assert f" {shown}: no answer (ValueError)" in line(capsys, address, folders[1])


def test_a_folder_of_several_weights_and_one_of_none(memory, capsys):
    system = fsspec.filesystem("memory")
    root = memory[0].removeprefix("memory:/").removesuffix("base")
    for name in ("a.safetensors", "b.safetensors"):
        system.pipe(f"{root}several/{name}", b"")
    system.pipe(f"{root}none/readme.md", b"")
    assert line(capsys, f"memory:/{root}several", memory[1]).startswith("error BE112:")
    assert line(capsys, f"memory:/{root}none", memory[1]).startswith("error BE102:")


def test_an_index_that_leaves_its_folder_is_refused(memory, capsys):
    root = memory[0].removeprefix("memory:/").removesuffix("base")
    index = json.dumps({"weight_map": {"a": "../../other/model.safetensors"}}).encode()
    fsspec.filesystem("memory").pipe(f"{root}bad/model.safetensors.index.json", index)
    assert line(capsys, f"memory:/{root}bad", memory[1]).startswith("error BE109:")


def test_file_addresses_are_paths(folders):
    assert figures(bp.diff(folders[0].as_uri(), folders[1].as_uri())) == figures(bp.diff(*folders))
