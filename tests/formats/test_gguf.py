"""GGUF files that the gguf library writes, in the order in which llama.cpp's converter stores tensors."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from support.builders import State, move, row, state, write

import bitfit_probe
from bitfit_probe.align import align
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import CorruptError, TruncatedError, UnsupportedError

QUANT = gguf.GGMLQuantizationType
LLAMA = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
GPT2 = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "attn_norm": "ln_1",
    "ffn_norm": "ln_2",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
BERT = {
    "token_embd": "bert.embeddings.word_embeddings",
    "position_embd": "bert.embeddings.position_embeddings",
    "token_types": "bert.embeddings.token_type_embeddings",
    "token_embd_norm": "bert.embeddings.LayerNorm",
    "attn_q": "attention.self.query",
    "attn_k": "attention.self.key",
    "attn_v": "attention.self.value",
    "attn_output": "attention.output.dense",
    "attn_output_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "layer_output_norm": "output.LayerNorm",
}


def names(table: dict[str, str], blocks: str, source: State) -> dict[str, str]:
    """llama.cpp's name of each tensor of `source` that it keeps."""
    out = {}
    for name in source:
        module, _, leaf = name.rpartition(".")
        for theirs, ours in table.items():
            if module == ours:
                out[name] = f"{theirs}.{leaf}"
            elif module.startswith(blocks):
                number, _, inner = module.removeprefix(blocks).partition(".")
                if inner == ours:
                    out[name] = f"blk.{number}.{theirs}.{leaf}"
    return out


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """``LlamaModel.permute`` of llama.cpp's convert_hf_to_gguf.py."""
    rows = weight.shape[0]
    return (
        weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
    )


