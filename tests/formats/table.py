"""The table of docs/formats.md, made by writing and reading a file of each format.

``PYTHONPATH=tests python -m formats.table --write`` rewrites the page; ``test_table.py`` holds it to what is
measured.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.builders import State, cast, model, state, write

from bitfit_probe.align import align
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import BitfitProbeError

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "formats.md"
RECORDED = HERE / "recorded"
ALL = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Format:
    """A row: what the format is called, which library writes it, and how.

    Attributes
    ----------
    make
        Writes the state dict of the tiny BERT (or, where `base` says so, another model) and gives the path.
    dtypes
        Element types to try.
    base
        Gives the state dict to compare with.
    needs
        Packages without which it can't be written.
    advised
        A word of the advice, where it is refused.
    """

    name: str
    by: str
    make: Callable[[Path, State], Path]
    dtypes: tuple[str, ...] = ALL
    base: Callable[[], State] = lambda: state("bert")
    needs: tuple[str, ...] = ()
    advised: str = ""


# Writers ------------------------------------------------------------------------------------------


def pretrained(folder: Path, source: State, **options: Any) -> Path:
    bert = model("bert")
    bert.load_state_dict(source)
    bert.to(next(iter(source.values())).dtype).save_pretrained(folder / "x", **options)
    return folder / "x"


def adapter(kind: str) -> Callable[[Path, State], Path]:
    def make(folder: Path, source: State) -> Path:
        from formats import test_adapters

        return test_adapters.save(folder / "x", *test_adapters.KINDS[kind])[0]

    return make


def swept(method: str) -> Callable[[Path, State], Path]:
    """The adapter of the sweep's first case of a method, on the tiny Llama."""

    def make(folder: Path, source: State) -> Path:
        from formats.peft_cases import CASES, saved

        return saved(next(case for case in CASES if case.method == method), folder / "x", 1)

    return make


def loralib_factors(folder: Path, source: State) -> Path:
    import loralib

    tuned = torch.nn.ModuleDict({"classifier": loralib.Linear(32, 2, r=2, lora_alpha=4)})
    torch.save(loralib.lora_state_dict(tuned, bias="all"), folder / "x.pt")
    (folder / "adapter_config.json").write_text('{"lora_alpha": 4}')
    return folder / "x.pt"


def biases_alone(folder: Path, source: State) -> Path:
    return write(folder / "x.pt", {name: t for name, t in source.items() if name.endswith(".bias")})


def lightning_file(folder: Path, source: State) -> Path:
    import lightning

    content = {f"model.{name}": tensor for name, tensor in source.items()}
    version = {"pytorch-lightning_version": lightning.__version__, "epoch": 0, "global_step": 1}
    torch.save({"state_dict": content, **version}, folder / "x.ckpt")
    return folder / "x.ckpt"


def zero(stage: int) -> tuple[Callable[[Path, State], Path], Callable[[], State]]:
    folder = RECORDED / "deepspeed" / f"zero{stage}"
    return lambda *_: folder, lambda: load_file(f"{folder}-expected.safetensors")


def dcp_folder(folder: Path, source: State) -> Path:
    import torch.distributed.checkpoint as dcp

    dcp.save({"model": source}, checkpoint_id=folder / "x", no_dist=True)
    return folder / "x"


def accelerate_state(folder: Path, source: State) -> Path:
    import accelerate

    bert = model("bert")
    bert.load_state_dict(source)
    accelerator = accelerate.Accelerator(cpu=True)
    accelerator.prepare(bert)
    accelerator.save_state(str(folder / "x"))
    return folder / "x"


def megatron(parts: int) -> Callable[[Path, State], Path]:
    def make(folder: Path, source: State) -> Path:
        for part in range(parts):
            info = folder / f"iter_0000001/mp_rank_{part:02}"
            info.mkdir(parents=True)
            torch.save({"model": source, "iteration": 1}, info / "model_optim_rng.pt")
        return folder

    return make


