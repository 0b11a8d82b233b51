"""Models of the Hub, from a server that answers as it does."""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from support.server import COMMIT, Handler, Server, hub

import bitfit_probe as bp
from bitfit_probe import sample
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.records import Diff
from bitfit_probe.rendering import diff_to_json

MODELS = {"org/base": Path(sample.base_path()), "org/tuned": Path(sample.tuned_path())}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with hub(dict(MODELS)) as running:
        template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield running


def rows(result: Diff) -> Any:
    return json.loads(diff_to_json(result))["comparisons"][0]["tensors"]


def code_of(*args: Any, **options: Any) -> str:
    with pytest.raises(BitfitProbeError) as caught:
        bp.open_checkpoint(*args, **options)
    return f"{caught.value.code} {caught.value}"


@pytest.mark.parametrize("biases_only", [False, True])
def test_a_model_gives_what_its_files_give(server: Server, biases_only: bool) -> None:
    ours = bp.diff("org/base", "org/tuned@main", biases_only=biases_only)
    local = bp.diff(*MODELS.values(), biases_only=biases_only)
    assert rows(ours) == rows(local)
    assert ours.architecture_known_from == "config"
    assert (ours.base.path, ours.comparisons[0].tuned.path) == ("org/base", "org/tuned@main")
    assert ours.base.notes == (f"from the Hub at commit {COMMIT}",)


def test_biases_take_few_bytes(server: Server) -> None:
    bp.diff("org/base", "org/tuned", biases_only=True)
    weights = [request for request in server.log if request.path.startswith("/store/")]
    # The first 64 KiB of each file, and the biases with the norms' scales between them: 34 tensors in
    # 25 stretches, one request.
    assert len(weights) == 4
    assert all(request.range for request in weights)
    biases = sum(
        tensor.nbytes
        for name, tensor in bp.open_checkpoint(MODELS["org/base"]).tensors.items()
        if name.endswith("bias")
    )
    assert sum(request.sent for request in weights) < 2 * (65_536 + 2 * biases)


def test_the_second_time_only_the_commit_is_asked_for(server: Server) -> None:
    bp.open_checkpoint("org/base")
    server.log.clear()
    opened = bp.open_checkpoint("org/base")
    assert {request.path for request in server.log} <= {
        "/api/models/org/base",
        "/api/models/org/base/revision/main",
    }
    assert opened.folder.name == COMMIT
    assert opened.config["model_type"] == "bert"


def test_ranges_of_a_file_in_the_cache_are_read_there(server: Server) -> None:
    bp.open_checkpoint("org/base")
    server.log.clear()
    bp.open_checkpoint("org/base", biases_only=True)
    assert not any(request.path.startswith("/store/") for request in server.log)


def test_offline_takes_what_the_cache_holds(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    bp.open_checkpoint("org/base")
    server.log.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for biases_only in (False, True):
        assert len(bp.open_checkpoint("org/base", biases_only=biases_only).tensors) == 78
        assert "HF_HUB_OFFLINE" in code_of("org/tuned", biases_only=biases_only)
    assert server.log == []


def test_a_hub_that_does_not_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    bp.open_checkpoint("org/base")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert len(bp.open_checkpoint("org/base").tensors) == 78
    assert code_of("org/tuned").startswith("BE115")


def test_a_local_path_wins(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "base").symlink_to(MODELS["org/base"])
    monkeypatch.chdir(tmp_path)
    assert len(bp.open_checkpoint("org/base").tensors) == 78
    # And beside what exists, a name that does not is misspelt rather than meant for the Hub.
    assert code_of("org/tuned").startswith("BE101")
    for name in ("other/model.safetensors", "./org/base2", "a/b/c", "single", "../org/base"):
        assert code_of(name).startswith("BE101")
    assert server.log == []


def test_models_revisions_and_files_that_are_not_there(server: Server) -> None:
    assert "no such model on the Hub" in code_of("org/absent")
    assert "check the name after the @" in code_of("org/base@absent")
    assert code_of("org/absent", biases_only=True).startswith("BE101")


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (403, "GatedRepo", "BE116"),
        (401, "GatedRepo", "BE116"),
        (403, "", "BE116"),
        (500, "", "BE115"),
        (429, "", "BE115"),
    ],
)
@pytest.mark.parametrize("biases_only", [False, True])
def test_what_the_hub_denies(server: Server, status: int, reason: str, code: str, biases_only: bool) -> None:
    server.quirk = lambda handler: bool(handler.answer(status, b"{}", X_Error_Code=reason) or 1)
    assert code_of("org/base", biases_only=biases_only).startswith(code)


