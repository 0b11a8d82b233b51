"""Settings files beside the weights that differ from the base's: modules, prompts, preprocessors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.builders import config_of, move, state, write
from support.checking import run_rules

from bitfit_probe.records import Finding

Files = dict[str, Any]
Broken = Callable[..., list[Finding]]

_MODULES = [
    {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
    for number, (path, kind) in enumerate(
        [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"), ("3_Normalize", "Normalize")]
    )
]
_EMBEDDER: Files = {
    "modules.json": _MODULES,
    "sentence_bert_config.json": {"max_seq_length": 24, "do_lower_case": False},
    "1_Pooling/config.json": {
        "word_embedding_dimension": 32,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
    },
    "2_Dense/config.json": {
        "in_features": 32,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    },
    "config_sentence_transformers.json": {
        "__version__": {"sentence_transformers": "3.0"},
        "prompts": {"query": "ask: ", "document": ""},
        "similarity_fn_name": "cosine",
    },
}
_IMAGES: Files = {
    "preprocessor_config.json": {
        "do_rescale": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "ViTFeatureExtractor",
        "resample": 2,
        "size": {"height": 8, "width": 8},
    }
}
_SPEECH: Files = {"preprocessor_config.json": {"sampling_rate": 16000, "feature_size": 80}}
_JOINT: Files = {
    "processor_config.json": {
        "image_processor": {"image_std": [0.2, 0.2, 0.2]},
        "patch_size": 4,
        "processor_class": "LlavaProcessor",
    }
}


def lay(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    if "modules.json" in files:
        (folder / "2_Dense").mkdir(exist_ok=True)
        save_file({"linear.weight": torch.eye(32)}, folder / "2_Dense" / "model.safetensors")
    return folder


@pytest.fixture
def broken(tmp_path: Path) -> Broken:
    """Findings of BP705 where one file of the tuned side has other settings, or another content."""

    def found(kind: str, files: Files, file: str = "", change: Any = None) -> list[Finding]:
        theirs = dict(files)
        if file:
            theirs[file] = files[file] | change if isinstance(change, dict) else change
        base = lay(write(tmp_path / "base", state(kind), config_of(kind)), files)
        tuned = lay(write(tmp_path / "tuned", move(state(kind), *state(kind)), config_of(kind)), theirs)
        return [item for item in run_rules(base, tuned).findings if item.code == "BP705"]

    return found


@pytest.mark.parametrize(
    ("file", "change", "severity", "says"),
    [
        (
            "1_Pooling/config.json",
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
            "error",
            "promises pooling_mode=mean; found: cls",
        ),
        (
            "2_Dense/config.json",
            {"activation_function": "torch.nn.Identity"},
            "error",
            "=Tanh; found: Identity",
        ),
        ("2_Dense/config.json", {"bias": False}, "error", "bias=true; found: false"),
        ("sentence_bert_config.json", {"max_seq_length": 3}, "warning", "max_seq_length=24; found: 3"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "error", "another case"),
        (
            "config_sentence_transformers.json",
            {"prompts": {"query": "say: "}},
            "warning",
            "prompts.query='ask: '; found: 'say: '",
        ),
        ("config_sentence_transformers.json", {"prompts": {}}, "warning", "prompts.query='ask: '; found: ''"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "dot"}, "warning", "another measure"),
        ("modules.json", [_MODULES[0], *_MODULES[2:]], "error", "found: no Pooling"),
        ("modules.json", _MODULES[:3], "warning", "found: no Normalize"),
        ("modules.json", [*_MODULES[:2], _MODULES[3], _MODULES[2]], "error", "in another order"),
    ],
)
def test_settings_of_an_embedding_model(
    broken: Broken, file: str, change: Any, severity: str, says: str
) -> None:
    (finding,) = broken("distilbert", _EMBEDDER, file, change)
    assert says in finding.message
    assert (finding.severity, len(finding.message) <= 300) == (severity, True)
    assert finding.subjects[0].startswith(file)


@pytest.mark.parametrize(
    ("kind", "files", "file", "change", "severity"),
    [
        ("vit", _IMAGES, "preprocessor_config.json", {"image_mean": [0.0, 0.0, 0.0]}, "error"),
        ("vit", _IMAGES, "preprocessor_config.json", {"do_rescale": False}, "error"),
        ("vit", _IMAGES, "preprocessor_config.json", {"size": {"height": 4, "width": 8}}, "warning"),
        ("vit", _IMAGES, "preprocessor_config.json", {"resample": 3}, "info"),
        ("opt", _SPEECH, "preprocessor_config.json", {"sampling_rate": 8000}, "error"),
        ("llama", _JOINT, "processor_config.json", {"patch_size": 8}, "error"),
    ],
)
def test_settings_of_a_preprocessor(
    broken: Broken, kind: str, files: Files, file: str, change: Files, severity: str
) -> None:
    (finding,) = broken(kind, files, file, change)
    assert (finding.severity, finding.subjects[0].partition(":")[0]) == (severity, file)


def test_a_preprocessor_in_the_one_file_of_version_5(broken: Broken, tmp_path: Path) -> None:
    """Version 4 writes preprocessor_config.json, version 5 the same settings inside processor_config.json."""
    assert broken("vit", _IMAGES) == []
    (tmp_path / "tuned" / "preprocessor_config.json").unlink()
    moved = {"image_processor": _IMAGES["preprocessor_config.json"] | {"do_rescale": False}}
    lay(tmp_path / "tuned", {"processor_config.json": moved})
    found = run_rules(tmp_path / "base", tmp_path / "tuned").findings
    assert [item.subjects for item in found if item.code == "BP705"] == [
        ("preprocessor_config.json: do_rescale",)
    ]


@pytest.mark.parametrize(
    ("kind", "files", "file", "change"),
    [
        ("distilbert", _EMBEDDER, "", None),
        ("distilbert", _EMBEDDER, "2_Dense/config.json", {"activation_function": "torch.nn.Tanh"}),
        (
            "distilbert",
            _EMBEDDER,
            "1_Pooling/config.json",
            {"pooling_mode": "mean", "pooling_mode_mean_tokens": False},
        ),
        (
            "distilbert",
            _EMBEDDER,
            "config_sentence_transformers.json",
            {"__version__": {"sentence_transformers": "5.1"}, "prompts": {"query": "ask: ", "passage": ""}},
        ),
        ("vit", _IMAGES, "preprocessor_config.json", {"image_processor_type": "ViTImageProcessorFast"}),
    ],
)
def test_what_another_version_writes_is_no_difference(
    broken: Broken, kind: str, files: Files, file: str, change: Any
) -> None:
    assert broken(kind, files, file, change) == []


def test_an_unknown_setting_is_named_and_not_judged(broken: Broken, tmp_path: Path) -> None:
    assert broken("vit", _IMAGES, "preprocessor_config.json", {"strange_knob": 1}) == []
    (promises,) = run_rules(tmp_path / "base", tmp_path / "tuned").promises
    assert [item.subjects for item in promises.of("untold")] == [("strange_knob",)]