def script(folder: Path, source: State) -> Path:
    bert = model("bert").to(next(iter(source.values())).dtype)
    bert.load_state_dict(source)
    ids = torch.ones(1, 4, dtype=torch.long)
    torch.jit.trace(bert, (ids,), strict=False, check_trace=False).save(str(folder / "x.pt"))
    return folder / "x.pt"


def gguf_file(quant: str | None = None) -> Callable[[Path, State], Path]:
    def make(folder: Path, source: State) -> Path:
        import gguf
        from formats import test_gguf

        kinds = {torch.float32: np.float32, torch.float16: np.float16}
        dtype = next(iter(source.values())).dtype
        renamed = test_gguf.names(test_gguf.BERT, "bert.encoder.layer.", source)
        kind = getattr(gguf.GGMLQuantizationType, quant or "BF16")
        plain = quant is None and dtype in kinds
        return test_gguf.save(
            folder / "x.gguf", "bert", source, renamed, kinds.get(dtype, np.float32), None if plain else kind
        )

    return make


def onnx_file(external: bool) -> Callable[[Path, State], Path]:
    def make(folder: Path, source: State) -> Path:
        import onnx
        from onnx import TensorProto, helper

        kinds = {
            "float32": TensorProto.FLOAT,
            "float16": TensorProto.FLOAT16,
            "bfloat16": TensorProto.BFLOAT16,
        }
        tensors = [
            helper.make_tensor(
                name,
                kinds[str(tensor.dtype).removeprefix("torch.")],
                list(tensor.shape),
                tensor.contiguous().view(torch.uint8).numpy().tobytes(),
                raw=True,
            )
            for name, tensor in source.items()
        ]
        graph = helper.make_graph([], "g", [], [], initializer=tensors)
        options = {"save_as_external_data": True, "location": "x.data", "size_threshold": 0}
        onnx.save(helper.make_model(graph), folder / "x.onnx", **(options if external else {}))
        return folder / "x.onnx"

    return make


def packed(kind: str) -> Callable[[Path, State], Path]:
    def make(folder: Path, source: State) -> Path:
        from formats import test_refused

        save_file(test_refused.PACKED[kind][0], folder / "model.safetensors")
        config = {"quantization_config": {"quant_method": kind}}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


def values_in(name: str) -> Callable[[], State]:
    """What a recorded checkpoint holds, as plain float32."""

    def base() -> State:
        tensors = open_checkpoint(RECORDED / name).tensors
        return {key: torch.tensor(tensor.values(), dtype=torch.float32) for key, tensor in tensors.items()}

    return base


def defined(kind: str) -> Callable[[Path, State], Path]:
    """Made of random codes and scales by the published definition, beside a bias."""

    def make(folder: Path, _: State) -> Path:
        from formats import test_quantised

        tensors, config, _values = test_quantised.MADE[kind](np.random.default_rng(0))
        test_quantised.opened(folder, tensors | {"a.bias": torch.ones(2)}, config)
        return folder

    return make


def values_of(kind: str) -> Callable[[], State]:
    def base() -> State:
        from formats import test_quantised

        *_, values = test_quantised.MADE[kind](np.random.default_rng(0))
        return {"a.weight": torch.tensor(values, dtype=torch.float32), "a.bias": torch.ones(2)}

    return base


def flax_safetensors(folder: Path, source: State) -> Path:
    save_file(source, folder / "model.safetensors", metadata={"format": "flax"})
    return folder


def recorded(name: str) -> Callable[[Path, State], Path]:
    return lambda *_: RECORDED / name


def whole(folder: Path, source: State) -> Path:
    bert = model("bert").to(next(iter(source.values())).dtype)
    bert.load_state_dict(source)
    torch.save(bert, folder / "x.pt")
    return folder / "x.pt"


