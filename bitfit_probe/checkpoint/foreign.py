"""Models of TensorFlow, Keras and JAX: known by names and last bytes, with the conversion to run."""

from __future__ import annotations

import os
import re
from pathlib import Path

from bitfit_probe.checkpoint.storage.tensor import File
from bitfit_probe.errors import UnsupportedError

__all__ = [
    "FLAX_ADVICE",
    "IN_FOLDERS",
    "KERAS_ADVICE",
    "ONLY_ALONE",
    "TF_ADVICE",
    "Kind",
    "file_refusal",
    "table",
]

# Versions 4.51 and 4.57 were tried and fail: they fill the model before its tensors have memory.
_CONVERT = (
    "convert it with transformers 4.49: AutoModel.from_pretrained(DIR, from_{}=True).save_pretrained(OUT)"
)
FLAX_ADVICE, TF_ADVICE = _CONVERT.format("flax"), _CONVERT.format("tf")
_VARIABLES_ADVICE = (
    "convert it with transformers 4.49: for BERT MODEL = BertForPreTraining(CONFIG), "
    "transformers.models.bert.modeling_bert.load_tf_weights_in_bert(MODEL, CONFIG, PREFIX), "
    "MODEL.save_pretrained(OUT)"
)
_ARRAYS_ADVICE = (
    "read its arrays with tf.train.load_checkpoint(PREFIX).get_tensor(NAME), save them with "
    "safetensors.numpy.save_file, and compare two that were converted so"
)
KERAS_ADVICE = (
    "load it with keras, save {w.path: w.numpy() for w in model.weights} with safetensors.numpy.save_file, "
    "and compare two that were converted so"
)
_ORBAX_ADVICE = (
    "restore the folder that holds _METADATA with orbax.checkpoint.StandardCheckpointer().restore(FOLDER), "
    "save flax.traverse_util.flatten_dict(TREE, sep='.') with safetensors.flax.save_file, and compare two "
    "that were converted so"
)

#: A pattern or an ending of a name, what it says, and what to do.
Kind = tuple[str, str, str]
_FLAX = ("a Flax model (msgpack)", FLAX_ADVICE)
_TF_HDF5 = ("a TensorFlow model (HDF5)", TF_ADVICE)
_SAVED = ("a TensorFlow SavedModel", _ARRAYS_ADVICE)
_KERAS = ("a Keras model", KERAS_ADVICE)
_ORBAX = ("an Orbax checkpoint (JAX)", _ORBAX_ADVICE)

#: What the names in a folder say.
IN_FOLDERS: tuple[Kind, ...] = (
    ("flax_model.msgpack", *_FLAX),
    ("flax_model.msgpack.index.json", *_FLAX),
    ("tf_model.h5", *_TF_HDF5),
    ("tf_model.h5.index.json", *_TF_HDF5),
    ("saved_model.pb", *_SAVED),
    ("_CHECKPOINT_METADATA", *_ORBAX),
    ("manifest.ocdbt", *_ORBAX),
)
#: What they say where no file is named as a weight file of PyTorch.
ONLY_ALONE: tuple[Kind, ...] = (
    ("*/_CHECKPOINT_METADATA", *_ORBAX),
    ("*.keras", *_KERAS),
    ("*.h5", *_KERAS),
)
#: What names of single files end in whose bytes do not tell.
_BY_END: tuple[Kind, ...] = (
    (".msgpack", *_FLAX),
    ("tf_model.h5", *_TF_HDF5),
    ("saved_model.pb", *_SAVED),
    ("manifest.ocdbt", *_ORBAX),
    ("_CHECKPOINT_METADATA", *_ORBAX),
    (".keras", *_KERAS),
)

#: What a table of LevelDB ends in. TensorFlow's checkpoints are one, or have one as their index.
_TABLE_END = bytes.fromhex("57fb808b247547db")
#: The first key of a table that tf.train.Checkpoint or tf.saved_model.save wrote.
_OBJECT_GRAPH, _FIRST_BYTES = b"_CHECKPOINTABLE_OBJECT_GRAPH", 4096
_DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")


def file_refusal(path: Path) -> UnsupportedError | None:
    """What to say of the file, or of the prefix of several files, where it is one of theirs."""
    for end, what, advice in _BY_END:
        if path.name.endswith(end):
            return UnsupportedError(what, advice=advice, path=path)
    index = path
    if (data := _DATA.search(path.name)) or not os.path.exists(path):  # noqa: PTH110 - as below
        index = path.with_name(path.name[: data.start() if data else None] + ".index")
    kind = table(index)
    return UnsupportedError(kind[0], advice=kind[1], path=path) if kind else None


def table(path: Path) -> tuple[str, str] | None:
    """The kind of checkpoint of TensorFlow that the file is, or is the index of."""
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where a name is too long
        return None
    file = File(path)
    end = len(_TABLE_END)
    if file.size < end or file.read(file.size - end, end) != _TABLE_END:
        return None
    if _OBJECT_GRAPH in file.read(0, min(file.size, _FIRST_BYTES)):
        return "a TensorFlow checkpoint of objects", _ARRAYS_ADVICE
    return "a TensorFlow checkpoint", _VARIABLES_ADVICE
