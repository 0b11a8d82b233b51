"""Run by test_offline.py as a process of its own: load hostile models, and tell what was tried on the way.

``sweep.py configs FOLDER`` loads the tiny BERT in FOLDER under every altered config.json; ``sweep.py commands
FOLDER …`` runs the command line, a command a JSON list. What comes out is one JSON object on stdout.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: What was asked of the network, by address or by name, below every HTTP library.
TRIED: list[str] = []
_EVENTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")


def watch(event: str, args: tuple[Any, ...]) -> None:
    if event in _EVENTS:
        TRIED.append(f"{event} {args[-1] if event == 'socket.connect' else args[:1]}")


sys.addaudithook(watch)

#: Settings that name something, whatever the class; each goes into the model's own config and into others.
NAMING: dict[str, Any] = {
    "_attn_implementation": "evil/kernel",
    "_attn_implementation_internal": "evil/kernel",
    "_auto_class": "evil.Evil",
    "_commit_hash": "evil",
    "_experts_implementation": "evil/kernel",
    "_experts_implementation_internal": "evil/kernel",
    "_name_or_path": "evil/model",
    "adapter_config": {"base_model_name_or_path": "evil/model"},
    "attn_implementation": "evil/kernel",
    "auto_map": {"AutoConfig": "evil/code--modeling_evil.Evil", "AutoModel": "modeling_evil.Evil"},
    "backbone": "evil/backbone",
    "backbone_config": {
        "model_type": "timm_backbone",
        "backbone": "resnet18",
        "use_pretrained_backbone": True,
    },
    "backbone_kwargs": {"pretrained": True, "out_indices": [1]},
    "base_model_name_or_path": "evil/model",
    "custom_pipelines": {"evil": {"impl": "modeling_evil.Evil", "pt": ["AutoModel"]}},
    "distributed_config": {"tp_plan": "auto"},
    "dtype": "evil/dtype",
    "experts_implementation": "evil/kernel",
    "extra_files": ["evil.bin"],
    "fusion_config": {"evil": True},
    "generation_config": {"custom_generate": "evil/code"},
    "gguf_file": "evil.gguf",
    "kernel_config": {"RMSNorm": "evil/kernel:RMSNorm"},
    "name_or_path": "evil/model",
    "pretrained_model_name_or_path": "evil/model",
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "rope_parameters": {"rope_type": "evil/rope"},
    "sub_configs_defaults": {"evil": "evil/config"},
    "text_config": {
        "model_type": "bert",
        "attn_implementation": "evil/kernel",
        "_name_or_path": "evil/model",
    },
    "timm_backbone": "evil/backbone",
    "tokenizer_class": "evil.Evil",
    "torch_dtype": "evil/dtype",
    "transformers_weights": "evil/weights.safetensors",
    "use_kernels": True,
    "vision_config": {
        "model_type": "timm_wrapper",
        "architecture": "resnet18",
        "model_args": {"pretrained": True},
    },
}
_ATTENTIONS = (
    "flash_attention_2",
    "flash_attention_3",
    "flex_attention",
    "paged|evil/kernel",
    "evil/kernel@main:f",
)


def altered() -> Iterator[tuple[str, dict[str, Any]]]:
    """Changes of config.json, each with what it tries."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES

    for key, value in NAMING.items():
        yield key, {key: value}
    for name in _ATTENTIONS:
        yield f"attention {name}", {"attn_implementation": name, "_attn_implementation": name}
    backbone = {"backbone": "evil/backbone", "use_pretrained_backbone": True, "use_timm_backbone": False}
    timm = backbone | {"backbone": "resnet18", "use_timm_backbone": True}
    seen: set[str] = set()
    for kind in CONFIG_MAPPING_NAMES:
        cls = CONFIG_MAPPING[kind]
        fields = [field for field in dataclasses.fields(cls) if "str" in str(field.type)]
        for field in fields:
            if field.name not in seen:
                seen.add(field.name)
                yield f"{kind}.{field.name}", {"model_type": kind, field.name: f"evil/{field.name}"}
        if "backbone_config" in cls.sub_configs_defaults:
            yield f"{kind}: backbone", {"model_type": kind, **backbone}
            yield f"{kind}: timm", {"model_type": kind, **timm}
        for part in cls.sub_configs_defaults:
            inner = {"attn_implementation": "evil/kernel", "_name_or_path": "evil/model", **backbone}
            yield f"{kind}.{part}", {"model_type": kind, part: inner}
        quiet = {key: NAMING[key] for key in NAMING if key.startswith("_") or "attn" in key or "path" in key}
        yield f"{kind}: names", {"model_type": kind, "auto_map": NAMING["auto_map"], **quiet}


def configs(folder: Path) -> dict[str, Any]:
    """Load the model and its tokenizer under every change; count how each ended."""
    from bitfit_probe.errors import BitfitProbeError
    from bitfit_probe.inference import load_model, load_tokenizer

    own = json.loads((folder / "config.json").read_text())
    ends: dict[str, str] = {}
    for name, change in altered():
        (folder / "config.json").write_text(json.dumps(own | change))
        for load in (load_model, load_tokenizer):
            ends[f"{load.__name__} {name}"] = "loaded"
            try:
                load(folder)
            except BitfitProbeError as error:
                ends[f"{load.__name__} {name}"] = f"{error.code} {error}"
            except Exception as error:
                ends[f"{load.__name__} {name}"] = f"crashed: {type(error).__name__} {error}"
    (folder / "config.json").write_text(json.dumps(own))
    return {"ends": ends}


def commands(lines: list[str]) -> dict[str, Any]:
    """Run commands in this process, each a JSON list of arguments."""
    from bitfit_probe.cli import main

    out = []
    for line in lines:
        told, printed = io.StringIO(), io.StringIO()
        code: Any = None
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(printed):
            try:
                main(json.loads(line))
            except SystemExit as end:
                code = end.code
        out.append(
            {"args": json.loads(line), "code": code, "err": told.getvalue(), "out": printed.getvalue()}
        )
    return {"commands": out}


def control() -> int:
    """How much of the network a request that is meant takes: the watch sees it, and the server does."""
    from huggingface_hub import hf_hub_download

    before = len(TRIED)
    with contextlib.suppress(Exception):
        hf_hub_download("evil/control", "config.json")
    return len(TRIED) - before


def main() -> None:
    found = configs(Path(sys.argv[2])) if sys.argv[1] == "configs" else commands(sys.argv[2:])
    tried = list(TRIED)
    print(json.dumps(found | {"tried": tried, "control": control()}))


if __name__ == "__main__":
    main()