def sparse(folder: Path, source: State) -> Path:
    torch.save({n: t.to_sparse() if t.ndim == 2 else t for n, t in source.items()}, folder / "x.pt")
    return folder / "x.pt"


def _rows() -> Iterator[Format]:
    only32 = ("float32",)
    yield Format("safetensors", "safetensors", lambda f, s: write(f / "x.safetensors", s))
    yield Format(
        "safetensors in shards", "transformers", lambda f, s: pretrained(f, s, max_shard_size="20KB")
    )
    yield Format("torch.save (zip)", "torch", lambda f, s: write(f / "x.pt", s))
    yield Format("torch.save before 1.6", "torch", lambda f, s: write(f / "x.legacy", s))
    yield Format("torch.save of a whole module", "torch", whole)
    for kind in ("timm-vit", "torchvision-vit"):
        by, path = kind.partition("-")[0], f"modules/{kind}"
        name, values = (
            f"torch.save of a whole module of {by}",
            partial(load_file, RECORDED / f"{path}.safetensors"),
        )
        yield Format(name, f"{by} (recorded)", recorded(f"{path}.pt"), only32, base=values)
    yield Format("torch.save of sparse tensors (needs torch)", "torch", sparse, only32)
    for kind, name in (
        ("bert-bias-all", "PEFT LoRA"),
        ("bert-dora", "PEFT DoRA"),
        ("bert-rslora", "PEFT rsLoRA"),
        ("ia3-bert", "PEFT IA3"),
        ("ln-bert", "PEFT LN-tuning"),
        ("beft-bert", "PEFT BEFT"),
    ):
        yield Format(name, "peft", adapter(kind), only32, needs=("peft",))
    for method in ("AdaLoRA", "DeLoRA", "HiRA", "HRA", "LoHa", "LoKr", "OFT", "VeRA"):
        make = swept(method.upper())
        yield Format(f"PEFT {method}", "peft", make, only32, lambda: state("llama"), needs=("peft",))
    yield Format("PEFT, other methods (BOFT, MiSS, …)", "peft", swept("BOFT"), only32, lambda: state("llama"),
                 needs=("peft",), advised="merge_and")  # fmt: skip
    for kind in ("LoRA", "DoRA"):
        yield Format(f"MLX {kind}", "mlx-lm (recorded)", recorded(f"adapters/mlx-{kind.lower()}"), only32,
                     lambda: load_file(RECORDED / "adapters" / "mlx-base.safetensors"))  # fmt: skip
    yield Format("loralib's factors", "loralib", loralib_factors, only32, needs=("loralib",))
    yield Format("a dict of biases", "torch", biases_alone)
    yield Format("Lightning .ckpt", "torch, as Lightning does", lightning_file, needs=("lightning",))
    for stage in (1, 2, 3):
        make, base = zero(stage)
        yield Format(f"DeepSpeed ZeRO {stage}", "DeepSpeed (recorded)", make, only32, base)
    yield Format("torch DCP", "torch.distributed.checkpoint", dcp_folder)
    yield Format(
        "FSDP in shards (DCP)",
        "torch FSDP2 (recorded)",
        lambda *_: RECORDED / "dcp",
        only32,
        lambda: load_file(RECORDED / "dcp-expected.safetensors"),
    )
    yield Format("Accelerate save_state", "accelerate", accelerate_state, only32, needs=("accelerate",))
    yield Format("Trainer checkpoint-*, save_pretrained", "transformers", pretrained)
    yield Format("Megatron-LM, one part", "torch, as Megatron-LM does", megatron(1))
    yield Format(
        "Megatron-LM, several parts", "torch, as Megatron-LM does", megatron(2), advised="convert.py"
    )
    yield Format("TorchScript", "torch.jit", script, only32)
    yield Format("GGUF", "gguf", gguf_file(), needs=("gguf",))
    for quant in ("Q8_0", "Q4_0"):
        yield Format(f"GGUF, {quant} (above its step)", "gguf", gguf_file(quant), only32, needs=("gguf",))
    yield Format("ONNX, data inline", "onnx", onnx_file(False), needs=("onnx",))
    yield Format("ONNX, data beside it", "onnx", onnx_file(True), needs=("onnx",))
    for folder, name, by in (
        ("bits8", "bitsandbytes, int8", "bitsandbytes"),
        ("bits4", "bitsandbytes, NF4", "bitsandbytes"),
        ("nf4-double", "bitsandbytes, NF4 with quantised scales", "bitsandbytes"),
        ("fp4-double", "bitsandbytes, FP4 with quantised scales", "bitsandbytes"),
        ("gptq", "GPTQ (compared with GPTQ alone)", "GPTQModel"),
        ("gptq-auto", "GPTQ, older (compared with GPTQ alone)", "AutoGPTQ"),
        ("awq", "AWQ (compared with AWQ alone)", "AutoAWQ"),
        ("hqq-4", "HQQ, 4 bits", "HQQ"),
        ("hqq-8", "HQQ, 8 bits", "HQQ"),
        ("hqq-2-columns", "HQQ, 2 bits, groups down the columns", "HQQ"),
        ("mlx-4", "MLX, 4 bits", "MLX"),
        ("mlx-6", "MLX, 6 bits", "MLX"),
        ("mlx-mxfp4", "MLX, MXFP4", "MLX"),
        ("compressed-int4", "compressed-tensors, 4 bits", "compressed-tensors"),
        ("compressed-w4a16-asym", "compressed-tensors, 4 bits, asymmetric", "compressed-tensors"),
        ("compressed-w3a16", "compressed-tensors, 3 bits", "compressed-tensors"),
        ("compressed-w8a8", "compressed-tensors, int8", "compressed-tensors"),
        ("compressed-float8", "compressed-tensors, float8", "compressed-tensors"),
        ("compressed-fp8-block", "compressed-tensors, float8 in blocks", "compressed-tensors"),
        ("compressed-mxfp8a16", "compressed-tensors, MXFP8", "compressed-tensors"),
        ("compressed-mxfp4a16", "compressed-tensors, MXFP4", "compressed-tensors"),
        ("compressed-nvfp4a16", "compressed-tensors, NVFP4", "compressed-tensors"),
        ("quanto-int8", "quanto, int8", "optimum-quanto"),
        ("quanto-float8", "quanto, float8", "optimum-quanto"),
        ("torchao-int8", "torchao safetensors, int8", "torchao"),
        ("torchao-int4", "torchao safetensors, int4 in bytes", "torchao"),
        ("torchao-float8", "torchao safetensors, float8", "torchao"),
    ):
        path = f"quantised/{folder}"
        yield Format(name, f"{by} (recorded)", recorded(path), only32, base=values_in(path))
    for kind, name in (("experts", "MXFP4 of gpt-oss"), ("float8 tiles", "float8 in blocks"),
                       ("two scales", "NVFP4 of modelopt")):  # fmt: skip
        yield Format(name, "its definition", defined(kind), only32, base=values_of(kind))
    yield Format("HQQ, 1 and 3 bits", "HQQ (recorded)", recorded("quantised/hqq-3"), only32,
                 advised="quantised from")  # fmt: skip
    yield Format("GPTQ, 3 bits", "imitated", packed("gptq"), only32, advised="quantised from")
    yield Format("torchao safetensors, int4 packed", "imitated", packed("torchao"), only32,
                 advised="dequantize()")  # fmt: skip
    yield Format("Flax safetensors", "safetensors", flax_safetensors, only32, advised="from_flax=True")
    for folder, name, by, advised in (
        ("flax", "Flax msgpack", "transformers, Flax", "from_flax=True"),
        ("tf-hdf5", "TensorFlow HDF5", "transformers, TensorFlow", "from_tf=True"),
        ("tf-saver", "TensorFlow checkpoint, by Saver", "TensorFlow", "load_tf_weights_in_bert"),
        ("tf-saver-1", "TensorFlow checkpoint in one file", "TensorFlow", "load_tf_weights_in_bert"),
        ("tf-objects", "TensorFlow checkpoint, by tf.train.Checkpoint", "TensorFlow", "load_checkpoint"),
        ("tf-saved", "TensorFlow SavedModel", "TensorFlow", "load_checkpoint"),
        ("keras", "Keras (.keras, .weights.h5)", "Keras", "with keras"),
        ("orbax/standard", "Orbax", "Orbax", "StandardCheckpointer"),
        ("orbax/manager", "Orbax, folder of a CheckpointManager", "Orbax", "StandardCheckpointer"),
    ):
        yield Format(name, f"{by} (recorded)", recorded(f"foreign/{folder}"), only32, advised=advised)


