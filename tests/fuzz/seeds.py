"""Write the inputs that the fuzzer begins with: ``python tests/fuzz/seeds.py``."""

from __future__ import annotations

import argparse
import collections
import io
import json
import pickle
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from bad_input.builders import tensor_pickle  # noqa: E402
from seeds_beside import SEEDS  # noqa: E402

STATE = {"a.bias": torch.arange(4.0), "a.weight": torch.ones(2, 4)}


def _torch(value: object, *, new: bool = True) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=new)
    return out.getvalue()


def _pickle_of(archive: bytes) -> bytes:
    return torch._C.PyTorchFileReader(io.BytesIO(archive)).get_record("data.pkl")  # type: ignore[no-any-return]


def _values() -> Iterator[tuple[str, object]]:
    """What people save: state dicts, wrapped ones, views, parameters, whole modules."""
    yield "plain", STATE
    yield "ordered", collections.OrderedDict(STATE)
    yield "wrapped", {"epoch": 3, "model": STATE, "ema": STATE, "optimizer": {"state": {0: {"step": 1.5}}}}
    yield "views", {"t": torch.ones(3, 4).t(), "part": torch.arange(9.0)[2:5], "scalar": torch.tensor(1.0)}
    yield "types", {name: torch.ones(2, dtype=getattr(torch, name)) for name in ("bfloat16", "int64", "bool")}
    yield "parameter", {"p": torch.nn.Parameter(torch.ones(2))}
    yield "module", torch.nn.Linear(2, 2)
    yield "arguments", {"args": argparse.Namespace(lr=1e-3, names=("a", "b")), "model": STATE}
    yield "list", [STATE, {1, 2}, b"bytes", None, 1 << 70]


def torch_seeds() -> Iterator[tuple[str, bytes]]:
    for name, value in _values():
        archive = _torch(value)
        if len(archive) < 4096:
            yield f"zip-{name}", archive
        yield f"pickle-{name}", b"Z" + _pickle_of(archive)
        yield f"legacy-{name}", _torch(value, new=False)
    yield "forged", b"Z" + tensor_pickle(shape=(2, 2), strides=(2, 1))
    yield "forged-legacy", b"L" + tensor_pickle(view=(None,))
    for protocol in range(6):
        value = [{"a": (1, 2.5, "x", b"y", None, True)}, {1}]
        yield f"protocol-{protocol}", b"Z" + pickle.dumps(value, protocol)


def safetensors_seeds() -> Iterator[tuple[str, bytes]]:
    yield "plain", save(STATE)
    yield "metadata", save(STATE, {"format": "pt"})
    types = ("float64", "float16", "bfloat16", "float8_e4m3fn", "int64", "uint8", "bool", "complex64")
    yield "types", save({name: torch.ones(2, dtype=getattr(torch, name)) for name in types})
    yield "shapes", save({"scalar": torch.tensor(1.0), "none": torch.empty(0), "cube": torch.ones(1, 2, 1)})


def index_seeds() -> Iterator[tuple[str, bytes]]:
    one = "one.safetensors"
    yield "index", json.dumps({"metadata": {"total_size": 16}, "weight_map": {"w.bias": one}}).encode()
    yield "climbs", json.dumps({"weight_map": {"w.bias": f"../sharded/{one}", "v": "/dev/zero"}}).encode()
    yield "config", json.dumps({"model_type": "bert", "num_labels": 2, "id2label": {"0": "a"}}).encode()


def directory_seeds() -> Iterator[tuple[str, bytes]]:
    header = json.dumps({"w.bias": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}).encode()
    if b"\n" in (length := struct.pack("<Q", len(header))):
        header += b" "
        length = struct.pack("<Q", len(header))
    weights = length + header + b"ab"
    index = json.dumps({"weight_map": {"w.bias": "one.safetensors"}}).encode()
    yield "single", b"model.safetensors|file|" + weights + b'\nconfig.json|file|{"model_type": "bert"}'
    yield "sharded", b"one.safetensors|file|" + weights + b"\nmodel.safetensors.index.json|file|" + index
    yield "links", b"model.safetensors|link|/dev/zero\nconfig.json|pipe|\nx.bin|folder|"
    table = bytes(40) + bytes.fromhex("57fb808b247547db")
    yield "tensorflow", b"ckpt-1.index|file|" + table + b"\nx.h5|file|\n1/_METADATA|file|{}"
    yield "other", b"a.bin|file|" + weights + b"\nadapter_config.json|file|{}\ncheckpoint-3|folder|"