def test_the_token_goes_to_the_hub_alone(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    bp.open_checkpoint("org/base", biases_only=True)
    bp.open_checkpoint("org/tuned")
    for request in server.log:
        asked_hub = not request.path.startswith(("/store/", "/api/agent"))
        assert (request.token == "Bearer hf_secret") == asked_hub, request


def test_sizes_that_disagree(server: Server) -> None:
    def quirk(handler: Handler) -> bool:
        if handler.command != "HEAD" or "safetensors" not in handler.path:
            return False
        told = {"X_Repo_Commit": COMMIT, "X_Linked_ETag": '"x"', "X_Linked_Size": 17}
        server.files["/store/x"] = MODELS["org/base"] / "model.safetensors"
        place = f"{server.url.replace('127.0.0.1', 'localhost')}/store/x"
        handler.answer(302, b"", Location=place, **told)
        return True

    server.quirk = quirk
    assert "the Hub says 17 bytes" in code_of("org/base", biases_only=True)


@pytest.mark.parametrize(
    ("names", "biases_only", "expected"),
    [
        (["config.json"], False, "no weight file"),
        (["config.json"], True, "no safetensors file"),
        (["pytorch_model.bin"], True, "no safetensors file"),
        (["a.safetensors", "b.safetensors"], True, "several weight files"),
        (["a.pt", "b.pt"], False, "several weight files"),
        (["q4.gguf", "q8.gguf"], False, "several weight files"),
    ],
)
def test_models_without_weights_to_choose(
    server: Server, tmp_path: Path, names: list[str], biases_only: bool, expected: str
) -> None:
    def quirk(handler: Handler) -> bool:
        if not handler.path.startswith("/api/models/org/odd"):
            return False
        body = {"id": "org/odd", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
        handler.answer(200, json.dumps(body).encode(), Content_Type="application/json")
        return True

    server.quirk = quirk
    assert expected in code_of("org/odd", biases_only=biases_only)


def test_without_huggingface_hub_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any) -> Any:
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", absent)
    assert "bitfit-probe[hub]" in code_of("org/base")


def test_the_command_honours_the_hubs_variables(server: Server, tmp_path: Path) -> None:
    environment = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "*"}
    done = subprocess.run(
        [sys.executable, "-m", "bitfit_probe", "diff", "org/base", "org/tuned", "--biases-only"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "BitFit" in done.stdout
    assert COMMIT[:10] in done.stdout
    assert server.log


@pytest.mark.parametrize("biases_only", [False, True])
def test_a_model_in_shards(server: Server, tmp_path: Path, biases_only: bool) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a.bias": torch.arange(3.0)}, folder / "part-a.safetensors")
    save_file({"b.bias": torch.arange(4.0)}, folder / "part-b.safetensors")
    save_file({"unused": torch.arange(4.0)}, folder / "part-c.safetensors")
    weight_map = {"a.bias": "part-a.safetensors", "b.bias": "part-b.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    server.models["org/sharded"] = folder
    opened = bp.open_checkpoint("org/sharded", biases_only=biases_only)
    assert opened.tensors["b.bias"].values().tolist() == [0, 1, 2, 3]
    assert opened.format == "safetensors, 2 shards"
    assert not any("part-c" in request.path for request in server.log)
    opened.check_unchanged()
