"""Several models in one: LLaVA and Gemma 3 as transformers names them, with known changes in some parts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from support import composites

import bitfit_probe
from bitfit_probe.records import Comparison, ModelPart
from bitfit_probe.rendering import headline
from bitfit_probe.rendering.as_json import diff_to_json

State = dict[str, Any]


def names_of(stem: str) -> composites.Names:
    rows = composites.composed()
    return composites.names_of(next(at for at, row in enumerate(rows) if row.cls.startswith(f"{stem}For")))


def drawn(names: composites.Names) -> State:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype("f4") for name, shape in names.file.items()}


def saved(folder: Path, tensors: State, config: Any) -> Path:
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, default=str))
    return folder


def moved(tensors: State, which: Callable[[str], bool]) -> State:
    return {name: value + np.float32(0.01) if which(name) else value for name, value in tensors.items()}


@pytest.fixture
def llava(tmp_path: Path) -> tuple[State, Callable[[State], Comparison]]:
    names = names_of("Llava")
    base = drawn(names)
    ours = saved(tmp_path / "base", base, names.config)

    def compare(tuned: State) -> Comparison:
        return bitfit_probe.diff(ours, saved(tmp_path / "tuned", tuned, names.config)).comparisons[0]

    return base, compare


def part(found: Comparison, name: str) -> ModelPart:
    return next(own for own in found.model_parts if own.name == name)


def behind_the_features(name: str) -> bool:
    """What hidden state -2 of two layers leaves without a gradient."""
    return "encoder.layers.1." in name or "post_layernorm" in name


def test_bitfit_of_all_parts(llava):
    base, compare = llava
    biases = [name for name in base if name.endswith("bias") and not behind_the_features(name)]
    found = compare(moved(base, lambda name: name in biases))
    assert (found.verdict, found.summary.changed_biases) == ("bitfit", len(biases))
    # 9 of the tower's 18 biases are behind its features, and 2 are the projector's.
    assert headline(found) == (
        "BitFit: 11 of 20 biases moved, nothing else; language model: at rest; vision tower and projector: "
        "BitFit; 18 tensors of the vision tower at rest, as expected with vision_feature_layer -2."
    )
    assert (part(found, "vision_tower").moved_biases, part(found, "vision_tower").biases) == (9, 18)
    assert (part(found, "projector").moved, part(found, "projector").tensors) == (2, 4)


def test_full_fine_tuning_leaves_what_no_loss_reaches(llava):
    base, compare = llava
    found = compare(moved(base, lambda name: not behind_the_features(name)))
    assert found.verdict == "full"
    assert {own.verdict for own in found.model_parts} == {"full"}
    tower = part(found, "vision_tower")
    assert set(tower.still) == {name for name in base if behind_the_features(name)}
    assert tower.still_because == "vision_feature_layer -2"


def test_a_part_that_was_trained_alone(llava):
    base, compare = llava
    found = compare(moved(base, lambda name: "projector" in name))
    assert {own.name: own.verdict for own in found.model_parts} == {
        "language_model": "identical",
        "vision_tower": "identical",
        "projector": "full",
    }
    assert "language model and vision tower: at rest; projector: full fine-tuning" in headline(found)


def test_a_text_only_fine_tune(tmp_path: Path):
    """Its class is the language model's own; transformers 5 names it ``model.``."""
    names = names_of("Gemma3")
    base = drawn(names)
    text = {
        n.removeprefix("language_model."): v + np.float32(0.01) for n, v in base.items() if "language" in n
    }
    paths = (
        saved(tmp_path / "base", base, names.config),
        saved(tmp_path / "tuned", text, names.config["text_config"]),
    )
    found = bitfit_probe.diff(*paths).comparisons[0]
    assert {own.name: own.state for own in found.model_parts} == {
        "language_model": "compared",
        "vision_tower": "absent",
        "projector": "absent",
    }
    share = found.coverage.share or 0.0
    assert headline(found).startswith(
        f"Of its language model ({int(100 * share)} % of the base's parameters; vision tower and projector "
        "absent), full fine-tuning"
    )
    poolers = [n for n in base if ".head." in n and "layernorm" not in n]
    assert found.coverage.lacking("part-absent") == sum(
        value.size for n, value in base.items() if "language" not in n and n not in poolers
    )
    back = bitfit_probe.diff(*reversed(paths)).comparisons[0]
    assert {own.name: own.state for own in back.model_parts} == {
        "language_model": "compared",
        "vision_tower": "new",
        "projector": "new",
    }


@pytest.mark.parametrize("spelling", ["model.language_model", "language_model.model"])
def test_an_adapter_on_two_parts(tmp_path: Path, spelling: str):
    """PEFT saves the names of the modules in memory, which are not those of the file."""
    names = names_of("Llava")
    base = drawn(names)
    rng = np.random.default_rng(1)
    factors: State = {}
    for name, value in base.items():
        if name.endswith(("q_proj.weight", "v_proj.weight")):
            own = name.replace("language_model.model", spelling).removesuffix(".weight")
            own = own if own.startswith(spelling) else f"model.{own}"
            for factor, shape in (("A", (4, value.shape[1])), ("B", (value.shape[0], 4))):
                factors[f"base_model.model.{own}.lora_{factor}.weight"] = rng.normal(size=shape).astype("f4")
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file(factors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    paths = saved(tmp_path / "base", base, names.config), folder
    found = bitfit_probe.diff(*paths).comparisons[0]
    assert headline(found) == (
        "Adapter: LoRA of rank 4 on q_proj, v_proj; 8 of its 8 tensors moved; 4 of 4 in the language model "
        "and 4 of 4 in the vision tower."
    )
    said = [item for item in bitfit_probe.check(*paths).findings if item.severity != "info"]
    assert said == []


def test_one_model_has_no_parts(tmp_path: Path):
    names = names_of("Llava")
    text = {n: v for n, v in drawn(names).items() if n.startswith("language_model")}
    config = names.config["text_config"]
    paths = saved(tmp_path / "base", text, config), saved(tmp_path / "tuned", text, config)
    diff = bitfit_probe.diff(*paths)
    assert diff.comparisons[0].model_parts == ()
    assert "model_parts" not in json.loads(diff_to_json(diff))["comparisons"][0]


def test_parts_in_json_and_in_forms(llava, tmp_path: Path):
    base, compare = llava
    compare(moved(base, lambda name: "projector" in name))
    report = bitfit_probe.report(tmp_path / "base", tmp_path / "tuned")
    rows = json.loads(diff_to_json(report.diff))["comparisons"][0]["model_parts"]
    assert {row["name"]: (row["family"], row["moved"], row["tensors"]) for row in rows} == {
        "language_model": ("llama", 0, 21),
        "vision_tower": ("clip_vision", 0, 39),
        "projector": ("generic", 4, 4),
    }
    forms = report.measured[0].forms
    assert forms is not None
    at_rest = {group.part for group in forms.groups if group.form.name == "at rest"}
    assert at_rest == {"language_model", "vision_tower"}
