"""No model and no tokenizer opens a connection, uses a token, or imports what a checkpoint names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.builders import config_of, state, write
from support.texts import write_rows, write_tokenizer

from bitfit_probe import sample

SWEEP = Path(__file__).with_name("sweep.py")
BACKBONE = {
    "model_type": "dpt",
    "backbone": "evil/backbone",
    "use_pretrained_backbone": True,
    "use_timm_backbone": False,
}
CODE = {"AutoConfig": "modeling_evil.Evil", "AutoModel": "modeling_evil.Evil", "AutoTokenizer": ["t.T", None]}


@pytest.fixture
def server():
    """A Hub on loopback that counts what it is asked, by path and authorization."""
    asked: list[tuple[str, str]] = []

    class Counting(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append((self.path, self.headers.get("Authorization", "")))
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = do_POST = do_CONNECT = answer  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        running.asked = asked
        yield running
        running.shutdown()


def swept(server, folder: Path, *args: str) -> dict:
    """What the sweep tells, after its control alone has reached the server."""
    address = f"http://127.0.0.1:{server.server_address[1]}"
    hidden = (
        "NO_PROXY",
        "no_proxy",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    )
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    env |= dict.fromkeys(proxies, address) | {"HF_ENDPOINT": address, "HF_TOKEN": "hf_secret"}
    env |= {"HF_HOME": str(folder.parent / "hf"), "OMP_NUM_THREADS": "1"}
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, str(SWEEP), *args], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["tried"] == []
    # The watch and the server do see a request that is meant, with the token: offline ends with the work.
    assert found["control"] > 0
    meant = [(path, token) for path, token in server.asked if not path.endswith("/api/agent-harnesses")]
    assert meant
    assert all("/evil/control/" in path and token == "Bearer hf_secret" for path, token in meant)
    return found


def trapped(folder: Path) -> Path:
    """Python files that configs name, and that leave a mark when they are imported."""
    for name in ("modeling_evil.py", "configuration_evil.py", "t.py", "evil.py", "tokenization_evil.py"):
        (folder / name).write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Evil: pass\nT = Evil\n")
    return folder / "ran"


@pytest.mark.slow
def test_no_value_of_any_config_class_reaches_the_network(tmp_path, server):
    """Every text-valued setting of every class, every part that is a model, every way to name a kernel."""
    folder = write(tmp_path / "m", state("bert"), config_of("bert"))
    write_tokenizer(folder)
    mark = trapped(folder)
    found = swept(server, folder, "configs", str(folder))
    ends = found["ends"]
    assert len(ends) >= 1200
    assert not mark.exists()
    bad = {name: end for name, end in ends.items() if end != "loaded" and not end.startswith("BE500")}
    assert bad == {}
    assert all("\n" not in end for end in ends.values())
    # What is only left out keeps no model from loading: attention and element type are ours to choose.
    for name in (
        "attn_implementation",
        "_attn_implementation",
        "auto_map",
        "dtype",
        "kernel_config",
        "_name_or_path",
    ):
        assert ends[f"load_model {name}"] == "loaded", name
    for name in ("backbone", "backbone_config", "quantization_config", "vision_config"):
        assert ends[f"load_model {name}"].startswith("BE500"), name


def examples(folder: Path) -> Path:
    texts = [
        (f"{'where who' if label else 'what'} is number {n} ?", "ab"[label])
        for n in range(20)
        for label in (0, 1)
    ]
    return write_rows(folder / "d.csv", texts)


def hostile(folder: Path, source: Path, config: dict, tokenizer: dict) -> Path:
    """A copy of a sample whose files name kernels, backbones and code."""
    shutil.copytree(source, folder)
    for name, change in (("config.json", config), ("tokenizer_config.json", tokenizer)):
        path = folder / name
        path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | change))
    trapped(folder)
    return folder


KERNEL = {"attn_implementation": "evil/kernel", "_attn_implementation": "flash_attention_2", "auto_map": CODE}


@pytest.mark.slow
@pytest.mark.parametrize("config", [BACKBONE, KERNEL], ids=["backbone", "kernel"])
def test_no_command_reaches_the_network(tmp_path, server, config):
    """The sample with a config that names a backbone (is refused) or a kernel and code (are left out)."""
    told = {"auto_map": CODE, "tokenizer_file": "http://evil/x", "name_or_path": "evil/tokenizer"}
    base = hostile(tmp_path / "base", sample.base_path(), config, told)
    tuned = hostile(tmp_path / "tuned", sample.tuned_path(), config, told)
    data = str(examples(tmp_path))
    both, one = [str(base), str(tuned)], [str(base), "--data", data, "--quiet"]
    lines = [
        ["check", *both, "--data", data, "--fail-on", "never"],
        ["diff", *both, "--data", data],
        ["report", *both, "--data", data, "--no-spectra", "-o", str(tmp_path / "r.html")],
        ["distance", *one, "--no-reference"],
        ["distance", *one, "--no-reach", "--examples", "20"],
        ["recommend", *one],
        ["recommend", *one, "--trial", "0.05"],
        ["tune", *one, "-o", str(tmp_path / "o"), "--epochs", "1"],
        ["tune", *one, "-o", str(tmp_path / "l"), "--epochs", "1", "--method", "lora"],
    ]
    found = swept(server, base, "commands", *map(json.dumps, lines))
    assert not list(tmp_path.rglob("ran"))
    for command in found["commands"]:
        assert command["code"] in (0, 1, 2), command
        assert "Traceback" not in command["err"], command
        if command["code"] == 2:
            assert command["err"].startswith("error BE") or "\nerror BE" in command["err"], command
    codes = {command["args"][0]: command["code"] for command in found["commands"]}
    if config is KERNEL:
        assert codes["tune"] == codes["distance"] == codes["check"] == 0
    else:
        assert codes["tune"] == codes["distance"] == 2
