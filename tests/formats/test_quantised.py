"""Packed weights: their values are the library's own, and what a quantiser did is no training.

`recorded/make_quantised.py` wrote the files with the libraries that its versions name.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from support.builders import moved

import bitfit_probe
from bitfit_probe.checkpoint import Checkpoint, Tensor, open_checkpoint
from bitfit_probe.checkpoint.storage.computed import steps_of
from bitfit_probe.errors import UnsupportedError
from bitfit_probe.records import Comparison
from bitfit_probe.rendering import headline

RECORDED = Path(__file__).parent / "recorded" / "quantised"
SOURCE = RECORDED / "source.safetensors"
#: Written from `source.safetensors`, by name: the element type, and how the headline calls it.
KINDS = {
    "nf4-double": ("nf4", "NF4"),
    "fp4-double": ("fp4", "FP4"),
    "compressed-w4a16-asym": ("int4_scaled", "int4 with scales"),
    "compressed-w3a16": ("int3_scaled", "int3 with scales"),
    "compressed-w8a8": ("int8_scaled", "int8 with scales"),
    "compressed-fp8-block": ("float8_scaled", "float8 with scales"),
    "compressed-nvfp4a16": ("nvfp4", "NVFP4"),
    "compressed-mxfp4a16": ("mxfp4", "MXFP4"),
    "compressed-mxfp8a16": ("float8_scaled", "float8 with scales"),
    "mlx-4": ("int4_scaled", "int4 with scales"),
    "mlx-6": ("int6_scaled", "int6 with scales"),
    "mlx-mxfp4": ("mxfp4", "MXFP4"),
    "quanto-int8": ("int8_scaled", "int8 with scales"),
    "quanto-float8": ("float8_scaled", "float8 with scales"),
    "hqq-4": ("int4_scaled", "int4 with scales"),
    "hqq-8": ("int8_scaled", "int8 with scales"),
    "hqq-2-columns": ("int2_scaled", "int2 with scales"),
    "torchao-int8": ("int8_scaled", "int8 with scales"),
    "torchao-float8": ("float8_scaled", "float8 with scales"),
    "torchao-int4": ("int8_scaled", "int8 with scales"),
}
ULP = {torch.float32: 2.0**-23, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}


def diff(base: Path, tuned: Path) -> Comparison:
    (found,) = bitfit_probe.diff(base, tuned).comparisons
    return found


# The libraries' own values ------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*KINDS, "bits8", "bits4", "bits4-double", "compressed-int4"])
def test_values_are_those_that_the_library_computes(name: str) -> None:
    opened = open_checkpoint(RECORDED / name)
    plain = load_file(RECORDED / f"{name}-plain.safetensors")
    assert plain.keys() <= opened.tensors.keys()
    for key, expected in plain.items():
        tensor = opened.tensors[key]
        assert tensor.shape == tuple(expected.shape)
        wanted = expected.double().numpy()
        assert np.all(np.abs(tensor.values() - wanted) <= ULP[expected.dtype] * np.abs(wanted))
        # Whatever is asked for first, an element is the same.
        pieces = [tensor.block(at, min(at + 77, tensor.size)) for at in range(0, tensor.size, 77)]
        assert np.array_equal(np.concatenate(pieces), tensor.values().reshape(-1))


@pytest.mark.parametrize("name", KINDS)
def test_a_quantised_base_is_the_base(name: str) -> None:
    dtype, called = KINDS[name]
    found = diff(SOURCE, RECORDED / name)
    matrices = [row for row in found.tensors if row.name.endswith("proj.weight")]
    assert [row.tuned_dtype for row in matrices] == [dtype] * 2
    assert all(row.l2_delta and row.above_rounding == 0 for row in matrices)
    assert (found.verdict, found.summary.rounded_to, found.summary.quantised) == (
        "rounding-only",
        *[dtype] * 2,
    )
    assert f"the fine-tuned side is the base, quantised ({called})" in headline(found)
    assert all(row.l2_delta <= row.rounding_floor for row in matrices if row.l2_delta and row.rounding_floor)


@pytest.mark.parametrize("name", ["nf4-double", "mlx-4", "torchao-float8"])
def test_a_base_that_is_quantised_is_named_as_such(name: str) -> None:
    found = diff(RECORDED / name, SOURCE)
    assert (found.verdict, found.summary.rounded_to) == ("rounding-only", None)
    assert "the base is the fine-tuned side, quantised" in headline(found)


@pytest.mark.parametrize("name", [*KINDS, "gptq", "gptq-auto", "awq"])
def test_a_bias_moved_beside_equal_codes_is_bitfit(name: str, tmp_path: Path) -> None:
    (file,) = (RECORDED / name).glob("*.safetensors")
    tensors = load_file(file)
    biases = [key for key in tensors if key.endswith("proj.bias")]
    if not biases:  # HQQ has taken them in
        pytest.skip("no biases in this file")
    tensors |= {key: tensors[key] + 0.5 for key in biases}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((RECORDED / name / "config.json").read_text())
    found = diff(RECORDED / name, tmp_path)
    assert (found.verdict, moved(found)) == ("bitfit", set(biases))
    assert found.summary.changed_parameters == sum(tensors[key].numel() for key in biases)
    rest = [row for row in found.tensors if row.name not in biases]
    assert all(row.identical for row in rest)
    assert found.coverage.share == 1.0


@pytest.mark.parametrize("name", ["gptq", "gptq-auto", "awq"])
def test_what_was_calibrated_is_compared_with_its_like_only(name: str, tmp_path: Path) -> None:
    """GPTQ makes up for a weight's rounding in the next ones, so no step bounds what it did."""
    opened = open_checkpoint(RECORDED / name)
    plain = {key: torch.tensor(t.values(), dtype=torch.float32) for key, t in opened.tensors.items()}
    save_file(plain, tmp_path / "model.safetensors")
    found = diff(tmp_path, RECORDED / name)
    packed = {key for key, tensor in opened.tensors.items() if tensor.dtype.block}
    assert {item.name for item in found.unmatched_base if item.why == "codes"} == packed
    assert not packed & {row.name for row in found.tensors}
    assert [item.reason for item in found.coverage.rest] == ["quantised"]


