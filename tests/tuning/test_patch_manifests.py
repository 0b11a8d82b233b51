"""Patches that someone crafted, with a right hash: refused by `verify` and `apply` alike, in one line.

And whatever `verify` accepts, `apply` can apply.
"""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import bitfit_probe as bp
from bitfit_probe.cli import main
from bitfit_probe.errors import PatchError

KEY, HASH = "bitfit_probe.patch", "bitfit_probe.sha256"
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
WEIGHT, BIAS, HEAD = "layer.weight", "layer.bias", "head.weight"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base of a matrix and a bias, and the patch of a moved bias and a new head."""
    folder = tmp_path_factory.mktemp("made")
    base = {WEIGHT: torch.arange(12.0).reshape(3, 4), BIAS: torch.zeros(3)}
    (folder / "base").mkdir()
    save_file(base, folder / "base/model.safetensors", {"format": "pt"})
    (folder / "base/config.json").write_text('{"model_type": "bert"}')
    (folder / "tuned").mkdir()
    tuned = base | {BIAS: torch.ones(3), HEAD: torch.ones(2, 3)}
    save_file(tuned, folder / "tuned/model.safetensors", {"format": "pt"})
    (folder / "tuned/config.json").write_text('{"model_type": "bert", "id2label": {"0": "a", "1": "b"}}')
    bp.extract_patch(folder / "base", folder / "tuned", folder / "patch.safetensors", allow_matrices=True)
    return folder


def manifest_of(patch: Path) -> dict[str, Any]:
    with safe_open(patch, "pt") as opened:
        loaded: dict[str, Any] = json.loads(opened.metadata()[KEY])
    return loaded


def forge(made: Path, manifest: Any, out: Path, *, text: str | None = None) -> Path:
    """The patch with another manifest, whose hash is right."""
    text = json.dumps(manifest) if text is None else text
    header_hash = hashlib.sha256(text.encode()).hexdigest()
    save_file(load_file(made / "patch.safetensors"), out, {"format": "pt", KEY: text, HASH: header_hash})
    return out


#: Where in the manifest something else is put, and what. An absent key is deleted.
GONE = object()
SHA = "0" * 64
CRAFTED: list[tuple[str, list[Any], Any]] = [
    ("the version is a text", ["format_version"], "1"),
    ("the version is true", ["format_version"], True),
    ("the version is negative", ["format_version"], -1),
    ("no version", ["format_version"], GONE),
    ("no layout", ["layout"], GONE),
    ("a key more", ["more"], 1),
    ("digest is a number", ["base_digest"], 5),
    ("digest is short", ["base_digest"], "abc"),
    ("digest of something else", ["base_digest"], SHA),
    ("base is a list", ["base"], []),
    ("base is empty", ["base"], {}),
    ("an entry is a text", ["base", WEIGHT], "F32"),
    ("an entry has a key more", ["base", WEIGHT, "offset"], 0),
    ("an entry has no shape", ["base", WEIGHT, "shape"], GONE),
    ("a shape is a number", ["base", WEIGHT, "shape"], 12),
    ("a size is negative", ["base", WEIGHT, "shape"], [-3, -4]),
    ("a size is a float", ["base", WEIGHT, "shape"], [3.0, 4]),
    ("a size is true", ["tensors", BIAS, "shape"], [True, 3]),
    ("a size is a text", ["base", WEIGHT, "shape"], ["3", 4]),
    ("a size is beyond memory", ["base", WEIGHT, "shape"], [1 << 62, 1 << 62]),
    ("a size is beyond every machine", ["base", WEIGHT, "shape"], [10**400]),
    ("axes beyond numpy", ["base", WEIGHT, "shape"], [1] * 1000),
    ("a dtype is unknown", ["base", WEIGHT, "dtype"], "float7"),
    ("a dtype is a list", ["base", WEIGHT, "dtype"], ["float32"]),
    ("a dtype is another", ["tensors", BIAS, "dtype"], "int32"),
    ("a hash is upper case", ["base", WEIGHT, "sha256"], "A" * 64),
    ("a hash is null", ["tensors", BIAS, "sha256"], None),
    ("a hash is another", ["tensors", BIAS, "sha256"], SHA),
    ("tensors is null", ["tensors"], None),
    ("a tensor that the file lacks", ["tensors", "ghost"], {"dtype": "float32", "shape": [1], "sha256": SHA}),
    ("a tensor less", ["tensors", HEAD], GONE),
    ("layout is a list", ["layout"], [WEIGHT]),
    ("layout is empty", ["layout"], {}),
    ("layout names a base tensor that is absent", ["layout", WEIGHT], "ghost"),
    ("layout names a number", ["layout", WEIGHT], 3),
    ("layout takes from the patch what it lacks", ["layout", WEIGHT], None),
    ("layout leaves a tensor of the patch out", ["layout", BIAS], BIAS),
    ("layout has the header's own name", ["layout", "__metadata__"], WEIGHT),
    ("layout has half of a surrogate pair", ["layout", "\ud800"], WEIGHT),
    ("replaced is null", ["replaced"], None),
    ("replaced lacks a tensor", ["replaced", BIAS], GONE),
    ("replaced names an absent one", ["replaced", BIAS], "ghost"),
    ("replaced has a list", ["replaced", BIAS], [BIAS]),
    ("roles is a list", ["roles"], [1, 2]),
    ("a role counts negative", ["roles", "q"], -1),
    ("a role counts a text", ["roles", "q"], "many"),
    ("a role counts more than there is", ["roles", "q"], 10**30),
    ("config is null", ["config"], None),
    ("config is a list", ["config"], []),
    ("config has half of a surrogate pair", ["config", "name"], "\udfff"),
    ("card is a list", ["card"], [1]),
    ("card's settings are a text", ["card"], {"settings": "bitfit"}),
    ("made_by is a number", ["made_by"], 1),
]


def crafted(manifest: dict[str, Any], at: list[Any], value: Any) -> dict[str, Any]:
    out = copy.deepcopy(manifest)
    *way, last = at
    place: Any = out
    for step in way:
        place = place[step]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return out


def refused_alike(made: Path, patch: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `verify` and `apply` both say in their one line, nothing being written."""
    said = []
    before = sorted(patch.parent.iterdir())
    for command in (
        ["verify", made / "base", patch],
        ["apply", made / "base", patch, "-o", patch.with_name("again")],
        ["apply", made / "base", patch, "-o", patch.with_name("again.safetensors")],
    ):
        with pytest.raises(SystemExit) as ended:
            main(["patch", *map(str, command)])
        out, err = capsys.readouterr()
        assert (ended.value.code, out, err.count("\n")) == (2, "", 1)
        said.append(err)
    assert len(set(said)) == 1
    assert sorted(patch.parent.iterdir()) == before
    return said[0]


