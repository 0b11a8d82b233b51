"""BP1xx at their boundaries: names, layouts, partial saves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.builders import config_of, state
from support.builders import write as write_folder
from support.checking import run_rules
from support.reporting import described
from zoo.beds import Run, healthy
from zoo.specimens import write

from bitfit_probe.api.check import explanations
from bitfit_probe.records import Finding
from bitfit_probe.rendering import (
    check_to_json,
    check_to_sarif,
    check_to_text,
    report_to_html,
    report_to_json,
    report_to_markdown,
    report_to_text,
)


def findings(run: Run, folder: Path, code: str, container: str = "folder") -> list[Finding]:
    built = write(run, folder, container)
    return [item for item in run_rules(built.base, *built.tuned).findings if item.code == code]


def values(finding: Finding) -> dict[str, Any]:
    return {item.measure: item.value for item in finding.evidence}


class TestWrapperPrefix:
    def test_counts_the_names_that_carry_it(self, tmp_path: Path) -> None:
        """Only the second block is compiled: 16 of BERT's tensors."""
        run = healthy("bert")
        run.tuned.rename(lambda name: name.replace("layer.1.", "layer.1._orig_mod."))
        (found,) = findings(run, tmp_path, "BP101")

        assert values(found) == {"wrapped_names": 16, "tensors": 41}
        assert found.severity == "error"

    def test_both_sides_from_one_trainer_is_information(self, tmp_path: Path) -> None:
        run = healthy("gpt2", "lm")
        for model in (run.base, run.tuned):
            model.rename(lambda name: f"_orig_mod.{name}")
        (found,) = findings(run, tmp_path, "BP101", "file")

        assert found.severity == "info"

    def test_a_module_that_is_only_called_alike_is_none(self, tmp_path: Path) -> None:
        run = healthy("bert")
        for model in (run.base, run.tuned):
            model.state["module_embedding.weight"] = torch.ones(2, 2)

        assert findings(run, tmp_path, "BP101") == []


class TestForeignPrefix:
    @pytest.mark.parametrize("bed", ["bert", "roberta", "gpt2", "llama"])
    @pytest.mark.parametrize("side", ["base", "tuned"])
    def test_the_body_without_its_attribute_is_what_loaders_expect(
        self, tmp_path: Path, bed: str, side: str
    ) -> None:
        run = healthy(bed, "lm")
        model = run.base if side == "base" else run.tuned
        model.rename(lambda name: name.removeprefix(run.body))

        assert findings(run, tmp_path, "BP102") == []

    def test_a_prefix_that_the_base_has_too_is_none(self, tmp_path: Path) -> None:
        run = healthy("llama", "lm")
        for model in (run.base, run.tuned):
            model.rename(lambda name: f"language_model.{name}")

        assert findings(run, tmp_path, "BP102") == []

    def test_a_prefix_on_the_base_alone_is_none(self, tmp_path: Path) -> None:
        run = healthy("bert")
        run.base.rename(lambda name: f"net.{name}")

        assert findings(run, tmp_path, "BP102") == []

    def test_a_doubled_one_is_a_warning(self, tmp_path: Path) -> None:
        """Transformers 5 repairs model.model., others don't."""
        run = healthy("llama", "lm")
        run.tuned.rename(lambda name: f"model.{name}" if name.startswith("model.") else name)
        (found,) = findings(run, tmp_path, "BP102")

        assert found.severity == "warning"

    @pytest.mark.parametrize("bed", ["bert", "unknown"])
    def test_a_base_inside_a_larger_net_is_none(self, tmp_path: Path, bed: str) -> None:
        """The net has a class of its own, which finds the names."""
        run = healthy("bert")
        if bed == "unknown":
            for model in (run.base, run.tuned):
                model.rename(lambda name: name.replace("encoder", "part").replace("embeddings", "first"))
        run.tuned.rename(lambda name: f"backbone.{name}")
        for number in range(10):
            run.tuned.state[f"branches.{number}.weight"] = torch.ones(2, 2)

        assert findings(run, tmp_path, "BP102") == []

    def test_a_prefix_of_an_unknown_architecture(self, tmp_path: Path) -> None:
        run = healthy("bert")
        run.base.state = {f"tower.{n}.w_{n}": torch.randn(4, 4) for n in range(20)}
        run.tuned.state = {f"student.{n}": t.clone() for n, t in run.base.state.items()}
        run.base.config = run.tuned.config = None
        (found,) = findings(run, tmp_path, "BP102", "file")

        assert "'student.'" in found.message


