"""Settings files beside the weights against the base's: modules, their settings, prompts, preprocessors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.checkpoint.layouts.sentence_transformers import listed_modules
from bitfit_probe.promises.case import Case
from bitfit_probe.promises.meanings import Meaning
from bitfit_probe.promises.same_settings import Known, same_settings
from bitfit_probe.records.promises import Promise
from bitfit_probe.wording import join_names, plural

__all__ = ["promises"]


class _Table(NamedTuple):
    """What the settings of a kind of file do, and which may differ; whole names or their last parts."""

    meanings: Mapping[str, Meaning]
    harmless: str = r"_.*|transformers_version"

    def meaning(self, key: str) -> Meaning | None:
        return next((means for pattern, means in self.meanings.items() if _matches(pattern, key)), None)

    def is_harmless(self, key: str) -> bool:
        return _matches(self.harmless, key)


#: Settings of sentence-transformers' modules, by the last part of their type.
_MODULES = {
    "Pooling": _Table(
        {
            r"pooling_mode": Meaning("makes another vector of the same tokens"),
            r"include_prompt": Meaning("counts the tokens of the prompt in, or no longer", "warning"),
        },
        r"(word_)?embedding_dimension",
    ),
    "Dense": _Table(
        {
            r"activation_function": Meaning("puts another function behind the matrix"),
            r"bias": Meaning("builds another layer than the file holds"),
            r"module_(in|out)put_name": Meaning("reads or writes other features"),
        },
        r"(in|out)_features",  # the matrix itself tells
    ),
    "Transformer": _Table(
        {
            r"max_seq_length": Meaning("cuts texts at another length", "warning"),
            r"do_lower_case": Meaning("reads texts in another case"),
        }
    ),
}
#: Modules whose loss changes the length of the output alone, or nothing outside training.
_LESSER = ("Normalize", "Dropout")
#: Names under which sentence-transformers wrote the settings of its first module over time.
_OF_TRANSFORMERS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_PROMPTS = _Table(
    {
        r"prompts\..*|default_prompt_name": Meaning("sets other words before the same texts", "warning"),
        r"similarity_fn_name": Meaning("compares embeddings by another measure", "warning"),
    },
    r"__version__.*|model_type",
)
_PREPROCESSOR = _Table(
    {
        r"(image_)?(mean|std)|rescale_(factor|offset)|do_(normalize|rescale)": Meaning(
            "hands the model other numbers for the same input"
        ),
        r"sampling_rate|feature_size|num_mel_bins|n_fft|hop_length|win_(length|function)|frame_.*|mel_.*"
        r"|(min|max)imum_frequency|do_ceptral_normalize": Meaning(
            "computes other features of the same sound"
        ),
        r"image_token|video_token|audio_token": Meaning("marks the place of an image by another token"),
        r"num_additional_image_tokens|image_seq(_len|_length)?|vision_feature_select_strategy|patch_size"
        r"|(temporal_patch|merge)_size": Meaning("lays another number of patches into the model"),
        r"(.*\.)?(crop_)?size(\..*)?|(min|max)_pixels|crop_pct"
        r"|do_(resize|center_crop|pad|convert_rgb)": Meaning("cuts images in another way", "warning"),
        r"resample": Meaning("interpolates images in another way", "info"),
    },
    r"_.*|.*_type|.*_class|return_.*|auto_map|(input_)?data_format|device|default_to_square|.*transformers_version"
    r"|chat_template",
)
#: Preprocessors by the file that version 4 of transformers writes, and their places in version 5's one file.
_ONE_FILE = "processor_config.json"
_PREPROCESSORS = {
    "preprocessor_config.json": ("image_processor", "feature_extractor", "audio_processor"),
    "video_preprocessor_config.json": ("video_processor",),
}


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _matches(pattern: str, key: str) -> bool:
    return any(_compiled(pattern).fullmatch(name) for name in (key, key.rpartition(".")[2]))


def promises(case: Case) -> Iterator[Promise]:
    """What both sides have; a file that one of them lacks is not compared."""
    if case.base is None:
        return
    ours, theirs = _modules(case.base), _modules(case.tuned)
    if ours and theirs:
        yield from _listing(list(ours.values()), list(theirs.values()))
        yield from _settings_of_modules(case.base, case.tuned)
    yield from _same("config_sentence_transformers.json", _PROMPTS, *_prompts(case.base, case.tuned))
    before, after = _processors(case.base), _processors(case.tuned)
    for file in before:
        yield from _same(file, _PREPROCESSOR, before[file], after[file])


def _same(file: str, table: _Table, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Promise]:
    if before and after:
        yield from same_settings(file, before, after, Known(table.meaning, table.is_harmless))


def _root(checkpoint: Checkpoint) -> Path:
    """Where modules.json lies; the first module may have a folder of its own."""
    return checkpoint.path if checkpoint.path.is_dir() else checkpoint.folder


def _modules(checkpoint: Checkpoint) -> dict[Path, str]:
    """Types of the modules of sentence-transformers by their folders, in their order."""
    root = _root(checkpoint)
    return {folder: kind.rpartition(".")[2] for folder, kind in listed_modules(root)}


def _listing(before: list[str], after: list[str]) -> Iterator[Promise]:
    lost = list((Counter(before) - Counter(after)).elements())
    common = Counter(before) & Counter(after)
    turned = not lost and [kind for kind in before if common[kind]] != [
        kind for kind in after if common[kind]
    ]
    found = f"no {join_names(lost)}" if lost else f"{join_names(after, len(after))}, in another order"
    yield Promise(
        "settings",
        "the base's modules.json",
        f"the {plural(len(before), 'module')} {join_names(before, len(before))}",
        found if lost or turned else "all of them",
        "broken" if lost or turned else "kept",
        loader="it loads without a word and leaves that step out" if lost else "it runs them in that order",
        first="what wrote modules.json",
        severity="warning" if lost and set(lost) <= set(_LESSER) else "error",
        subjects=tuple(f"modules.json: {kind}" for kind in lost) or ("modules.json",),
    )


def _settings_of_modules(base: Checkpoint, tuned: Checkpoint) -> Iterator[Promise]:
    """The n-th module of a type against the base's n-th."""
    ours, theirs = (dict(_numbered(_modules(side))) for side in (base, tuned))
    for module in filter(theirs.__contains__, ours):
        table = _MODULES.get(module[0], _Table({}))
        name, before = _module_settings(ours[module], module[0])
        _, after = _module_settings(theirs[module], module[0])
        place = ours[module].relative_to(_root(base))
        yield from _same((place / name).as_posix(), table, before, after)