@pytest.mark.parametrize("name", ["gptq", "gptq-auto", "awq"])
def test_gptq_and_awq_by_their_published_layout(name: str) -> None:
    """Codes, zero points and scales as the papers' repositories lay them out, one element at a time."""
    (file,) = (RECORDED / name).glob("*.safetensors")
    tensors, opened = load_file(file), open_checkpoint(RECORDED / name)
    order = [0, 4, 1, 5, 2, 6, 3, 7]
    for key in [key for key in tensors if key.endswith(".qweight")]:
        stem = key.removesuffix(".qweight")
        code, zero, scale = (tensors[f"{stem}.{part}"] for part in ("qweight", "qzeros", "scales"))
        values = opened.tensors[f"{stem}.weight"].values()
        for out, into in [(0, 0), (5, 3), (31, 31), (10, 17)]:
            if name == "awq":
                q = int(code[into, out // 8]) >> 4 * order[out % 8] & 15
                z = int(zero[0, out // 8]) >> 4 * order[out % 8] & 15
            else:
                q = int(code[into // 8, out]) >> 4 * (into % 8) & 15
                z = (int(zero[0, out // 8]) >> 4 * (out % 8) & 15) + 1
            assert values[out, into] == np.float32((q - z) * float(scale[0, out]))


def test_experts_are_those_that_transformers_unpacks(tmp_path: Path) -> None:
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    rng, stem = np.random.default_rng(0), "model.layers.0.mlp.experts.down_proj"
    codes = torch.tensor(rng.integers(0, 256, (3, 40, 2, 16)), dtype=torch.uint8)
    scales = torch.tensor(rng.integers(100, 140, (3, 40, 2)), dtype=torch.uint8)
    parts = {f"{stem}_blocks": codes, f"{stem}_scales": scales}
    values = opened(tmp_path, parts, {}).tensors[stem].values()
    assert np.array_equal(values, convert_moe_packed_tensors(codes, scales, dtype=torch.float32).numpy())


# Steps --------------------------------------------------------------------------------------------


def all_steps(tensor: Tensor) -> np.ndarray:
    return steps_of(tensor, 0, tensor.size, tensor.values().reshape(-1)).reshape(tensor.shape)


def test_a_step_is_the_way_to_the_farther_neighbour(tmp_path: Path) -> None:
    """MXFP4's levels 0, 0.5, …, 6 lie 0.5, 1 or 2 apart, times a scale of 2^(127−127) and 2^(130−127)."""
    codes = torch.arange(0, 32, 2, dtype=torch.uint8)[:16] // 2  # low halves 0 … 15, high halves 0
    codes = codes.repeat(2, 1).reshape(2, 1, 16)
    parts = {"a.weight_blocks": codes, "a.weight_scales": torch.tensor([[127], [130]], dtype=torch.uint8)}
    save_file(parts, tmp_path / "model.safetensors")
    tensor = open_checkpoint(tmp_path / "model.safetensors").tensors["a.weight"]
    gaps = [0.5, 0.5, 0.5, 0.5, 1, 1, 2, 2]
    assert all_steps(tensor)[0, ::2].tolist() == gaps * 2
    assert all_steps(tensor)[1, ::2].tolist() == [8 * gap for gap in gaps * 2]


@pytest.mark.parametrize("count", [1, 7])
def test_elements_beyond_a_step_are_counted(count: int, tmp_path: Path) -> None:
    """Of a base that is the decoded tuned side, `count` elements are shifted by 1.5 of their own steps."""
    opened = open_checkpoint(RECORDED / "nf4-double")
    name = "model.layers.0.self_attn.q_proj.weight"
    base = {key: torch.tensor(t.values(), dtype=torch.float32) for key, t in opened.tensors.items()}
    steps = torch.tensor(all_steps(opened.tensors[name]), dtype=torch.float32)
    base[name].view(-1)[:count] += 1.5 * steps.view(-1)[:count]
    base[name].view(-1)[-count:] += 0.9 * steps.view(-1)[-count:]
    save_file(base, tmp_path / "model.safetensors")
    found = diff(tmp_path / "model.safetensors", RECORDED / "nf4-double")
    (row,) = [row for row in found.tensors if row.name == name]
    assert moved(found) == {name}
    assert row.above_rounding == count / base[name].numel()


# Independent decoders -----------------------------------------------------------------------------

Made = tuple[dict[str, torch.Tensor], dict[str, Any], np.ndarray]


def bits_of(codes: np.ndarray, bits: int) -> bytes:
    """Codes one after the other, lowest bits first, by Python's own integers."""
    number = sum(int(code) << bits * at for at, code in enumerate(codes))
    return number.to_bytes(-(-len(codes) * bits // 8), "little")


def words(rows: np.ndarray, bits: int, dtype: torch.dtype) -> torch.Tensor:
    packed = [bits_of(row, bits) for row in rows]
    packed = [row + bytes(-len(row) % 4) for row in packed]
    return torch.tensor(np.array([np.frombuffer(row, "<i4") for row in packed])).view(dtype)


def nf4(rng: np.random.Generator) -> Made:
    rows, columns, block = (int(n) for n in (rng.integers(1, 9), rng.integers(1, 99), rng.choice([64, 128])))
    codes = rng.integers(0, 16, rows * columns)
    levels = np.sort(rng.standard_normal(16)).astype(np.float32)
    absmax = rng.random(-(-codes.size // block)).astype(np.float32)
    even = np.append(codes, [0] * (codes.size % 2))
    state = json.dumps(
        {"quant_type": "nf4", "blocksize": block, "dtype": "float32", "shape": [rows, columns]}
    )
    tensors = {
        "a.weight": torch.tensor(even[::2] * 16 + even[1::2], dtype=torch.uint8).view(-1, 1),
        "a.weight.absmax": torch.tensor(absmax),
        "a.weight.quant_map": torch.tensor(levels),
        "a.weight.quant_state.bitsandbytes__nf4": torch.tensor(list(state.encode()), dtype=torch.uint8),
    }
    values = [levels[code] * absmax[at // block] for at, code in enumerate(codes)]
    return tensors, {}, np.array(values).reshape(rows, columns)


def affine(rng: np.random.Generator) -> Made:
    bits, group = int(rng.choice([2, 3, 4, 5, 6, 8])), int(rng.choice([32, 64]))
    rows, groups = (int(n) for n in rng.integers(1, 5, 2))
    codes = rng.integers(0, 2**bits, (rows, groups * group))
    scale, bias = rng.standard_normal((2, rows, groups)).astype(np.float32)
    values = np.array(
        [
            [np.float32(code) * scale[r, c // group] + bias[r, c // group] for c, code in enumerate(row)]
            for r, row in enumerate(codes)
        ]
    )
    tensors = {
        "a.weight": words(codes, bits, torch.uint32),
        "a.scales": torch.tensor(scale),
        "a.biases": torch.tensor(bias),
    }
    return tensors, {"quantization": {"bits": bits, "group_size": group}}, values


def packed_integers(rng: np.random.Generator) -> Made:
    bits, rows, groups = int(rng.integers(2, 9)), int(rng.integers(1, 20)), int(rng.integers(1, 4))
    codes = rng.integers(0, 2**bits, (rows, groups * 32))
    scale = rng.random((rows, groups)).astype(np.float32)
    values = np.array(
        [
            [np.float32(int(code) - 2 ** (bits - 1)) * scale[r, c // 32] for c, code in enumerate(row)]
            for r, row in enumerate(codes)
        ]
    )
    tensors = {
        "a.weight_packed": words(codes, bits, torch.int32),
        "a.weight_scale": torch.tensor(scale),
        "a.weight_shape": torch.tensor(codes.shape),
    }
    config = {"config_groups": {"group_0": {"weights": {"num_bits": bits}}}}
    return tensors, {"quantization_config": config}, values


def experts(rng: np.random.Generator) -> Made:
    """gpt-oss: (expert, output, block, byte) become (expert, input, output)."""
    count, outputs, blocks = (int(n) for n in rng.integers(1, 4, 3))
    codes = rng.integers(0, 16, (count, outputs, blocks * 32))
    scales = rng.integers(100, 150, (count, outputs, blocks))
    levels = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    values = np.empty((count, blocks * 32, outputs))
    for (e, o, i), code in np.ndenumerate(codes):
        sign = -1 if code > 7 else 1
        values[e, i, o] = sign * levels[code % 8] * 2.0 ** (int(scales[e, o, i // 32]) - 127)
    tensors = {
        "a.weight_blocks": torch.tensor(codes[..., ::2] + codes[..., 1::2] * 16, dtype=torch.uint8).view(
            count, outputs, blocks, 16
        ),
        "a.weight_scales": torch.tensor(scales, dtype=torch.uint8),
    }
    return tensors, {}, values


def float8_tiles(rng: np.random.Generator) -> Made:
    tile = (int(rng.choice([16, 128])), int(rng.choice([32, 128])))
    rows, columns = (int(n) for n in rng.integers(1, 300, 2))
    codes = torch.tensor(rng.standard_normal((rows, columns)), dtype=torch.float32).to(torch.float8_e4m3fn)
    scale = rng.random((-(-rows // tile[0]), -(-columns // tile[1]))).astype(np.float32)
    spread = np.kron(scale, np.ones(tile, np.float32))[:rows, :columns]
    tensors = {"a.weight": codes, "a.weight_scale_inv": torch.tensor(scale)}
    config = {"quantization_config": {"quant_method": "fp8", "weight_block_size": list(tile)}}
    return tensors, config, codes.float().numpy() * spread


def two_scales(rng: np.random.Generator) -> Made:
    """NVFP4 of modelopt: E2M1 · float8 · float32."""
    rows, blocks = (int(n) for n in rng.integers(1, 9, 2))
    codes = rng.integers(0, 16, (rows, blocks * 16))
    scale = torch.tensor(rng.random((rows, blocks)) * 100).to(torch.float8_e4m3fn)
    levels = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
    over = np.float32(rng.random())
    tensors = {
        "a.weight": torch.tensor(codes[:, ::2] + codes[:, 1::2] * 16, dtype=torch.uint8),
        "a.weight_scale": scale,
        "a.weight_scale_2": torch.tensor(over),
        "a.input_scale": torch.tensor(1.0),
    }
    return tensors, {}, levels[codes] * (np.repeat(scale.float().numpy(), 16, axis=1) * over)


def gptq(rng: np.random.Generator) -> Made:
    """GPTQ with or without activation order: inputs of a group may stand anywhere."""
    bits, outputs, groups = int(rng.choice([2, 4, 8])), 32, int(rng.integers(1, 4))
    inputs = groups * 32
    codes, zeros = rng.integers(0, 2**bits, (inputs, outputs)), rng.integers(1, 2**bits, (groups, outputs))
    group = np.arange(inputs) // 32
    if rng.integers(2):
        rng.shuffle(group)
    scale = rng.random((groups, outputs)).astype(np.float32)
    values = np.empty((outputs, inputs), np.float32)
    for (into, out), code in np.ndenumerate(codes):
        values[out, into] = np.float32(int(code) - int(zeros[group[into], out])) * scale[group[into], out]
    tensors = {
        "a.qweight": words(codes.T, bits, torch.int32).T,
        "a.qzeros": words(zeros - 1, bits, torch.int32),
        "a.scales": torch.tensor(scale),
        "a.g_idx": torch.tensor(group, dtype=torch.int32),
    }
    return tensors, {"quantization_config": {"quant_method": "gptq", "bits": bits}}, values


MADE: dict[str, Callable[[np.random.Generator], Made]] = {
    "nf4": nf4,
    "gptq": gptq,
    "affine": affine,
    "packed integers": packed_integers,
    "experts": experts,
    "float8 tiles": float8_tiles,
    "two scales": two_scales,
}


def opened(folder: Path, tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> Checkpoint:
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return open_checkpoint(folder)


@pytest.mark.parametrize("how", MADE)
@given(seed=st.integers(0, 2**32), cut=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_every_scheme_beside_a_slow_decoder(
    how: str, seed: int, cut: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tensors, config, values = MADE[how](np.random.default_rng(seed))
    tensor = opened(tmp_path_factory.mktemp("q"), tensors, config).tensors["a.weight"]
    assert tensor.shape == values.shape
    np.testing.assert_allclose(tensor.values(), values, rtol=2.0**-22, atol=1e-7)
    start = int(cut * tensor.size)
    assert np.array_equal(tensor.block(start, tensor.size), tensor.values().reshape(-1)[start:])


@pytest.mark.parametrize("how", MADE)
@given(seed=st.integers(0, 2**32), data=st.data())
@settings(max_examples=15, deadline=None)
def test_parts_that_do_not_fit_are_left_packed(
    how: str, seed: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One part less, or one of another shape: refused by name, or left as codes, but never a traceback."""
    tensors, config, _ = MADE[how](np.random.default_rng(seed))
    name = data.draw(st.sampled_from(sorted(tensors)))
    part = tensors.pop(name)
    if data.draw(st.booleans()):
        tensors[name] = torch.zeros(data.draw(st.lists(st.integers(0, 4), max_size=4))).to(part.dtype)
    tensors["b"] = torch.ones(1)
    with contextlib.suppress(UnsupportedError):
        found = opened(tmp_path_factory.mktemp("q"), tensors, config).tensors
        assert all(each.values().shape == each.shape for each in found.values() if each.dtype.decodable)


@pytest.mark.parametrize(
    "state",
    [
        "[]",
        "{",
        '{"shape": [8, 8]}',
        '{"shape": [-8, -8], "blocksize": 64}',
        '{"shape": [true, 64], "blocksize": 64}',
        '{"shape": [8, 8], "blocksize": 0}',
        '{"shape": [8, 8], "blocksize": 63}',
        '{"shape": [99999999999999999999, 9], "blocksize": 64}',
        '{"shape": [8, 8], "blocksize": 64, "nested_blocksize": 256, "nested_offset": 1%s}' % ("0" * 400),
        '{"shape": [8, 8], "blocksize": 64, "nested_blocksize": 1e3, "nested_offset": 0.1}',
    ],
)
def test_a_state_that_lies_is_refused(state: str, tmp_path: Path) -> None:
    tensors, config, _ = nf4(np.random.default_rng(0))
    tensors["a.weight"] = torch.zeros(32, 1, dtype=torch.uint8)
    tensors["a.weight.absmax"] = torch.ones(1)
    name = "a.weight.quant_state.bitsandbytes__nf4"
    tensors[name] = torch.tensor(list(state.encode()), dtype=torch.uint8)
    nested = {"absmax": torch.ones(1), "quant_map": torch.ones(256)}
    if "nested" in state:
        tensors["a.weight.absmax"] = torch.ones(1, dtype=torch.uint8)
        tensors |= {f"a.weight.nested_{key}": value for key, value in nested.items()}
    with pytest.raises(UnsupportedError, match="bitsandbytes, 4 bits"):
        opened(tmp_path, tensors, config)


@pytest.mark.parametrize(
    "stated",
    [
        3,
        {"bits": "4", "group_size": 32},
        {"bits": 4, "group_size": -32},
        {"bits": 10**400, "group_size": 32},
        {"bits": [4], "group_size": {}},
        {"bits": 4},
    ],
)
def test_settings_that_say_nothing_leave_codes_as_they_are(stated: Any, tmp_path: Path) -> None:
    tensors, _, _ = affine(np.random.default_rng(0))
    assert set(opened(tmp_path, tensors, {"quantization": stated}).tensors) == set(tensors)


# Files --------------------------------------------------------------------------------------------


def test_codes_and_scales_may_lie_in_different_shards(tmp_path: Path) -> None:
    tensors = load_file(RECORDED / "nf4-double" / "model.safetensors")
    homes = {key: f"model-{number % 2 + 1}.safetensors" for number, key in enumerate(sorted(tensors))}
    for file in set(homes.values()):
        save_file({key: tensors[key] for key in tensors if homes[key] == file}, tmp_path / file)
    index = {"metadata": {}, "weight_map": homes}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    whole, cut = open_checkpoint(RECORDED / "nf4-double").tensors, open_checkpoint(tmp_path).tensors
    assert whole.keys() == cut.keys()
    assert all(np.array_equal(whole[key].values(), cut[key].values()) for key in whole)


def test_the_same_weights_by_two_schemes_are_no_training() -> None:
    found = diff(RECORDED / "nf4-double", RECORDED / "mlx-4")
    assert found.verdict == "rounding-only"
    assert found.summary.quantised is None


@pytest.mark.parametrize("name", ["hqq-3"])
def test_what_is_not_read_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedError, match="HQQ") as e:
        open_checkpoint(RECORDED / name)
    assert e.value.code == "BE113"


def test_codes_without_the_shape_of_their_weight_are_not_compared() -> None:
    """Quanto's int4 stands in groups; the shape is in the model that it is loaded into."""
    found = diff(SOURCE, RECORDED / "quanto-int4")
    assert [item.reason for item in found.coverage.rest] == ["quantised"]


# gpt-oss ------------------------------------------------------------------------------------------


def gpt_oss(rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """One layer of two experts under the names of openai/gpt-oss-20b: MXFP4, and bfloat16 for the rest."""

    def plain(*shape: int) -> torch.Tensor:
        return torch.tensor(rng.standard_normal(shape), dtype=torch.bfloat16)

    stem, out = "model.layers.0.", {"model.embed_tokens.weight": plain(8, 32), "lm_head.weight": plain(8, 32)}
    for name in "qkvo":
        out |= {
            f"{stem}self_attn.{name}_proj.weight": plain(32, 32),
            f"{stem}self_attn.{name}_proj.bias": plain(32),
        }
    out |= {f"{stem}self_attn.sinks": plain(4), f"{stem}mlp.router.weight": plain(2, 32)}
    out |= {f"{stem}mlp.router.bias": plain(2), "model.norm.weight": plain(32)}
    for name, rows in (("gate_up_proj", 64), ("down_proj", 32)):
        expert = f"{stem}mlp.experts.{name}"
        out[f"{expert}_blocks"] = torch.tensor(rng.integers(0, 256, (2, rows, 1, 16)), dtype=torch.uint8)
        out[f"{expert}_scales"] = torch.tensor(rng.integers(110, 130, (2, rows, 1)), dtype=torch.uint8)
        out[f"{expert}_bias"] = plain(2, rows)
    return out | {f"{stem}{name}_layernorm.weight": plain(32) for name in ("input", "post_attention")}


def test_a_bitfit_run_of_gpt_oss_is_one(tmp_path: Path) -> None:
    base = gpt_oss(np.random.default_rng(0))
    biases = {key for key in base if key.endswith("bias")}
    tuned = {key: tensor + 1 if key in biases else tensor for key, tensor in base.items()}
    for folder, tensors in (("base", base), ("tuned", tuned)):
        (tmp_path / folder).mkdir()
        opened(tmp_path / folder, tensors, {"model_type": "gpt_oss"})
    found = diff(tmp_path / "base", tmp_path / "tuned")
    assert (found.verdict, moved(found), len(biases)) == ("bitfit", biases, 7)
    assert found.summary.changed_parameters == 4 * 32 + 2 + 2 * 64 + 2 * 32
    experts = [row for row in found.tensors if row.name.endswith(("gate_up_proj", "down_proj"))]
    assert sorted((row.shape, row.tuned_dtype, row.identical) for row in experts) == [
        ((2, 32, 32), "mxfp4", True),
        ((2, 32, 64), "mxfp4", True),
    ]
    assert found.coverage.share == 1.0