class TestGammaBeta:
    def test_only_norms_are_meant(self, tmp_path: Path) -> None:
        """A layer scale that is called gamma keeps its name."""
        run = healthy("bert")
        for model in (run.base, run.tuned):
            model.state["bert.encoder.layer.0.layer_scale.gamma"] = torch.ones(32)

        assert findings(run, tmp_path, "BP103") == []

    def test_old_names_in_the_base_alone_are_history(self, tmp_path: Path) -> None:
        run = healthy("bert")
        run.base.rename(lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma"))

        assert findings(run, tmp_path, "BP103") == []


class TestWeightNorm:
    def test_the_change_is_that_of_the_product(self, tmp_path: Path) -> None:
        """G is doubled and v shrunk by 10: the weight g·v/‖v‖ doubled, a relative change of 1."""
        run = healthy("bert")
        name = "bert.encoder.layer.1.intermediate.dense."
        weight = run.base.state.pop(f"{name}weight")
        run.tuned.state.pop(f"{name}weight")
        gain = weight.norm(dim=1, keepdim=True)
        run.base.state |= {f"{name}weight_g": gain, f"{name}weight_v": weight}
        new = f"{name}parametrizations.weight."
        run.tuned.state |= {f"{new}original0": 2 * gain, f"{new}original1": weight / 10}
        (found,) = findings(run, tmp_path, "BP104")

        assert values(found)["relative_change_of_product"] == pytest.approx(1.0, abs=1e-6)

    def test_one_spelling_on_both_sides_is_none(self, tmp_path: Path) -> None:
        run = healthy("bert")
        for model in (run.base, run.tuned):
            weight = model.state.pop("bert.pooler.dense.weight")
            model.state["bert.pooler.dense.weight_g"] = weight.norm(dim=1, keepdim=True)
            model.state["bert.pooler.dense.weight_v"] = weight

        assert findings(run, tmp_path, "BP104") == []


class TestLayout:
    def test_a_converter_to_another_model_type_means_it(self, tmp_path: Path) -> None:
        """LLaMA as Phi-3, which fuses: information, as config.json names the other class."""
        run = healthy("llama", "lm")
        state = run.tuned.state
        for layer in (0, 1):
            names = [f"model.layers.{layer}.self_attn.{part}_proj.weight" for part in "qkv"]
            state[names[0].replace("q_proj", "qkv_proj")] = torch.cat([state.pop(name) for name in names])
        assert run.tuned.config is not None
        run.tuned.config |= {"model_type": "phi3", "architectures": ["Phi3ForCausalLM"]}
        (found,) = findings(run, tmp_path, "BP105")

        assert found.severity == "info"
        assert values(found) == {"fused_tensors": 2}

    def test_the_cosines_of_a_swap(self, tmp_path: Path) -> None:
        run = healthy("llama", "lm")
        gate, up = "mlp.gate_proj", "mlp.up_proj"
        run.tuned.rename(lambda n: n.replace(gate, "#").replace(up, gate).replace("#", up))
        (found,) = findings(run, tmp_path, "BP105")
        name = "model.layers.0.mlp.{}_proj.weight"
        ours, other = (run.base.state[name.format(part)].double().numpy() for part in ("gate", "up"))
        own = np.sum(ours * other) / np.linalg.norm(ours) / np.linalg.norm(other)

        assert values(found)["cosine_with_the_other"] == pytest.approx(1.0)
        assert values(found)["cosine_with_its_own"] == pytest.approx(own, abs=1e-6)


class TestWrongBase:
    @pytest.mark.parametrize(("rows", "expected"), [(60, 0), (59, 1)])
    def test_one_row_less_is_a_trim(self, tmp_path: Path, rows: int, expected: int) -> None:
        run = healthy("gpt2")
        name = "transformer.wte.weight"
        run.tuned.state[name] = run.tuned.state[name][:rows].clone()

        assert len(findings(run, tmp_path, "BP107")) == expected

    def test_training_that_went_far_keeps_its_base(self, tmp_path: Path) -> None:
        """Noise as long as the matrix itself leaves all of the base inside it."""
        run = healthy("bert")
        random = torch.Generator().manual_seed(1)
        for name, tensor in run.tuned.state.items():
            if tensor.ndim == 2:
                run.tuned.state[name] = tensor + tensor.std() * torch.randn(tensor.shape, generator=random)

        assert findings(run, tmp_path, "BP107") == []


class TestPlaceholders:
    def test_a_scalar_of_the_base_is_none(self, tmp_path: Path) -> None:
        run = healthy("bert")
        for model in (run.base, run.tuned):
            model.state["logit_scale"] = torch.ones(1)

        assert findings(run, tmp_path, "BP108") == []

    def test_one_is_enough(self, tmp_path: Path) -> None:
        run = healthy("llama", "lm")
        run.tuned.state["lm_head.weight"] = torch.zeros(0)
        (found,) = findings(run, tmp_path, "BP108")

        assert values(found) == {"placeholders": 1, "tensors": 21}


class TestPartialSave:
    @pytest.mark.parametrize(
        ("keep", "dtype", "expected"),
        [(1.0, torch.float32, 0), (1.0, torch.float16, 0), (0.7, torch.float32, 1)],
    )
    def test_smaller_than_before_but_for_a_cast(
        self, tmp_path: Path, keep: float, dtype: torch.dtype, expected: int
    ) -> None:
        run = healthy("bert", "lm")
        base = run.base.save(tmp_path / "base", "folder")
        run.tuned.save(tmp_path / "checkpoint-10", "folder")
        names = list(run.tuned.state)[: int(keep * len(run.tuned.state))]
        run.tuned.state = {name: run.tuned.state[name].to(dtype) for name in names}
        last = run.tuned.save(tmp_path / "checkpoint-20", "folder")
        found = [item for item in run_rules(base, last).findings if item.code == "BP109"]

        assert len(found) == expected

    def test_nothing_of_the_metadata_is_run(self, tmp_path: Path) -> None:
        """Its pickle would create a file; only names are looked for in its bytes."""
        run = healthy("bert")

        def replace(folder: Path) -> None:
            (folder / "model.safetensors").unlink()
            (folder / "__0_0.distcp").write_bytes(b"")
            code = f"cposix\nsystem\n(S'touch {tmp_path}/run'\ntR.__0_0.distcp __1_0.distcp"
            (folder / ".metadata").write_bytes(code.encode())

        run.tuned.after.append(replace)
        (found,) = findings(run, tmp_path, "BP109")

        assert values(found) == {"absent_files": 1}
        assert not (tmp_path / "run").exists()


class TestMissingShard:
    def test_how_much_is_lost(self, tmp_path: Path) -> None:
        """41 names dealt to three shards: the second one holds 14."""
        run = healthy("bert")
        run.tuned.after.append(lambda folder: (folder / "model-00002-of-00003.safetensors").unlink())
        (found,) = findings(run, tmp_path, "BP110", "shards")

        assert "1 of 3 shards absent, 14 tensors" in found.message


class TestQuantised:
    def test_a_mask_of_whole_numbers_is_none(self, tmp_path: Path) -> None:
        run = healthy("gpt2")
        run.tuned.state["transformer.h.0.attn.bias"] = torch.ones(1, 1, 24, 24, dtype=torch.uint8)

        assert findings(run, tmp_path, "BP111") == []


def test_json_that_is_no_object_is_no_config(tmp_path: Path) -> None:
    """Rules on files read config, tokenizer and index; none may trip over what a file may hold."""
    run = healthy("bert")
    odd: Any = [1, {"id2label": 3}]
    run.tuned.config = {
        "architectures": "BertModel",
        "id2label": [1],
        "label2id": 3,
        "num_labels": "x",
        "pad_token_id": {"a": 1},
        "initializer_range": "small",
        "tie_word_embeddings": "no",
    }
    run.tuned.files |= {
        "tokenizer.json": {"model": {"vocab": odd}, "added_tokens": {"id": 3}, "normalizer": odd},
        "tokenizer_config.json": {"model_max_length": "long", "pad_token": 3, "added_tokens_decoder": odd},
        "generation_config.json": odd,
        "adapter_config.json": {"target_modules": 3},
        "trainer_state.json": {"log_history": {"loss": 1}},
    }
    built = write(run, tmp_path, "folder")

    assert json.loads((built.tuned[0] / "config.json").read_text())["num_labels"] == "x"
    run_rules(built.base, *built.tuned)


class TestPartlyCompared:
    def test_the_share_and_the_reason(self, tmp_path: Path) -> None:
        """The second of two layers is absent: its parameters of all outside head and pooler."""
        run = healthy("bert")
        run.tuned.drop(lambda name: ".1." in name)
        (found,) = findings(run, tmp_path, "BP114")
        body = {
            n: t.numel() for n, t in run.base.state.items() if not n.startswith("cls.") and "pooler" not in n
        }
        lost = sum(size for name, size in body.items() if ".1." in name)

        assert found.severity == "error"
        assert values(found) == {
            "compared_share_of_base": pytest.approx(1 - lost / sum(body.values())),
            "not_compared": lost,
        }
        assert found.evidence[1].about == "layer-absent"

    def test_the_base_inside_a_larger_model_is_none(self, tmp_path: Path) -> None:
        run = healthy("bert", "lm")
        run.tuned.rename(lambda name: f"text_model.{name}")
        run.tuned.state["vision_model.patches.weight"] = torch.ones(300, 300)

        assert findings(run, tmp_path, "BP114") == []

    def test_a_vocabulary_that_was_cut_is_said_elsewhere(self, tmp_path: Path) -> None:
        run = healthy("bert")
        name = "bert.embeddings.word_embeddings.weight"
        run.tuned.state[name] = run.tuned.state[name][:12].clone()
        built = write(run, tmp_path, "folder")
        found = run_rules(built.base, *built.tuned)

        assert not found.scopes[0].coverage.enough
        assert {"BP107", "BP114"} & {item.code for item in found.findings} == {"BP107"}

    @pytest.mark.parametrize(("named", "severity"), [("T5EncoderModel", "info"), (None, "error")])
    def test_an_encoder_whose_class_has_no_decoder_is_a_note(
        self, tmp_path: Path, named: str | None, severity: str
    ) -> None:
        base = state("t5")
        tuned = {name: t for name, t in base.items() if not name.startswith(("decoder", "lm_head"))}
        config = config_of("t5", architectures=["T5ForConditionalGeneration"])
        write_folder(tmp_path / "base", base, config)
        write_folder(tmp_path / "tuned", tuned, config | ({"architectures": [named]} if named else {}))
        found = run_rules(tmp_path / "base", tmp_path / "tuned").findings

        assert [item.severity for item in found if item.code == "BP114"] == [severity]

    def test_an_adapter_and_a_file_of_biases_leave_the_rest_to_the_base(self, tmp_path: Path) -> None:
        run = healthy("bert")
        run.tuned.state = {name: t for name, t in run.tuned.state.items() if name.endswith("bias")}

        assert findings(run, tmp_path, "BP114") == []


class TestContainersDiffer:
    def beside(self, run: Run, other: dict[str, torch.Tensor], name: str = "pytorch_model.bin") -> Run:
        run.tuned.after.append(lambda folder: torch.save(other, folder / name))
        return run

    def test_counts_what_differs(self, tmp_path: Path) -> None:
        """One tensor moved, one is in the read file only."""
        run = healthy("bert")
        other = dict(run.tuned.state)
        name = "bert.encoder.layer.0.output.dense.weight"
        other[name] = other[name] + 1
        other.pop("bert.pooler.dense.bias")
        (found,) = findings(self.beside(run, other), tmp_path, "BP115")

        assert found.severity == "warning"
        assert values(found) == {
            "differing_tensors": 1,
            "compared_tensors": len(other),
            "tensors_in_one_only": 1,
        }

    def test_a_stale_base_hides_what_was_trained(self, tmp_path: Path) -> None:
        run = healthy("bert", "lm")
        trained = dict(run.tuned.state)
        run.tuned.state = dict(run.base.state)
        (found,) = findings(self.beside(run, trained), tmp_path, "BP115")

        assert found.severity == "error"

    def test_the_base_left_beside_what_was_trained_is_a_warning(self, tmp_path: Path) -> None:
        run = healthy("bert", "lm")
        (found,) = findings(self.beside(run, dict(run.base.state)), tmp_path, "BP115")

        assert found.severity == "warning"

    def test_a_file_that_is_no_checkpoint_is_none(self, tmp_path: Path) -> None:
        run = healthy("bert")

        def add(folder: Path) -> None:
            (folder / "pytorch_model.bin").write_bytes(b"gone")

        run.tuned.after.append(add)

        assert findings(run, tmp_path, "BP115") == []


def test_what_was_not_read_is_named_in_every_output(tmp_path: Path) -> None:
    """A stale shard, an adapter's folder and another framework's weights, but no optimizer state."""
    run = healthy("bert")

    def add(folder: Path) -> None:
        (folder / "lora_adapter").mkdir()
        for name in ("lora_adapter/adapter_model.safetensors", "old.pt", "tf_model.h5", "optimizer.pt"):
            (folder / name).write_bytes(b"x")

    run.tuned.after.append(add)
    built = write(run, tmp_path, "folder")
    found = run_rules(built.base, *built.tuned)
    unread = ("lora_adapter/", "old.pt", "tf_model.h5")

    assert found.scopes[0].unread == unread
    sarif = check_to_sarif(found, explanations(), version="0")
    for text in (check_to_text(found), check_to_json(found), sarif):
        assert all(name in text for name in unread)
        assert "optimizer.pt" not in text
    report = described(built.base, *built.tuned)
    pages = report_to_markdown(report), report_to_html(report)
    for text in (report_to_text(report), report_to_json(report), *pages):
        assert all(name in text.replace("\\", "") for name in unread)