@pytest.mark.parametrize(("at", "value"), [row[1:] for row in CRAFTED], ids=[row[0] for row in CRAFTED])
def test_a_crafted_manifest_is_refused_by_both(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], at: list[Any], value: Any
) -> None:
    manifest = crafted(manifest_of(made / "patch.safetensors"), at, value)
    said = refused_alike(made, forge(made, manifest, tmp_path / "patch.safetensors"), capsys)
    assert said.startswith(("error BE600: ", "error BE602: "))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "7",
        '"text"',
        "{",
        '{"format_version": 1}',
        "[" * 100_000,
        '{"base": {}, "base": {}}',
    ],
    ids=["nothing", "list", "null", "number", "text", "cut", "empty", "deep", "twice"],
)
def test_a_manifest_that_is_no_object_is_refused_by_both(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    refused_alike(made, forge(made, None, tmp_path / "patch.safetensors", text=text), capsys)


def test_a_small_patch_writes_no_large_model(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # 2,000 names for one tensor of the base: 150 KB that would make gigabytes of a real base.
    manifest = manifest_of(made / "patch.safetensors")
    manifest["layout"] |= {f"copy.{number}": WEIGHT for number in range(2_000)}
    said = refused_alike(made, forge(made, manifest, tmp_path / "patch.safetensors"), capsys)
    assert "2,001 times, more than 4" in said


def test_four_names_of_one_tensor_are_applied(made: Path, tmp_path: Path) -> None:
    # As many as T5 has for its table of words.
    manifest = manifest_of(made / "patch.safetensors")
    manifest["layout"] |= {f"copy.{number}": WEIGHT for number in range(3)}
    patch = forge(made, manifest, tmp_path / "patch.safetensors")
    bp.verify_patch(made / "base", patch)
    bp.apply_patch(made / "base", patch, tmp_path / "again.safetensors")
    again = load_file(tmp_path / "again.safetensors")
    assert all(torch.equal(again[f"copy.{number}"], again[WEIGHT]) for number in range(3))


def test_a_description_that_utf8_cannot_hold(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = json.dumps({"__metadata__": {"format": "pt", KEY: "\ud800", HASH: SHA}}).encode()
    patch = tmp_path / "patch.safetensors"
    patch.write_bytes(len(header).to_bytes(8, "little") + header)
    refused_alike(made, patch, capsys)


SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS | st.sampled_from([WEIGHT, BIAS, HEAD, SHA, "float32"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to everything inside a JSON value."""
    keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((*way, key), *places(value[key], (*way, key)))]


@settings(max_examples=300, deadline=None, suppress_health_check=SHARED)
@given(st.data())
def test_what_verify_accepts_apply_applies(made: Path, tmp_path: Path, data: st.DataObject) -> None:
    manifest = manifest_of(made / "patch.safetensors")
    for _ in range(data.draw(st.integers(1, 3))):
        at = list(data.draw(st.sampled_from(places(manifest))))
        if data.draw(st.booleans()) and len(at) == 2:  # another name, in objects of names
            at[-1] = data.draw(st.text(max_size=5))
        try:
            manifest = crafted(manifest, at, data.draw(VALUES | st.just(GONE)))
        except (KeyError, TypeError):  # deleting what is not there, or naming a place in a list
            continue
    patch = forge(made, manifest, tmp_path / "patch.safetensors")
    out = tmp_path / "again.safetensors"
    out.unlink(missing_ok=True)
    try:
        bp.verify_patch(made / "base", patch)
    except PatchError as error:
        with pytest.raises(type(error)):
            bp.apply_patch(made / "base", patch, out)
        assert not out.exists()
        return
    bp.apply_patch(made / "base", patch, out)
    assert load_file(out).keys() == manifest["layout"].keys()
