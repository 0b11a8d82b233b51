"""Tokenizers from model directories, offline and without a class or a file that the directory names.

transformers reads a folder that holds the vocabulary files and what of the settings is on the list
(`tokenizer_files`), and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bitfit_probe.architectures import family_of
from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.errors import ModelError, OutputError
from bitfit_probe.inference.config import open_config
from bitfit_probe.inference.libraries import first_line, is_panic, quietly, transformers_library
from bitfit_probe.inference.tokenizer_files import (
    has_vocabulary,
    is_tokenizer_class,
    plain_tokenizer_settings,
    stage,
)
from bitfit_probe.outputs import scratch_folder, told_as_output

__all__ = ["load_tokenizer", "padding_tokenizer", "tokenizer_folder"]


def load_tokenizer(folder: str | Path) -> Any:
    """The tokenizer in a model directory, offline and without remote code.

    A directory with a BERT vocabulary and nothing that says how to use it gets BERT's tokenizer.

    Raises
    ------
    ModelError
        There is none that transformers can load, or the vocabulary is none of word pieces.
    """
    transformers, folder = transformers_library(), Path(folder)
    with quietly():
        try:
            if _has_bare_vocabulary(folder):
                found = _word_pieces(transformers, folder)
            else:
                found = _staged(transformers, folder)
            if len(found) <= len(found.all_special_tokens):  # made up from config.json alone
                raise ValueError("there is no vocabulary")
        except OutputError:
            raise
        except BaseException as error:  # a class of its own behind each vocabulary, and Rust behind some
            if not isinstance(error, Exception) and not is_panic(error):
                raise
            raise ModelError(
                f"no tokenizer could be loaded ({first_line(error)})",
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


def tokenizer_folder(folders: Sequence[Path]) -> Path:
    """The first of these folders with a vocabulary in it, or else the first."""
    return next((folder for folder in folders if has_vocabulary(folder)), folders[0])


def _staged(transformers: Any, folder: Path) -> Any:
    """What transformers makes of the files that are on the list."""
    with scratch_folder() as place:
        with told_as_output(place):
            stage(folder, place)
        found = transformers.AutoTokenizer.from_pretrained(
            str(place), config=_config(transformers, folder), local_files_only=True, trust_remote_code=False
        )
    found.name_or_path = str(folder)
    found.init_kwargs["name_or_path"] = str(folder)
    return found


def _config(transformers: Any, folder: Path) -> Any:
    """Which tokenizer a model's kind has by default: all that config.json is asked for here."""
    said = open_config(folder)
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    kind = said.get("model_type")
    plain = isinstance(kind, str) and kind in known and not kind.startswith("timm")
    try:
        config = known[kind]() if plain else transformers.PreTrainedConfig()
    except (ValueError, TypeError, KeyError):  # a kind that is nothing without its parts
        config = transformers.PreTrainedConfig()
    if is_tokenizer_class(said.get("tokenizer_class")):
        config.tokenizer_class = said["tokenizer_class"]
    return config


def _has_bare_vocabulary(folder: Path) -> bool:
    """Whether a vocab.txt is all there is, of a model that may be a BERT."""
    if not (folder / "vocab.txt").is_file() or (folder / "tokenizer.json").is_file():
        return False
    kind = open_config(folder).get("model_type")
    told = (folder / "tokenizer_config.json").is_file() and kind is not None
    family = family_of(kind) if isinstance(kind, str) else None
    return not told and (kind is None or (family is not None and family.tokenizer == "word pieces"))


def _word_pieces(transformers: Any, folder: Path) -> Any:
    vocabulary = (folder / "vocab.txt").read_text("utf-8").splitlines()
    if not any(piece.startswith("##") for piece in vocabulary):
        raise ValueError("vocab.txt holds no word pieces (##…), so how texts are cut is not known")
    told = plain_tokenizer_settings(read_json(folder / "tokenizer_config.json") or {})
    settings = open_config(folder) | told
    words = (piece for piece in vocabulary if not piece.startswith("["))
    # Without a word from the files: a vocabulary with capitals is of no use to lower-cased text.
    lower = settings.get("do_lower_case", not any(piece != piece.lower() for piece in words))
    limit = settings.get("max_position_embeddings")
    return transformers.BertTokenizerFast(
        vocab={piece: number for number, piece in enumerate(vocabulary)},
        do_lower_case=bool(lower),
        **({"model_max_length": limit} if isinstance(limit, int) else {}),
    )