ROWS = tuple(_rows())


# Measured -----------------------------------------------------------------------------------------


def measured(row: Format) -> str:
    """The row as the page shows it, every claim of which was just found true."""
    found = [_once(row, dtype) for dtype in row.dtypes]
    refused = found[0][3]
    if refused:
        return f"| {row.name} | no | – | – | – | {refused} | {row.by} |"
    dtypes = ", ".join(dict.fromkeys(dtype for _, kinds, _, _ in found for dtype in kinds))
    biases, _, files, _ = found[0]
    return f"| {row.name} | yes | {biases} | {dtypes} | {files} | – | {row.by} |"


def _once(row: Format, dtype: str) -> tuple[str, list[str], str, str]:
    source = cast(row.base(), getattr(torch, dtype))
    with tempfile.TemporaryDirectory() as name, _quietly():
        folder = Path(name)
        (folder / "tuned").mkdir()
        base = write(folder / "base.safetensors", source)
        tuned = row.make(folder / "tuned", source)
        if row.advised:
            with pytest.raises(BitfitProbeError, match=re.escape(row.advised)) as refusal:
                align(open_checkpoint(base), open_checkpoint(tuned))
            return "", [], "", f"{refusal.value.code}: {refusal.value.advice}"
        opened = open_checkpoint(tuned)
        pairs = [pair for pair in align(open_checkpoint(base), opened).pairs if pair.in_file]
        kinds = dict.fromkeys(tensor.dtype.name for tensor in opened.tensors.values())
        biases = sum(pair.info.kind == "bias" for pair in pairs)
        weights = len({file.path for file in opened.files if file.path.name != ".metadata"})
    return "yes" if biases else "none stored", list(kinds), "yes" if weights > 1 else "one file", ""


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


