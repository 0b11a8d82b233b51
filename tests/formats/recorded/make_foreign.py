"""Write tiny checkpoints with TensorFlow, Keras, Flax and Orbax, and what our advice makes of them.

    python make_foreign.py tensorflow keras hdf5 flax
    python make_foreign.py orbax

The first line was run with TensorFlow 2.21.0, Keras 3.15.1 (tf-keras 2.21.0), Flax 0.10.4 with JAX 0.5.3,
transformers 4.49.0 and torch 2.13.0, the second with Orbax 0.12.8, Flax 0.12.8 and JAX 0.10.2. The weights
are random.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

OUT = Path(__file__).parent / "foreign"
SIZES = {"vocab_size": 4, "hidden_size": 8, "intermediate_size": 8, "max_position_embeddings": 4}
SIZES |= {"num_hidden_layers": 1, "num_attention_heads": 1, "type_vocab_size": 1}


def bert_variables() -> dict[str, tuple[int, ...]]:
    """Names and shapes as in the checkpoints that Google published."""
    out: dict[str, tuple[int, ...]] = {"bert/embeddings/word_embeddings": (4, 8)}
    out |= {"bert/embeddings/position_embeddings": (4, 8), "bert/embeddings/token_type_embeddings": (1, 8)}
    layer, transform = "bert/encoder/layer_0", "cls/predictions/transform"
    modules = ("attention/self/query", "attention/self/key", "attention/self/value")
    modules += ("attention/output/dense", "intermediate/dense", "output/dense")
    for module in (*(f"{layer}/{name}" for name in modules), "bert/pooler/dense", f"{transform}/dense"):
        out |= {f"{module}/kernel": (8, 8), f"{module}/bias": (8,)}
    norms = (f"{layer}/attention/output", f"{layer}/output", "bert/embeddings", transform)
    for module in norms:
        out |= {f"{module}/LayerNorm/gamma": (8,), f"{module}/LayerNorm/beta": (8,)}
    out |= {"cls/predictions/output_bias": (4,), "cls/seq_relationship/output_bias": (2,)}
    return out | {"cls/seq_relationship/output_weights": (2, 8)}


def folder(name: str) -> Path:
    shutil.rmtree(OUT / name, ignore_errors=True)
    (OUT / name).mkdir(parents=True)
    return OUT / name


def keep_plain(model: Any, name: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        shutil.copy(Path(scratch) / "model.safetensors", OUT / f"{name}-plain.safetensors")


def keep_arrays(prefix: Path, name: str) -> None:
    import tensorflow as tf
    from safetensors.numpy import save_file

    reader = tf.train.load_checkpoint(str(prefix))
    arrays = {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
    arrays = {key: array for key, array in arrays.items() if isinstance(array, np.ndarray)}
    save_file(arrays, OUT / f"{name}-plain.safetensors")


def tensorflow() -> None:
    """Both formats of TF 1's Saver, the objects of TF 2, and a SavedModel."""
    import tensorflow as tf
    from transformers import BertConfig, BertForPreTraining
    from transformers.models.bert.modeling_bert import load_tf_weights_in_bert

    v1, rng = tf.compat.v1, np.random.default_rng(0)
    saver, older = folder("tf-saver"), folder("tf-saver-1")
    with tf.Graph().as_default(), v1.Session() as session:
        for name, shape in bert_variables().items():
            v1.get_variable(name, initializer=rng.standard_normal(shape).astype("f"))
        session.run(v1.global_variables_initializer())
        for version, path in ((2, saver / "bert_model.ckpt"), (1, older / "model.ckpt")):
            writer = v1.train.Saver(write_version=version, save_relative_paths=True)
            writer.save(session, str(path), write_meta_graph=False)
    config = BertConfig(**SIZES)
    for name, prefix in (("tf-saver", saver / "bert_model.ckpt"), ("tf-saver-1", older / "model.ckpt")):
        model = BertForPreTraining(config)
        load_tf_weights_in_bert(model, config, str(prefix))
        keep_plain(model, name)

    module = tf.Module()
    module.kernel, module.bias = tf.Variable(tf.ones((2, 3))), tf.Variable(tf.zeros(3))
    keep_arrays(
        Path(tf.train.Checkpoint(model=module).save(str(folder("tf-objects") / "ckpt"))), "tf-objects"
    )
    tf.saved_model.save(module, str(folder("tf-saved")))
    keep_arrays(OUT / "tf-saved" / "variables" / "variables", "tf-saved")


def keras() -> None:
    import keras
    from safetensors.numpy import save_file

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3)])
    model.save(folder("keras") / "model.keras")
    model.save_weights(OUT / "keras" / "model.weights.h5")
    loaded = keras.saving.load_model(OUT / "keras" / "model.keras")
    save_file({w.path: w.numpy() for w in loaded.weights}, OUT / "keras-plain.safetensors")


def hdf5() -> None:
    """What transformers wrote from TensorFlow."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    from transformers import AutoModel, BertConfig, TFBertModel

    model = TFBertModel(BertConfig(**SIZES | {"num_hidden_layers": 0}))
    model.build_in_name_scope()
    model.save_pretrained(folder("tf-hdf5"))
    keep_plain(AutoModel.from_pretrained(OUT / "tf-hdf5", from_tf=True), "tf-hdf5")


def flax() -> None:
    from transformers import AutoModel, BertConfig, FlaxBertModel

    FlaxBertModel(BertConfig(**SIZES)).save_pretrained(folder("flax"))
    keep_plain(AutoModel.from_pretrained(OUT / "flax", from_flax=True), "flax")


def orbax() -> None:
    """One tree as its three checkpointers and its manager write it."""
    import orbax.checkpoint as ocp
    from flax.traverse_util import flatten_dict
    from safetensors.flax import save_file

    layer = {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.ones(3, np.float32)}
    tree = {"encoder": {"layer_0": layer}}
    folder("orbax")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        ocp.StandardCheckpointer().save(scratch / "standard", tree)
        ocp.PyTreeCheckpointer(use_ocdbt=False).save(scratch / "zarr", tree)
        ocp.v1.save(scratch / "v1", tree)
        with ocp.CheckpointManager(scratch / "manager") as manager:
            manager.save(1, args=ocp.args.StandardSave(tree))
        for kind in ("standard", "zarr", "v1", "manager"):
            # The mark of success holds nothing but the path of the temporary folder.
            shutil.copytree(scratch / kind, OUT / "orbax" / kind, ignore=shutil.ignore_patterns("commit_*"))
    for kind, state in (("standard", "."), ("zarr", "."), ("v1", "state"), ("manager", "1/default")):
        restored = ocp.StandardCheckpointer().restore((OUT / "orbax" / kind / state).resolve())
        save_file(flatten_dict(restored, sep="."), OUT / f"orbax-{kind}-plain.safetensors")


if __name__ == "__main__":
    os.environ |= {"HF_HUB_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    for maker in sys.argv[1:]:
        globals()[maker]()
