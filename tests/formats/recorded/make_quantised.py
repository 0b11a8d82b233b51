"""Write tiny quantised checkpoints with the libraries themselves, and what our advice makes of them.

    python make_quantised.py bitsandbytes gptqmodel compressed_tensors
    python make_quantised.py autogptq autoawq

All on a CPU, one thread. The first line was run with bitsandbytes 0.50.2, GPTQModel 7.7.0, compressed-tensors
0.20.1, transformers 5.24.0 and torch 2.13.0, the second with AutoGPTQ 0.7.1, AutoAWQ 0.2.9, transformers
4.51.3 and torch 2.13.0. The weights are random.
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


if __name__ == "__main__":
    os.environ |= {"USE_TF": "0", "HF_HUB_OFFLINE": "1", "GPTQMODEL_CPU_WORKERS": "4"}
    torch.set_num_threads(1)
    for maker in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            globals()[maker](Path(folder))