def save(
    path: Path, kind: str, source: State, renamed: dict[str, str], dtype: Any = np.float32, quant: Any = None
) -> Path:
    writer = gguf.GGUFWriter(path, kind)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    for name, theirs in renamed.items():
        data = source[name].float().numpy()
        if kind == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            data = data.T
        if kind == "llama" and "q_proj" in name:
            data = permuted(data, 4)
        if kind == "llama" and "k_proj" in name:
            data = permuted(data, 2)
        if data.ndim > 1 and quant is not None and data.shape[-1] % 32 == 0:
            writer.add_tensor(
                theirs, gguf.quants.quantize(np.ascontiguousarray(data), quant), raw_dtype=quant
            )
        else:
            writer.add_tensor(theirs, np.ascontiguousarray(data, dtype if data.ndim > 1 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


CASES = {
    "llama": ("llama", LLAMA, "model.layers."),
    "gpt2": ("gpt2", GPT2, "transformer.h."),
    "bert": ("bert", BERT, "bert.encoder.layer."),
}


@pytest.mark.parametrize("kind", CASES)
def test_plain_tensors_are_those_of_the_base(tmp_path: Path, kind: str) -> None:
    source = state(kind)
    renamed = names(CASES[kind][1], CASES[kind][2], source)
    tuned = save(tmp_path / "x.gguf", CASES[kind][0], source, renamed)
    alignment = align(open_checkpoint(write(tmp_path / "base.safetensors", source)), open_checkpoint(tuned))
    assert not alignment.unmatched_tuned
    assert {pair.base.name for pair in alignment.pairs} == set(renamed)
    for pair in alignment.pairs:
        np.testing.assert_array_equal(pair.tuned.values(), pair.base.values(), pair.base.name)


def test_a_bitfit_run_in_gguf_is_one(tmp_path: Path) -> None:
    source = state("bert")
    biases = [name for name in source if name.endswith(".bias") and "encoder" in name]
    renamed = names(BERT, "bert.encoder.layer.", source)
    tuned = save(tmp_path / "x.gguf", "bert", move(source, *biases), renamed, np.float16)
    (comparison,) = bitfit_probe.diff(write(tmp_path / "b.safetensors", source), tuned).comparisons
    assert comparison.verdict == "bitfit"
    assert not comparison.summary.offenders
    assert comparison.tuned.format == "GGUF (float16, float32)"


@pytest.mark.parametrize("quant", [QUANT.Q8_0, QUANT.Q4_0, QUANT.Q4_1, QUANT.Q5_0, QUANT.Q5_1])
def test_quantising_is_no_change_and_more_than_a_step_is_one(tmp_path: Path, quant: Any) -> None:
    source = state("llama")
    renamed = names(LLAMA, "model.layers.", source)
    base = write(tmp_path / "b.safetensors", source)
    (still,) = bitfit_probe.diff(
        base, save(tmp_path / "0.gguf", "llama", source, renamed, quant=quant)
    ).comparisons
    assert still.verdict == "rounding-only"
    assert still.summary.rounded_to == quant.name.lower()
    name = "model.layers.1.mlp.up_proj.weight"
    moved = move(source, name, by=1.0)
    (changed,) = bitfit_probe.diff(
        base, save(tmp_path / "1.gguf", "llama", moved, renamed, quant=quant)
    ).comparisons
    assert {item.name for item in changed.tensors if item.moved} == {name}
    one = row(changed, name)
    want = (
        gguf.quants.dequantize(gguf.quants.quantize(moved[name].numpy(), quant), quant) - source[name].numpy()
    )
    assert one.max_abs_delta == pytest.approx(np.abs(want).max(), rel=1e-6)


def test_two_files_of_one_model_align_by_their_own_names(tmp_path: Path) -> None:
    source = state("llama")
    renamed = names(LLAMA, "model.layers.", source)
    one = save(tmp_path / "1.gguf", "llama", source, renamed)
    two = save(tmp_path / "2.gguf", "llama", source, renamed)
    (comparison,) = bitfit_probe.diff(one, two).comparisons
    assert comparison.verdict == "identical"


def test_k_quants_are_read_as_the_library_reads_them(tmp_path: Path) -> None:
    """The library can't write K-quants, so blocks of random bytes stand for them."""
    raw = np.random.default_rng(0).integers(0, 60, (4, 2 * 210), dtype=np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "k.gguf", "llama")
    writer.add_tensor("blk.0.ffn_up.weight", raw, raw_dtype=QUANT.Q6_K)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (tensor,) = open_checkpoint(tmp_path / "k.gguf").tensors.values()
    assert (tensor.dtype.name, tensor.shape) == ("q6_k", (4, 512))
    np.testing.assert_array_equal(tensor.values(), gguf.quants.dequantize(raw, QUANT.Q6_K))


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    source = {"a": torch.ones(2, 2)}
    with pytest.raises(UnsupportedError, match=r"'bloom'.*rearranges"):
        open_checkpoint(save(tmp_path / "x.gguf", "bloom", source, {"a": "output.weight"}))


def test_norms_of_gemma_are_told_apart_from_damage(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"norm weights are stored \+ 1"):
        open_checkpoint(save(tmp_path / "x.gguf", "gemma2", {"a": torch.ones(2, 2)}, {"a": "output.weight"}))


def header(tensors: int, entries: int, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, entries) + rest


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (header(0, 0)[:10], TruncatedError),
        (header(2**63, 0), CorruptError),
        (header(0, 2**63), CorruptError),
        (header(0, 1, struct.pack("<Q", 2**60)), CorruptError),
        (header(0, 1, struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 8, 2**60)), CorruptError),
        (header(0, 1, struct.pack("<Q", 1) + b"k" + struct.pack("<I", 77)), CorruptError),
        (header(0, 0), CorruptError),
        (header(0, 0, version=9), UnsupportedError),
    ],
)
def test_headers_that_lie(tmp_path: Path, data: bytes, error: type[Exception]) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(data + bytes(64) if error is not TruncatedError else data)
    with pytest.raises(error):
        open_checkpoint(path)
