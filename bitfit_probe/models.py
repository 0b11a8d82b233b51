"""Live models: built from config.json by transformers, filled by our own readers, so that no pickle runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bitfit_probe.architectures import recognise
from bitfit_probe.checkpoint import Checkpoint, Tensor, open_checkpoint
from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    import torch

__all__ = ["Loaded", "Purpose", "load_model", "load_tokenizer", "padding_tokenizer", "quietly", "to_torch"]

#: Which of transformers' automatic classes: with a classification head, bare, or with a language-model head.
Purpose = Literal["classify", "features", "masked-lm", "causal-lm"]

_AUTO = {
    "classify": "AutoModelForSequenceClassification",
    "features": "AutoModel",
    "masked-lm": "AutoModelForMaskedLM",
    "causal-lm": "AutoModelForCausalLM",
}
#: Models whose usual tokenizer is BERT's.
_WORD_PIECE_MODELS = ("bert", "distilbert", "electra")


@dataclass(frozen=True)
class Loaded:
    """A model in evaluation mode, and which of its parameters the checkpoint did not hold.

    Attributes
    ----------
    model
        The ``PreTrainedModel``, in float32 unless asked otherwise.
    missing
        Names of parameters that stayed as they were initialised (a new head, say).
    unexpected
        Names in the checkpoint that the model has no place for.
    reshaped
        Those among `missing` that the checkpoint holds in another shape.
    """

    model: Any
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...] = ()


def to_torch(tensor: Tensor) -> torch.Tensor:
    """The values of a checkpoint's tensor as a torch tensor of its own dtype.

    Raises
    ------
    ModelError
        torch has no such element type.
    """
    torch = _torch()
    dtype = getattr(torch, tensor.dtype.name, None)
    if dtype is None:
        raise ModelError(
            f"{tensor.name} is {tensor.dtype.name}", advice="convert the checkpoint to float32 first"
        )
    if not tensor.size:
        return torch.empty(tensor.shape, dtype=dtype)
    raw = np.empty(tensor.size, tensor.dtype.storage)
    tensor.read(0, tensor.size, raw)
    return torch.from_numpy(raw.view(np.uint8)).view(dtype).reshape(tensor.shape)


def load_model(
    weights: str | Path | Checkpoint,
    *,
    config: str | Path | None = None,
    purpose: Purpose = "classify",
    dtype: str = "float32",
    new_head: bool = False,
    **overrides: Any,
) -> Loaded:
    """Build a model from a checkpoint without downloading or unpickling anything.

    Parameters
    ----------
    weights
        A model directory, a weight file with a config.json beside it, or an open checkpoint.
    config
        Directory whose config.json to use where `weights` has none beside it.
    purpose
        What for.
    dtype
        Element type of the parameters.
    new_head
        Initialise what has another shape in the checkpoint (a head for other classes) instead of refusing it.
    **overrides
        Entries of the config to set, such as ``num_labels=6``.

    Raises
    ------
    MissingExtraError
        torch or transformers is not installed.
    ModelError
        There is no config, transformers does not know it, or the weights don't fit it.
    """
    transformers, torch = _transformers(), _torch()
    checkpoint = weights if isinstance(weights, Checkpoint) else open_checkpoint(weights)
    with quietly():
        settings = _config(checkpoint, config, overrides)
    state = {name: to_torch(tensor) for name, tensor in checkpoint.tensors.items()}
    cls = getattr(transformers, _AUTO[purpose])
    with quietly():
        try:
            model, info = _class(cls, settings).from_pretrained(
                None,
                config=settings,
                state_dict=state,
                output_loading_info=True,
                dtype=getattr(torch, dtype),
                ignore_mismatched_sizes=new_head,
            )
        except (ValueError, RuntimeError, KeyError, AttributeError, TypeError) as error:
            raise ModelError(
                f"does not load as {cls.__name__} ({_first_line(error)})",
                advice="check that config.json belongs to these weights",
                path=checkpoint.path,
            ) from error
    reshaped = {key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]}
    missing = {*info["missing_keys"], *reshaped}
    return Loaded(
        model.eval(),
        tuple(sorted(missing)),
        tuple(sorted(info["unexpected_keys"])),
        tuple(sorted(reshaped)),
    )


def load_tokenizer(folder: str | Path) -> Any:
    """The tokenizer in a model directory, offline and without remote code.

    A directory with a BERT vocabulary and nothing that says how to use it gets BERT's tokenizer.

    Raises
    ------
    ModelError
        There is none that transformers can load, or the vocabulary is none of word pieces.
    """
    transformers, folder = _transformers(), Path(folder)
    with quietly():
        try:
            if _has_bare_vocabulary(folder):
                found = _word_pieces(transformers, folder)
            else:
                found = transformers.AutoTokenizer.from_pretrained(
                    str(folder), local_files_only=True, trust_remote_code=False
                )
            if len(found) <= len(found.all_special_tokens):  # made up from config.json alone
                raise ValueError("there is no vocabulary")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"no tokenizer could be loaded ({_first_line(error)})",
                advice="put the base model's tokenizer files beside the weights",
                path=folder,
            ) from error
    return found


def padding_tokenizer(folder: str | Path) -> Any:
    """The tokenizer with something to pad by: decoders often have nothing but an end of text."""
    tokenizer = load_tokenizer(folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _has_bare_vocabulary(folder: Path) -> bool:
    """Whether a vocab.txt is all there is, of a model that may be a BERT."""
    if not (folder / "vocab.txt").is_file() or (folder / "tokenizer.json").is_file():
        return False
    kind = open_config(folder).get("model_type")
    told = (folder / "tokenizer_config.json").is_file() and kind is not None
    return not told and kind in (None, *_WORD_PIECE_MODELS)


def _word_pieces(transformers: Any, folder: Path) -> Any:
    vocabulary = (folder / "vocab.txt").read_text("utf-8").splitlines()
    if not any(piece.startswith("##") for piece in vocabulary):
        raise ValueError("vocab.txt holds no word pieces (##…), so how texts are cut is not known")
    settings = open_config(folder) | (read_json(folder / "tokenizer_config.json") or {})
    words = (piece for piece in vocabulary if not piece.startswith("["))
    # Without a word from the files: a vocabulary with capitals is of no use to lower-cased text.
    lower = settings.get("do_lower_case", not any(piece != piece.lower() for piece in words))
    limit = settings.get("max_position_embeddings")
    return transformers.BertTokenizerFast(
        vocab={piece: number for number, piece in enumerate(vocabulary)},
        do_lower_case=lower,
        **({"model_max_length": limit} if isinstance(limit, int) else {}),
    )


def _config(checkpoint: Checkpoint, folder: str | Path | None, overrides: dict[str, Any]) -> Any:
    transformers = _transformers()
    home = Path(folder) if folder is not None else checkpoint.folder
    settings = dict(checkpoint.config) if folder is None else dict(open_config(home))
    if not settings:
        raise ModelError("there is no config.json", advice="give the model directory", path=home)
    kind = settings.get("model_type") or recognise(list(checkpoint.tensors), settings).family
    try:
        cls = transformers.models.auto.configuration_auto.CONFIG_MAPPING[kind]
    except KeyError as error:
        raise ModelError(
            f"transformers {transformers.__version__} does not know the model type {kind!r}",
            advice="check config.json",
            path=home,
        ) from error
    settings.pop("model_type", None)
    # Labels of the head are set together, or transformers keeps two names for six classes.
    if "num_labels" in overrides:
        settings.pop("id2label", None)
        settings.pop("label2id", None)
    try:
        return cls(**(settings | overrides))
    except Exception as error:  # each model's config has checks, and errors, of its own
        raise ModelError(
            f"config.json is none of a {kind} ({_last_line(error)})",
            advice="take the config.json that belongs to these weights",
            path=home,
        ) from error


def open_config(folder: Path) -> dict[str, Any]:
    """The config.json in `folder`; empty where there is none."""
    return read_json(folder / "config.json") or {}


def _class(auto: Any, settings: Any) -> Any:
    """The model class behind an automatic class: the automatic one wants a path."""
    cls = auto._model_mapping[type(settings)]
    return cls[0] if isinstance(cls, tuple) else cls


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Neither progress bars nor warnings of transformers on stderr: what matters we say ourselves."""
    logging = _transformers().utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()[:200]


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("this needs torch", advice="pip install 'bitfit-probe[models]'") from error
    return torch


def _transformers() -> Any:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            "this needs transformers", advice="pip install 'bitfit-probe[models]'"
        ) from error
    return transformers
