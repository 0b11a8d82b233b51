"""Checkpoints by URL: whole, by ranges, in shards; and what must not show."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support.server import Server, serving

import bitfit_probe as bp
from bitfit_probe import sample
from bitfit_probe.cli import run as _run
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.rendering import diff_to_json

BASE, TUNED = (Path(path()) / "model.safetensors" for path in (sample.base_path, sample.tuned_path))


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({"/base/model.safetensors": BASE, "/tuned/model.safetensors": TUNED}) as running:
        yield running


def rows(base: str | Path, tuned: str | Path, **options: bool) -> list[dict[str, object]]:
    told = json.loads(diff_to_json(bp.diff(base, tuned, **options)))
    found: list[dict[str, object]] = told["comparisons"][0]["tensors"]
    return found


@pytest.mark.parametrize("biases_only", [False, True])
def test_a_url_gives_what_the_file_gives(server: Server, biases_only: bool) -> None:
    addresses = (f"{server.url}/{name}/model.safetensors" for name in ("base", "tuned"))
    assert rows(*addresses, biases_only=biases_only) == rows(BASE, TUNED, biases_only=biases_only)
    if not biases_only:
        assert len(server.log) == 2


def test_a_torch_file_by_url(tmp_path: Path) -> None:
    torch.save({"a.bias": torch.arange(5.0)}, tmp_path / "x.pt")
    with serving({"/x.pt": tmp_path / "x.pt"}) as server:
        opened = bp.open_checkpoint(f"{server.url}/x.pt")
        assert opened.tensors["a.bias"].values().tolist() == [0, 1, 2, 3, 4]
        opened.check_unchanged()
        with pytest.raises(BitfitProbeError, match="leave out --biases-only"):
            bp.open_checkpoint(f"{server.url}/x.pt", biases_only=True)


def test_a_path_object_that_lost_a_slash(server: Server) -> None:
    address = Path(f"{server.url}/base/model.safetensors")
    assert len(bp.open_checkpoint(address, biases_only=True).tensors) == 78


def shards(folder: Path, weight_map: dict[str, str]) -> dict[str, Path]:
    save_file({"a.bias": torch.ones(2)}, folder / "one.safetensors")
    save_file({"b.bias": torch.ones(3)}, folder / "two.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return {f"/m/{path.name}": path for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("biases_only", [False, True])
def test_shards_lie_beside_their_index(tmp_path: Path, biases_only: bool) -> None:
    files = shards(tmp_path, {"a.bias": "one.safetensors", "b.bias": "two.safetensors"})
    with serving(files) as server:
        address = f"{server.url}/m/model.safetensors.index.json"
        opened = bp.open_checkpoint(address, biases_only=biases_only)
        assert opened.format == "safetensors, 2 shards"
        assert [tensor.values().tolist() for tensor in opened.tensors.values()] == [[1, 1], [1, 1, 1]]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../one.safetensors", "BE109"),
        ("/m/one.safetensors", "BE109"),
        ("//example.org/one.safetensors", "BE109"),
        ("http://example.org/one.safetensors", "BE101"),
        ("one.safetensors?x", "BE101"),
        ("one.safetensors#x", "BE101"),
    ],
)
@pytest.mark.parametrize("biases_only", [False, True])
def test_an_index_names_nothing_elsewhere(tmp_path: Path, name: str, code: str, biases_only: bool) -> None:
    with serving(shards(tmp_path, {"a.bias": name})) as server:
        with pytest.raises(BitfitProbeError) as caught:
            bp.open_checkpoint(f"{server.url}/m/model.safetensors.index.json", biases_only=biases_only)
        assert caught.value.code == code
        assert all(request.path.startswith("/m/") for request in server.log)


def test_secrets_of_an_address_do_not_show(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    base = f"{server.url}/base/model.safetensors?token=SECRET"
    for tuned in (f"{server.url}/tuned/model.safetensors?token=SECRET", f"{server.url}/absent?token=SECRET"):
        for form in ("text", "json", "csv"):
            _run(["diff", base, tuned, "--format", form])
    shown = "".join(capfd.readouterr())
    assert "127.0.0.1" in shown
    assert "SECRET" not in shown


def test_a_download_that_breaks_off(server: Server) -> None:
    def quirk(handler: object) -> bool:
        handler.begin(200, 1000)  # type: ignore[attr-defined]
        handler.send(bytes(10))  # type: ignore[attr-defined]
        handler.close_connection = True  # type: ignore[attr-defined]
        return True

    server.quirk = quirk
    with pytest.raises(BitfitProbeError) as caught:
        bp.open_checkpoint(f"{server.url}/base/model.safetensors")
    assert caught.value.code == "BE106"


def test_a_download_that_finds_no_room(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from bitfit_probe.checkpoint.remote import download

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.os, "write", full)
    with pytest.raises(BitfitProbeError, match=r"No space left on device.*TMPDIR"):
        bp.open_checkpoint(f"{server.url}/base/model.safetensors")


def test_a_download_leaves_nothing(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened = bp.open_checkpoint(f"{server.url}/base/model.safetensors")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "it has no name while it is read"
    assert len(opened.tensors) == 78


def test_web_pages_are_told_by_url(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("<!doctype html><title>Sign in</title>")
    with serving({"/model.safetensors": tmp_path / "page"}) as server:
        with pytest.raises(BitfitProbeError) as caught:
            bp.open_checkpoint(f"{server.url}/model.safetensors")
        assert caught.value.code == "BE105"
        assert f"{server.url}/model.safetensors" in str(caught.value)