HEAD = """# Formats that bitfit-probe reads

What a file is, its bytes tell and not its name; of a directory, the names of its files. Values stay in their
files and are read a block at a time, and no pickle is ever run: `torch.save` files, DeepSpeed states and DCP
metadata are *described* instead. Reading needs neither torch nor the library that wrote the file, but for
sparse tensors (torch) and GGUF (`pip install 'bitfit-probe[gguf]'`).

`tests/formats/table.py` writes a file of each format with the library of the last column, reads it, and makes
this table; the tests fail where the page says anything else. *Recorded* files were written by the library
once (`tests/formats/recorded/`, with the scripts and the versions), together with what the library makes of
what it quantised: every value that is read is that one, within one unit in the last place of its type. Where
no library writes a form on a CPU, files are made by its published *definition* and read beside a slow decoder
of it (MXFP4 of gpt-oss beside transformers' own, too); GPTQ and AWQ files are the libraries' own, but their
values are held to the published layout.

| format | read | biases | element types | shards | refused with | written by |
|---|---|---|---|---|---|---|
"""
TAIL = """
## What to know

- **PEFT adapters** are the tuned side; the base is neither loaded nor merged. Each altered tensor is computed
  by rows from the base's and the stored factors in float64, so a change far below the base's rounding is
  still seen. Tensors that the adapter leaves out are judged `not-in-file`: they are the base's own. Adapters
  whose targets the base lacks are the error BE203. Every method and option of peft stands in
  [adapters](adapters.md): read as peft merges it, or refused with what to do (LoRA that started from PiSSA,
  OLoRA, CorDA or LoftQ, QA-LoRA, aLoRA, …). Two adapters are compared
  [by ΔW](diff.md#two-adapters).
  The output projection of `torch.nn.MultiheadAttention` gets s·B·A once, though peft 0.21 adds it twice when
  it merges.
- **LoRA of others**: folders of mlx-lm (`adapters.safetensors`: LoRA, DoRA, whole layers) as it fuses them,
  and loralib's factors alone (`lora_A`, `lora_B`, fused q, k, v too) as it merges them, once
  `adapter_config.json` beside them tells `lora_alpha`. In a whole state dict loralib's factors are named; the
  weights are read as they stand.
- **A dict of biases** is taken as tuned values, not as differences; what it leaves out is `not-in-file`.
- **DeepSpeed ZeRO** is put together by the rule of its own `zero_to_fp32.py`. Models that are split by tensor
  or pipeline parallelism are refused with the command to run.
- **A folder** is read as transformers would read it; then a PEFT adapter, then one weight file of any name,
  counts. Exports (GGUF, ONNX) are taken where nothing that was trained is there, `model.gguf` before
  `model.onnx` before one of any name; last, one file without a suffix that is known by its bytes.
- **GGUF** is read for architectures whose tensors llama.cpp's converter leaves alone (bert, phi2, phi3,
  qwen2, qwen3, stablelm, starcoder2) or rearranges in a way that is undone (llama, gpt2). Of a quantised
  tensor an element counts as moved only where it differs by more than one quantisation step of its block,
  2·max|x| / (2^b − 1); all other figures are those of the dequantised values.
- **Quantised weights** are unpacked by rows from codes and scales, and stand under the weight's own name. An
  element counts as moved only where it differs by more than a step of the quantiser, the way from its level
  to the farther neighbour times the scale of its block; so a base beside its own quantised form is
  `rounding-only`. Where both sides are packed alike, their bytes are compared and nothing is unpacked.
  What quantising lost is listed a tensor. NF4 is unpacked at 230 MB/s of packed bytes a core
  (`python -m benchmarks.unpacking`).
- **GPTQ and AWQ** move weights by more than a step to keep the outputs (AWQ scales channels, too), so their
  matrices are compared with those of the same method alone; beside others they are `quantised`, not compared.
  Other packings may have been filled by GPTQ as well, which a file does not say: their matrices may then be
  told as moved.
- **Not read**: quanto's int4 and int2 (the file lacks the weight's shape), torchao's packed int4 and its
  pickles, HQQ of 1 and 3 bits, GPTQ of 3 bits, Marlin and other layouts for a GPU, scales that HQQ quantised
  again. Where names say so the file is refused, elsewhere such matrices count as `quantised`, not compared.
- **ONNX**: a matrix that the exporter turned and renamed (`onnx::MatMul_123`) gets back its layer's name.
  Weights in `Constant` nodes count as well, and those in branches and loops, as `node.attribute.name`.
- **A whole module**, as `torch.save(model)` pickles it, is read from the tree of its modules: the names are
  those of its `state_dict()`, and no class of it is imported or run. A state dict or a module within a
  training state or another object is found as well. What keeps its tensors in a form of its own (quantised
  layers, parameters that were never initialised) is named and refused.
- **TorchScript**: attributes under their path, as `state_dict()` names them, tensors in lists by their
  number; none of its code is run.
"""


def page() -> str:
    return HEAD + "\n".join(map(measured, ROWS)) + "\n" + TAIL


if __name__ == "__main__" and "--write" in sys.argv:
    PAGE.write_text(page(), encoding="utf-8")
