"""Patches: bit for bit on the right base, refused on others, and where one bit is not as written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.builders import biases, copied, model, move, state, write

import bitfit_probe as bp
from bitfit_probe.errors import (
    AlignmentError,
    DamagedPatchError,
    NotBiasOnlyError,
    NotFoundError,
    OutputError,
    OverwriteError,
    PatchError,
    WrongBaseError,
)

HEAD = ("classifier.weight", "classifier.bias")
#: The patch is read only, and the machine may be busy.
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def bare(source):
    """As a bare encoder is saved: without the prefix, without the head."""
    return {name.removeprefix("bert."): tensor for name, tensor in source.items() if name not in HEAD}


@pytest.fixture
def base(tmp_path):
    return write(tmp_path / "base", bare(state("bert")), model("bert").config.to_dict())


@pytest.fixture
def tuned(tmp_path):
    moved = move(state("bert"), *biases(state("bert")), *HEAD)
    moved["classifier.weight"], moved["classifier.bias"] = torch.randn(5, 32), torch.randn(5)
    config = model("bert").config.to_dict() | {"id2label": {str(i): f"c{i}" for i in range(5)}}
    return write(tmp_path / "tuned", moved, config)


@pytest.fixture
def patch(base, tuned, tmp_path):
    return bp.extract_patch(base, tuned, tmp_path / "patch.safetensors").path


def test_a_patch_holds_what_moved_and_nothing_else(base, tuned, patch):
    held = load_file(patch)
    assert held.keys() == {*biases(state("bert")), *HEAD}
    for name, tensor in held.items():
        assert torch.equal(tensor, load_file(tuned / "model.safetensors")[name])
    opened = bp.open_patch(patch)
    assert opened.manifest.roles["m2"] == 2 * 48
    assert opened.manifest.roles["head"] == 5 * 32 + 5


def test_applied_it_is_the_tuned_model_bit_for_bit(base, tuned, patch, tmp_path):
    bp.apply_patch(base, patch, tmp_path / "again")
    # Not only the values: the file is the one that safetensors itself wrote.
    whole = save_file(load_file(tuned / "model.safetensors"), tmp_path / "same.safetensors", {"format": "pt"})
    assert whole is None
    assert (tmp_path / "again/model.safetensors").read_bytes() == (tmp_path / "same.safetensors").read_bytes()
    config = json.loads((tmp_path / "again/config.json").read_text())
    assert config == json.loads((tuned / "config.json").read_text())
    assert bp.diff(tuned, tmp_path / "again").comparisons[0].verdict == "identical"


def test_a_file_of_weights_alone_where_the_name_says_so(base, tuned, patch, tmp_path):
    bp.apply_patch(base, patch, tmp_path / "again.safetensors")
    again = load_file(tmp_path / "again.safetensors")
    for name, tensor in load_file(tuned / "model.safetensors").items():
        assert torch.equal(again[name], tensor)


@pytest.mark.parametrize("ending", [".pt", ".index.json"])
def test_the_container_of_either_side_does_not_matter(base, tuned, patch, tmp_path, ending):
    other = tmp_path / "other"
    other.mkdir()
    source = write(other / f"base{ending}", load_file(base / "model.safetensors"))
    bp.apply_patch(source, patch, tmp_path / "again.safetensors")
    whole = write(other / f"tuned{ending}", load_file(tuned / "model.safetensors"))
    bp.extract_patch(base, whole, tmp_path / "second.safetensors")
    assert load_file(tmp_path / "second.safetensors").keys() == load_file(patch).keys()


def test_a_wrong_base_is_refused_by_name(base, patch, tmp_path):
    other = bare(state("bert"))
    other["embeddings.word_embeddings.weight"] = other["embeddings.word_embeddings.weight"].clone()
    other["embeddings.word_embeddings.weight"][7, 7] += 1
    wrong = write(tmp_path / "wrong", other)
    for act in (bp.verify_patch, lambda *both: bp.apply_patch(*both, tmp_path / "never")):
        with pytest.raises(WrongBaseError, match=r"1 differ \(embeddings.word_embeddings.weight\)") as caught:
            act(wrong, patch)
    assert caught.value.code == "BE601"
    assert not (tmp_path / "never").exists()
    del other["pooler.dense.bias"]
    with pytest.raises(WrongBaseError, match=r"1 are absent \(pooler.dense.bias\)"):
        bp.verify_patch(write(tmp_path / "less", other), patch)
    assert bp.verify_patch(base, patch).path == patch


def test_a_base_of_another_type_is_another_base(base, patch, tmp_path):
    half = {name: tensor.to(torch.bfloat16) for name, tensor in bare(state("bert")).items()}
    with pytest.raises(WrongBaseError):
        bp.verify_patch(write(tmp_path / "half", half), patch)


@settings(max_examples=150, deadline=None, suppress_health_check=SHARED)
@given(st.data())
def test_any_flipped_bit_is_refused(patch, tmp_path, data):
    raw = bytearray(patch.read_bytes())
    at = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[at // 8] ^= 1 << at % 8
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(raw)
    with pytest.raises(DamagedPatchError):
        bp.open_patch(broken)


@settings(max_examples=60, deadline=None, suppress_health_check=SHARED)
@given(st.data())
def test_a_cut_or_lengthened_patch_is_refused(patch, tmp_path, data):
    raw = patch.read_bytes()
    end = data.draw(st.integers(0, len(raw) - 1))
    broken = tmp_path / "broken.safetensors"
    for content in (raw[:end], raw + b"\0"):
        broken.write_bytes(content)
        with pytest.raises(DamagedPatchError):
            bp.open_patch(broken)


def test_what_is_no_patch_is_refused(base, tmp_path):
    with pytest.raises(DamagedPatchError, match="is no patch"):
        bp.open_patch(base / "model.safetensors")
    with pytest.raises(NotFoundError):
        bp.open_patch(tmp_path / "absent")


def test_a_format_of_the_future_is_refused_as_such(patch, tmp_path):
    import hashlib

    with safe_open(patch, "pt") as opened:
        metadata = opened.metadata()
    text = metadata["bitfit_probe.patch"].replace('"format_version":1', '"format_version":2')
    metadata |= {"bitfit_probe.patch": text, "bitfit_probe.sha256": hashlib.sha256(text.encode()).hexdigest()}
    save_file(load_file(patch), tmp_path / "later.safetensors", metadata)
    with pytest.raises(DamagedPatchError, match="later version"):
        bp.open_patch(tmp_path / "later.safetensors")


def test_matrices_are_refused_unless_they_are_allowed(base, tuned, tmp_path):
    weights = load_file(tuned / "model.safetensors")
    name = "bert.encoder.layer.1.intermediate.dense.weight"
    more = write(tmp_path / "more", move(weights, name))
    out = tmp_path / "patch.safetensors"
    with pytest.raises(NotBiasOnlyError, match=r"1 matrices.*layer\.1\.intermediate") as caught:
        bp.extract_patch(base, more, out)
    assert caught.value.code == "BE603"
    assert not out.exists()
    assert name in bp.extract_patch(base, more, out, allow_matrices=True).tensors
    half = write(tmp_path / "half", {key: tensor.to(torch.bfloat16) for key, tensor in weights.items()})
    with pytest.raises(NotBiasOnlyError, match="float32 and the tuned one bfloat16"):
        bp.extract_patch(base, half, tmp_path / "other.safetensors")


def test_strangers_are_refused(base, tmp_path):
    with pytest.raises(AlignmentError):
        bp.extract_patch(base, write(tmp_path / "gpt2", state("gpt2")), tmp_path / "patch.safetensors")


def test_a_fused_bias_and_a_tied_head(tmp_path):
    before = state("gpt2")
    base = write(tmp_path / "base", before)
    tuned = write(tmp_path / "tuned", move(before, "transformer.h.0.attn.c_attn.bias"))
    patch = bp.extract_patch(base, tuned, tmp_path / "patch.safetensors")
    assert patch.manifest.roles == {"q": 32, "k": 32, "v": 32}
    bp.apply_patch(base, patch.path, tmp_path / "again.safetensors")
    assert bp.diff(tuned, tmp_path / "again.safetensors").comparisons[0].verdict == "identical"


def test_inputs_and_what_is_there_are_not_overwritten(base, tuned, patch, tmp_path):
    with pytest.raises(OverwriteError):
        bp.extract_patch(base, tuned, tuned / "model.safetensors")
    with pytest.raises(OverwriteError):
        bp.apply_patch(base, patch, tuned)
    with pytest.raises(OverwriteError):
        bp.apply_patch(base, patch, base / "model.safetensors")
    with pytest.raises(OverwriteError):
        bp.apply_patch(base, patch, patch)
    with pytest.raises(OutputError):
        bp.extract_patch(base, tuned, tmp_path)


def test_neither_torch_nor_safetensors_is_imported(base, tuned, patch, tmp_path):
    code = (
        "import sys, bitfit_probe as bp\n"
        f"bp.extract_patch({str(base)!r}, {str(tuned)!r}, {str(tmp_path / 'p.safetensors')!r})\n"
        f"bp.apply_patch({str(base)!r}, {str(patch)!r}, {str(tmp_path / 'again')!r})\n"
        f"bp.verify_patch({str(base)!r}, {str(patch)!r})\n"
        "print(sorted({'torch', 'safetensors', 'transformers', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def live(labels=2):
    torch.manual_seed(1)
    from transformers import BertForSequenceClassification

    tiny = model("bert")
    fresh = BertForSequenceClassification(
        type(tiny.config)(**(tiny.config.to_dict() | {"num_labels": labels}))
    )
    fresh.bert.load_state_dict(tiny.bert.state_dict())
    return fresh.eval()


def logits(network):
    with torch.no_grad():
        return network(input_ids=torch.arange(4, 24).reshape(2, 10)).logits


def test_patches_are_swapped_in_and_out_of_one_live_base(base, tuned, patch, tmp_path):
    from transformers import AutoModelForSequenceClassification

    moved = move(state("bert"), "bert.pooler.dense.bias", by=0.5)
    second = write(tmp_path / "second", moved, model("bert").config.to_dict())
    other = bp.extract_patch(base, second, tmp_path / "second.safetensors")
    network = live()
    before, start = copied(network.state_dict()), logits(network)
    objects = dict(network.named_parameters())
    for part, folder in ((patch, tuned), (other, second), (bp.open_patch(patch), tuned)):
        whole = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        with bp.patched(network, part) as swapped:
            assert torch.equal(logits(swapped), logits(whole))
            assert swapped.config.num_labels == whole.config.num_labels
        assert torch.equal(logits(network), start)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert {name: id(p) for name, p in network.named_parameters()} == {n: id(p) for n, p in objects.items()}
    assert network.config.num_labels == 2


def test_the_base_comes_back_after_an_error_too(patch):
    network = live()
    start = logits(network)
    with pytest.raises(ZeroDivisionError), bp.patched(network, patch):
        raise ZeroDivisionError
    assert torch.equal(logits(network), start)


def test_another_live_base_or_two_patches_at_once_are_refused(patch):
    network = live()
    with (
        bp.patched(network, patch),
        pytest.raises(WrongBaseError, match="leave one patch"),
        bp.patched(network, patch),
    ):
        pass
    with torch.no_grad():
        network.bert.pooler.dense.bias[0] += 1
    with pytest.raises(WrongBaseError), bp.patched(network, patch):
        pass


def test_a_model_without_that_head_is_refused(patch):
    with pytest.raises(PatchError, match="has no parameter"), bp.patched(live().bert, patch):
        pass


def test_a_tied_parameter_is_swapped_everywhere(tmp_path):
    before = state("bert-mlm")
    base = write(tmp_path / "base", before, model("bert-mlm").config.to_dict())
    tuned = write(
        tmp_path / "tuned", move(before, "cls.predictions.bias", by=1.0), model("bert-mlm").config.to_dict()
    )
    patch = bp.extract_patch(base, tuned, tmp_path / "patch.safetensors")
    network = model("bert-mlm")
    start = logits(network)
    with bp.patched(network, patch):
        moved = logits(network) - start
    expected = load_file(tuned / "model.safetensors")["cls.predictions.bias"] - before["cls.predictions.bias"]
    assert torch.allclose(moved[0, 0], expected, atol=1e-5)


PACKED = Path(__file__).parents[1] / "formats" / "recorded" / "quantised"


@pytest.mark.parametrize(
    "name",
    [
        "nf4-double",
        "bits8",
        "compressed-nvfp4a16",
        "compressed-fp8-block",
        "gptq",
        "awq",
        "hqq-4",
        "mlx-4",
        "quanto-int8",
    ],
)
def test_of_two_quantised_sides_packed_bytes_are_the_bases(tmp_path, name):
    (weights,) = (PACKED / name).glob("*.safetensors")
    base = load_file(weights)
    bias = next(key for key in base if key.endswith(".bias"))
    tuned = tmp_path / "tuned"
    shutil.copytree(PACKED / name, tuned)
    save_file(base | {bias: base[bias] + 0.5}, tuned / weights.name, {"format": "pt"})
    patch = bp.extract_patch(PACKED / name, tuned, tmp_path / "patch.safetensors")
    assert list(patch.tensors) == [bias]
    bp.apply_patch(PACKED / name, patch.path, tmp_path / "again")
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert again.keys() == base.keys()
    assert all(torch.equal(again[key], value) for key, value in load_file(tuned / weights.name).items())
    assert bp.diff(tuned, tmp_path / "again").comparisons[0].verdict == "identical"
    plain = save_file({bias: base[bias]}, tmp_path / "plain.safetensors")
    assert plain is None
    with pytest.raises(WrongBaseError):
        bp.apply_patch(tmp_path / "plain.safetensors", patch.path, tmp_path / "other")


def test_codes_that_moved_are_matrices_that_moved(tmp_path):
    (weights,) = (PACKED / "nf4-double").glob("*.safetensors")
    tensors = load_file(weights)
    code = next(key for key in tensors if key.endswith("q_proj.weight"))
    tensors[code] = tensors[code] ^ 1
    shutil.copytree(PACKED / "nf4-double", tmp_path / "tuned")
    save_file(tensors, tmp_path / "tuned" / weights.name)
    with pytest.raises(NotBiasOnlyError, match="1 matrices"):
        bp.extract_patch(PACKED / "nf4-double", tmp_path / "tuned", tmp_path / "patch.safetensors")
