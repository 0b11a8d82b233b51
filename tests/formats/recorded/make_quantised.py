"""Write tiny quantised checkpoints with the libraries themselves, and what our advice makes of them.

    python make_quantised.py bitsandbytes gptqmodel compressed_tensors
    python make_quantised.py autogptq autoawq
    python make_quantised.py source bitsandbytes_double compressed_presets mlx quanto hqq torchao

All on a CPU, one thread. The first line was run with bitsandbytes 0.50.2, GPTQModel 7.7.0, compressed-tensors
0.20.1, transformers 5.24.0 and torch 2.13.0, the second with AutoGPTQ 0.7.1, AutoAWQ 0.2.9, transformers
4.51.3 and torch 2.13.0, the third with MLX 0.32.4, optimum-quanto 0.2.7, HQQ 0.2.8, torchao 0.18.0 and those
of the first. The weights are random. What the third line writes was quantised from `source.safetensors`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

OUT = Path(__file__).parent / "quantised"
#: What says where or with what it was made, or only serves to run the model.
_LEFT_OUT = ("tokenizer*", "generation_config.json", "quant_log.csv", "quantize_config.json")


def bert(folder: Path) -> Path:
    from transformers import BertConfig, BertModel

    sizes = {"vocab_size": 4, "hidden_size": 8, "intermediate_size": 8, "max_position_embeddings": 4}
    torch.manual_seed(0)
    BertModel(
        BertConfig(**sizes, num_hidden_layers=1, num_attention_heads=1, type_vocab_size=1)
    ).save_pretrained(folder)
    return folder


def llama(folder: Path, hidden: int = 32, heads: int = 1) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {
        "vocab_size": 4,
        "hidden_size": hidden,
        "intermediate_size": hidden,
        "max_position_embeddings": 16,
    }
    config = LlamaConfig(
        **sizes,
        num_hidden_layers=1,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        tie_word_embeddings=True,
        attention_bias=True,
    )
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    return model


def keep(written: Path, name: str) -> None:
    """Copy the weights and the configuration, less the temporary paths that a library notes in it."""
    shutil.rmtree(OUT / name, ignore_errors=True)
    shutil.copytree(written, OUT / name, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    path = OUT / name / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"].pop("meta", None)
    path.write_text(json.dumps(config, indent=1))


def keep_plain(model: Any, name: str, scratch: Path) -> None:
    """Save the model that the advice gives, and keep its weights."""
    model.save_pretrained(scratch / f"{name}-plain")
    shutil.copy(scratch / f"{name}-plain" / "model.safetensors", OUT / f"{name}-plain.safetensors")


def bitsandbytes(scratch: Path) -> None:
    from transformers import AutoModel, BitsAndBytesConfig

    plain = bert(scratch / "bert")
    kinds = {
        "bits8": BitsAndBytesConfig(load_in_8bit=True),
        "bits4": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
        "bits4-double": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_use_double_quant=True),
    }
    for name, config in kinds.items():
        model = AutoModel.from_pretrained(plain, quantization_config=config, device_map="cpu")
        model.save_pretrained(scratch / name)
        keep(scratch / name, name)
        loaded = AutoModel.from_pretrained(scratch / name, device_map="cpu")
        keep_plain(loaded.dequantize(), name, scratch)


def gptqmodel(scratch: Path) -> None:
    import tokenizers
    import transformers
    from gptqmodel import GPTQModel, QuantizeConfig

    llama(scratch / "llama")
    words = tokenizers.models.WordLevel({f"t{i}": i for i in range(4)}, unk_token="t0")
    marks = {"unk_token": "t0", "eos_token": "t1", "pad_token": "t2"}
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(words), **marks
    ).save_pretrained(scratch / "llama")
    model = GPTQModel.load(str(scratch / "llama"), QuantizeConfig(bits=4, group_size=32), device="cpu")
    model.quantize([{"input_ids": [0, 1, 2, 3] * 4, "attention_mask": [1] * 16}] * 4, batch_size=1)
    model.save(str(scratch / "gptq"))
    keep(scratch / "gptq", "gptq")


def compressed_tensors(scratch: Path) -> None:
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationConfig,
        apply_quantization_config,
        preset_name_to_scheme,
    )
    from transformers import AutoModelForCausalLM, CompressedTensorsConfig

    for name, preset in (("compressed-int4", "W4A16"), ("compressed-float8", "FP8_DYNAMIC")):
        model = llama(scratch / "llama", 16)
        scheme = preset_name_to_scheme(preset, ["Linear"])
        if scheme.weights.group_size:
            scheme.weights.group_size = 16
        config = QuantizationConfig(config_groups={"group_0": scheme}, ignore=["lm_head"])
        apply_quantization_config(model, config)
        for key, parameter in model.named_parameters():
            if key.endswith("_scale"):
                parameter.data.fill_(0.01)
        compressor = ModelCompressor.from_pretrained_model(model)
        compressor.compress_model(model)
        model.save_pretrained(scratch / name)
        compressor.update_config(str(scratch / name))
        keep(scratch / name, name)
        plain = CompressedTensorsConfig(dequantize=True)
        loaded = AutoModelForCausalLM.from_pretrained(scratch / name, quantization_config=plain)
        keep_plain(loaded, name, scratch)


def autogptq(scratch: Path) -> None:
    import auto_gptq.modeling._base
    from auto_gptq import BaseQuantizeConfig
    from auto_gptq.modeling import LlamaGPTQForCausalLM

    auto_gptq.modeling._base.CUDA_0 = torch.device("cpu")
    torch.cuda.synchronize = lambda *_: None  # called without a look at whether there is a GPU
    settings = BaseQuantizeConfig(bits=4, group_size=32, desc_act=False)
    model = LlamaGPTQForCausalLM(llama(scratch / "llama"), False, settings)
    ids = torch.tensor([[0, 1, 2, 3] * 4])
    model.quantize([{"input_ids": ids, "attention_mask": torch.ones_like(ids)}], cache_examples_on_gpu=False)
    model.save_quantized(str(scratch / "gptq-auto"), use_safetensors=True)
    keep(scratch / "gptq-auto", "gptq-auto")


def autoawq(scratch: Path) -> None:
    from awq.models.llama import LlamaAWQForCausalLM

    model = llama(scratch / "llama", heads=2)
    awq = LlamaAWQForCausalLM(model, "llama", False, model.config, {}, None)
    awq.quantize(
        tokenizer=None,
        quant_config={"zero_point": True, "q_group_size": 32, "w_bit": 4, "version": "GEMM"},
        calib_data=[[0, 1, 2, 3] * 4] * 4,
        max_calib_samples=4,
        max_calib_seq_len=16,
        apply_clip=False,  # wants layers of 64 rows
    )
    awq.save_quantized(str(scratch / "awq"))
    keep(scratch / "awq", "awq")


# Two matrices, quantised by each library alone ----------------------------------------------------


def attention() -> torch.nn.Module:
    """The query and output projections of a llama, and what stays plain around them."""
    torch.manual_seed(0)
    root = torch.nn.Module()
    root.model, layer = torch.nn.Module(), torch.nn.Module()
    root.model.embed_tokens = torch.nn.Embedding(4, 64)
    root.model.layers = torch.nn.ModuleList([layer])
    layer.self_attn = torch.nn.Module()
    layer.self_attn.q_proj = torch.nn.Linear(64, 40)
    layer.self_attn.o_proj = torch.nn.Linear(32, 64)
    return root


def linears(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    own = model.model.layers[0].self_attn
    return {f"model.layers.0.self_attn.{name}": getattr(own, name) for name in ("q_proj", "o_proj")}


def keep_pair(name: str, packed: dict[str, Any], plain: dict[str, Any], config: dict[str, Any]) -> None:
    """Keep what a library packed, and what it makes of it."""
    from safetensors.torch import save_file

    (OUT / name).mkdir(exist_ok=True)
    files = ((OUT / name / "model.safetensors", packed), (OUT / f"{name}-plain.safetensors", plain))
    for path, tensors in files:
        save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, path)
    (OUT / name / "config.json").write_text(json.dumps({"model_type": "llama"} | config, indent=1))


def rest(model: torch.nn.Module) -> dict[str, Any]:
    return {key: value for key, value in model.state_dict().items() if not key.endswith("proj.weight")}


def source(_: Path) -> None:
    from safetensors.torch import save_file

    save_file(dict(attention().state_dict()), OUT / "source.safetensors")


def bitsandbytes_double(_: Path) -> None:
    import bitsandbytes.functional as bnb

    model = attention()
    for kind in ("nf4", "fp4"):
        packed, plain = rest(model), {}
        for name, linear in linears(model).items():
            codes, state = bnb.quantize_4bit(
                linear.weight.data.bfloat16(), quant_type=kind, compress_statistics=True
            )
            packed |= {f"{name}.weight": codes}
            packed |= {f"{name}.weight.{key}": value for key, value in state.as_dict(packed=True).items()}
            plain[f"{name}.weight"] = bnb.dequantize_4bit(codes, state)
        keep_pair(f"{kind}-double", packed, plain, {})


def compressed_presets(_: Path) -> None:
    from compressed_tensors.compressors.base import compress_module, decompress_module
    from compressed_tensors.quantization import (
        QuantizationConfig,
        apply_quantization_config,
        preset_name_to_scheme,
    )

    for preset in ("W4A16_ASYM", "W3A16", "W8A8", "FP8_BLOCK", "NVFP4A16", "MXFP4A16", "MXFP8A16"):
        model, scheme = attention(), preset_name_to_scheme(preset, ["Linear"])
        if preset.startswith(("W3", "W4")):
            scheme.weights.group_size = 32
        if preset == "FP8_BLOCK":
            scheme.weights.block_structure = [16, 32]
        config = QuantizationConfig(config_groups={"group_0": scheme})
        apply_quantization_config(model, config)
        for linear in linears(model).values():
            set_scales(linear, preset)
            compress_module(linear)
        packed = {key: value.clone() for key, value in model.state_dict().items()}
        for linear in linears(model).values():
            decompress_module(linear)
        plain = {f"{name}.weight": linear.weight for name, linear in linears(model).items()}
        stated = {"quantization_config": json.loads(config.model_dump_json())}
        keep_pair(f"compressed-{preset.lower().replace('_', '-')}", packed, plain, stated)


def set_scales(linear: Any, preset: str) -> None:
    """Scales (and zero points) with which no weight of at most 1/√32 is cut off."""
    largest = {"W4": 0.04, "W3": 0.07, "W8": 0.0016, "FP": 0.0005, "MX": 2.0**-4, "NV": 120.0}[preset[:2]]
    for key, parameter in linear.named_parameters():
        data = parameter.data
        if key == "weight_global_scale":
            data.fill_(3000.0)
        elif key == "weight_scale":
            uneven = torch.ones(data.shape) if preset[:2] == "MX" else 1 + torch.rand(data.shape)
            data.copy_((uneven * (2.0**-10 if preset == "MXFP8A16" else largest)).to(data.dtype))
        elif key == "weight_zero_point" and preset.endswith("ASYM"):
            data.copy_(torch.randint(-2, 3, data.shape).to(data.dtype))


def mlx(_: Path) -> None:
    import mlx.core as mx
    import numpy as np

    model = attention()
    for name, bits, mode in (("mlx-4", 4, "affine"), ("mlx-6", 6, "affine"), ("mlx-mxfp4", 4, "mxfp4")):
        packed, plain = rest(model), {}
        for stem, linear in linears(model).items():
            settings = {"group_size": 32, "bits": bits, "mode": mode}
            codes, scales, *biases = mx.quantize(mx.array(linear.weight.detach().numpy()), **settings)
            values = mx.dequantize(codes, scales, *biases, **settings, dtype=mx.float32)
            parts = {"weight": codes, "scales": scales} | ({"biases": biases[0]} if biases else {})
            packed |= {f"{stem}.{key}": torch.from_numpy(np.array(value)) for key, value in parts.items()}
            plain[f"{stem}.weight"] = torch.from_numpy(np.array(values))
        keep_pair(name, packed, plain, {"quantization": settings})


def quanto(_: Path) -> None:
    from optimum.quanto import freeze, qfloat8, qint4, qint8, quantize

    for name, kind in (("quanto-int8", qint8), ("quanto-float8", qfloat8), ("quanto-int4", qint4)):
        model = attention()
        quantize(model, weights=kind, include=["*proj"])
        freeze(model)
        plain = {f"{stem}.weight": linear.weight.dequantize() for stem, linear in linears(model).items()}
        keep_pair(name, model.state_dict(), plain, {})


def hqq(_: Path) -> None:
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    model = attention()
    for name, bits, axis in (("hqq-4", 4, 1), ("hqq-8", 8, 1), ("hqq-2-columns", 2, 0), ("hqq-3", 3, 1)):
        packed = {key: value for key, value in rest(model).items() if not key.endswith("proj.bias")}
        plain = {}
        for stem, linear in linears(attention()).items():
            config = BaseQuantizeConfig(nbits=bits, group_size=32, axis=axis)
            layer = HQQLinear(linear, config, device="cpu", compute_dtype=torch.float32)
            packed |= {f"{stem}.{key}": value for key, value in layer.state_dict().items()}
            plain[f"{stem}.weight"] = layer.dequantize()
        keep_pair(name, packed, plain, {})


def torchao(_: Path) -> None:
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
    from torchao.quantization import (
        Float8WeightOnlyConfig,
        Int8WeightOnlyConfig,
        IntxWeightOnlyConfig,
        quantize_,
    )
    from torchao.quantization.granularity import PerGroup

    grouped = IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32))
    kinds = {"int8": Int8WeightOnlyConfig(version=2), "float8": Float8WeightOnlyConfig(), "int4": grouped}
    for name, config in kinds.items():
        model = attention()
        quantize_(model, config)
        state = {key: getattr(value, "data", value) for key, value in model.state_dict().items()}
        packed, _metadata = flatten_tensor_state_dict(state)
        plain = {f"{stem}.weight": linear.weight.dequantize() for stem, linear in linears(model).items()}
        keep_pair(f"torchao-{name}", packed, plain, {})


if __name__ == "__main__":
    os.environ |= {"USE_TF": "0", "HF_HUB_OFFLINE": "1", "GPTQMODEL_CPU_WORKERS": "4"}
    torch.set_num_threads(1)
    for maker in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            globals()[maker](Path(folder))
