"""Models from files hold the weights that transformers itself loads, and no pickle runs on the way."""

from __future__ import annotations

import json
import pickle
import zipfile

import pytest
import torch
import transformers
from support.builders import MODELS, cast, config_of, model, state, write

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import ModelError, UnsafeError
from bitfit_probe.inference import load_model, to_torch

PURPOSES = {
    "bert": "classify",
    "roberta": "classify",
    "distilbert": "classify",
    "bert-mlm": "masked-lm",
    "bert-bare": "features",
    "gpt2": "causal-lm",
    "llama": "causal-lm",
    "opt": "causal-lm",
}
AUTO = {
    "classify": transformers.AutoModelForSequenceClassification,
    "masked-lm": transformers.AutoModelForMaskedLM,
    "features": transformers.AutoModel,
    "causal-lm": transformers.AutoModelForCausalLM,
}


def saved(folder, kind, **changes):
    """A model directory as transformers writes it."""
    model(kind).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config_of(kind, **changes)))
    return folder


def assert_same(ours, theirs):
    left, right = ours.state_dict(), theirs.state_dict()
    assert left.keys() == right.keys()
    for name, values in right.items():
        assert left[name].dtype == values.dtype, name
        assert torch.equal(left[name], values), name


@pytest.mark.parametrize("kind", PURPOSES)
def test_weights_are_those_that_transformers_loads(tmp_path, kind):
    folder = saved(tmp_path / kind, kind)
    loaded = load_model(folder, purpose=PURPOSES[kind])
    assert (loaded.missing, loaded.unexpected) == ((), ())
    assert not loaded.model.training
    assert_same(loaded.model, AUTO[PURPOSES[kind]].from_pretrained(folder, dtype=torch.float32))


@pytest.mark.parametrize("name", ["m.safetensors", "m.pt", "m.legacy", "m.index.json"])
def test_every_container_holds_the_same_model(tmp_path, name):
    path = write(tmp_path / name, state("bert"))
    (tmp_path / "config.json").write_text(json.dumps(config_of("bert")))
    assert_same(load_model(path).model, model("bert"))
    assert_same(load_model(open_checkpoint(path)).model, model("bert"))


def test_the_answers_are_those_of_the_model_that_was_saved(tmp_path):
    ids = torch.arange(5, 15).reshape(2, 5)
    with torch.no_grad():
        ours = load_model(saved(tmp_path / "m", "bert")).model(ids).logits
        assert torch.equal(ours, model("bert")(ids).logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_element_types_are_widened_to_float32(tmp_path, dtype):
    stored = cast(state("bert"), dtype)
    folder = write(tmp_path / "m", stored, config_of("bert"))
    loaded = load_model(folder).model.state_dict()
    for name, values in stored.items():
        assert loaded[name].dtype == torch.float32 or not values.is_floating_point()
        assert torch.equal(loaded[name], values.to(loaded[name].dtype)), name


@pytest.mark.parametrize(
    "values",
    [
        torch.tensor(3.5, dtype=torch.bfloat16),
        torch.arange(6, dtype=torch.int64).reshape(2, 3),
        torch.empty(0, 4),
        torch.tensor([[True, False]]),
        torch.tensor([0.5, -448.0]).to(torch.float8_e4m3fn),
    ],
)
def test_to_torch_keeps_type_shape_and_bits(tmp_path, values):
    path = write(tmp_path / "x.safetensors", {"x": values})
    found = to_torch(open_checkpoint(path).tensors["x"])
    assert (found.dtype, found.shape) == (values.dtype, values.shape)
    assert torch.equal(found.reshape(-1).view(torch.uint8), values.reshape(-1).view(torch.uint8))


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return exec, (f"open({str(marker)!r}, 'w')",)

    saved(tmp_path / "m", "bert")
    (tmp_path / "m" / "model.safetensors").unlink()
    with zipfile.ZipFile(tmp_path / "m" / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"classifier.weight": Trap()}))
    with pytest.raises(UnsafeError):
        load_model(tmp_path / "m")
    assert not marker.exists()


def test_names_that_are_missing_and_unexpected_are_told(tmp_path):
    tensors = state("bert") | {"extra.weight": torch.ones(3)}
    head = [name for name in tensors if name.startswith("classifier")]
    for name in head:
        del tensors[name]
    loaded = load_model(write(tmp_path / "m", tensors, config_of("bert")))
    assert loaded.missing == tuple(sorted(head))
    assert loaded.unexpected == ("extra.weight",)


def test_a_bare_encoder_gets_a_new_head_of_the_size_asked_for(tmp_path):
    folder = saved(tmp_path / "m", "bert-bare")
    loaded = load_model(folder, num_labels=6)
    assert loaded.missing == ("classifier.bias", "classifier.weight")
    assert loaded.model.config.num_labels == len(loaded.model.config.id2label) == 6
    assert loaded.model.classifier.weight.shape == (6, 32)
    assert torch.equal(
        loaded.model.bert.embeddings.word_embeddings.weight, model("bert-bare").get_input_embeddings().weight
    )


def test_a_config_without_model_type_is_told_by_the_names(tmp_path):
    folder = saved(tmp_path / "m", "bert")
    config = config_of("bert")
    del config["model_type"], config["architectures"]
    (folder / "config.json").write_text(json.dumps(config))
    assert_same(load_model(folder).model, model("bert"))


def test_the_config_may_lie_elsewhere(tmp_path):
    path = (
        write(tmp_path / "weights" / "m.pt", state("bert"))
        if (tmp_path / "weights").mkdir() is None
        else None
    )
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_model(path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.json").write_text(json.dumps(config_of("bert")))
    assert_same(load_model(path, config=tmp_path / "home").model, model("bert"))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model_type": "no-such-model"}, "does not know the model type"),
        ({"hidden_size": 64}, "does not load as"),
        ({"num_hidden_layers": "two"}, "sets num_hidden_layers to 'two'"),
        ({"model_type": "t5"}, "none of a t5"),
        ({"model_type": "vit"}, "does not load as"),
    ],
)
def test_a_config_that_does_not_fit_is_an_error(tmp_path, changes, why):
    folder = write(tmp_path / "m", state("bert"), config_of("bert", **changes))
    with pytest.raises(ModelError, match=why) as caught:
        load_model(folder, purpose="masked-lm")
    assert caught.value.code == "BE500"


def test_nothing_is_printed(tmp_path, capfd):
    """Not even where num_labels and the names of the classes contradict each other."""
    tensors = state("bert")
    tensors["classifier.weight"], tensors["classifier.bias"] = torch.ones(5, 32), torch.zeros(5)
    config = config_of("bert", id2label={"0": "LABEL_0", "1": "LABEL_1"}) | {"num_labels": 5}
    loaded = load_model(write(tmp_path / "m", tensors, config))
    assert loaded.model.config.num_labels == 5
    assert capfd.readouterr() == ("", "")


def test_every_kind_of_the_builders_is_read():
    assert set(MODELS) - set(PURPOSES) == {"t5", "vit"}  # neither reads text through one of the purposes