def gguf_seeds() -> Iterator[tuple[str, bytes]]:
    import gguf
    import numpy as np

    kinds = {"plain": None, "q8": gguf.GGMLQuantizationType.Q8_0, "q4": gguf.GGMLQuantizationType.Q4_0}
    for architecture in ("bert", "gpt2", "llama"):
        for name, kind in kinds.items():
            with tempfile.TemporaryDirectory() as folder:
                writer = gguf.GGUFWriter(Path(folder) / "x.gguf", architecture)
                writer.add_head_count(2)
                value = np.ones((4, 32), np.float32)
                data = value if kind is None else gguf.quants.quantize(value, kind)
                writer.add_tensor("blk.0.attn_q.weight", data, raw_dtype=kind)
                writer.add_tensor("blk.0.attn_q.bias", np.ones(4, np.float16))
                writer.write_header_to_file()
                writer.write_kv_data_to_file()
                writer.write_tensors_to_file()
                writer.close()
                yield f"{architecture}-{name}", (Path(folder) / "x.gguf").read_bytes()


def onnx_seeds() -> Iterator[tuple[str, bytes]]:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    plain = [numpy_helper.from_array(np.ones((2, 3), np.float32), "onnx::MatMul_1")]
    plain.append(numpy_helper.from_array(np.ones(3, np.float32), "layer.bias"))
    packed = helper.make_tensor("half", TensorProto.FLOAT16, [2], np.ones(2, np.float16))
    external = numpy_helper.from_array(np.ones(2, np.float32), "outside")
    external.ClearField("raw_data")
    external.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "x.data"), ("offset", "0"), ("length", "8")):
        external.external_data.add(key=key, value=value)
    nodes = [helper.make_node("MatMul", ["x", "onnx::MatMul_1"], ["y"], "/layer/MatMul")]
    nodes.append(helper.make_node("Add", ["layer.bias", "y"], ["z"], "/layer/Add"))
    for name, tensors in (("plain", plain), ("packed", [packed]), ("external", [external])):
        graph = helper.make_graph(nodes, "g", [], [], tensors)
        yield name, helper.make_model(graph).SerializeToString()


def distributed_seeds() -> Iterator[tuple[str, bytes]]:
    import torch.distributed.checkpoint as dcp

    for name, state in (("flat", STATE), ("nested", {"model": STATE, "epoch": 3})):
        with tempfile.TemporaryDirectory() as folder:
            dcp.save(state, checkpoint_id=folder, no_dist=True)
            metadata, shard = ((Path(folder) / part).read_bytes() for part in (".metadata", "__0_0.distcp"))
            yield name, struct.pack("<I", len(metadata)) + metadata + shard


def zero_seeds() -> Iterator[tuple[str, bytes]]:
    """The pickles that DeepSpeed wrote, of one rank each, and a checkpoint that holds no partitions."""
    for stage in (1, 2, 3):
        step = HERE.parent / "formats" / "recorded" / "deepspeed" / f"zero{stage}" / "global_step1"
        model, optimizer = (
            _pickle_of(min(step.glob(f"*_{kind}_states.pt")).read_bytes()) for kind in ("model", "optim")
        )
        yield f"stage-{stage}", b"\x01" + struct.pack("<H", len(model)) + model + optimizer
    model, optimizer = (pickle.dumps(state, 2) for state in ({"module": {}}, {"optimizer_state_dict": {}}))
    yield "empty", b"\x00" + struct.pack("<H", len(model)) + model + optimizer


def main() -> None:
    seeds = {
        "torch": torch_seeds,
        "safetensors": safetensors_seeds,
        "gguf": gguf_seeds,
        "onnx": onnx_seeds,
        "distributed": distributed_seeds,
        "zero": zero_seeds,
        "index": index_seeds,
        "directory": directory_seeds,
        **SEEDS,
    }
    for target, make in seeds.items():
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in make():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