def _numbered(modules: Mapping[Path, str]) -> Iterator[tuple[tuple[str, int], Path]]:
    seen: Counter[str] = Counter()
    for folder, kind in modules.items():
        yield (kind, seen[kind]), folder
        seen[kind] += 1


def _module_settings(folder: Path, kind: str) -> tuple[str, dict[str, Any]]:
    """A module's settings and the file; pooling by its modes, an activation without its module."""
    names = _OF_TRANSFORMERS if kind == "Transformer" else ("config.json",)
    name, found = next(((name, read) for name in names if (read := read_json(folder / name))), (names[0], {}))
    if kind == "Pooling":
        found = _pooling(found)
    function = found.get("activation_function")
    if isinstance(function, str):
        found["activation_function"] = function.rpartition(".")[2]
    return name, found


def _pooling(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with the modes that are switched on under one name, as newer versions write them."""
    flags = [key for key in settings if key.startswith("pooling_mode_")]
    modes = [flag for flag in flags if settings[flag] is True] or [settings.get("pooling_mode") or ""]
    names = sorted(re.sub(r"^pooling_mode_|_?tokens?$", "", str(mode)) for mode in modes)
    plain = {key: value for key, value in settings.items() if key not in flags}
    return plain | {"pooling_mode": " and ".join(names) or None}


def _prompts(base: Checkpoint, tuned: Checkpoint) -> tuple[dict[str, Any], dict[str, Any]]:
    """Prompts of the base that are no longer there are empty."""
    before, after = (
        read_json(_root(side) / "config_sentence_transformers.json") or {} for side in (base, tuned)
    )
    named = before.get("prompts")
    if isinstance(named, dict) and after:
        theirs = after.get("prompts")
        after["prompts"] = dict.fromkeys(named, "") | (theirs if isinstance(theirs, dict) else {})
    return before, after


def _processors(checkpoint: Checkpoint) -> dict[str, dict[str, Any]]:
    """Settings of preprocessors by file, whichever version of transformers wrote them."""
    rest = read_json(_root(checkpoint) / _ONE_FILE) or {}
    found = {}
    for file, places in _PREPROCESSORS.items():
        inner = [part for place in places if isinstance(part := rest.pop(place, None), dict)]
        found[file] = {key: value for part in inner for key, value in part.items()}
        found[file] |= read_json(_root(checkpoint) / file) or {}
    return found | {_ONE_FILE: rest}
