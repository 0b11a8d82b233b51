"""Both containers of torch.save against torch itself."""

from __future__ import annotations

import argparse
import collections
import enum
import functools
import random
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PosixPath
from typing import Any, Protocol

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.errors import AmbiguousError, BitfitProbeError, NoStateDictError, UnsupportedError

Same = Callable[[Checkpoint, dict[str, torch.Tensor]], None]
FORMATS = {"zip": "torch zip", "legacy": "torch legacy"}


class Save(Protocol):
    kind: str

    def __call__(self, value: Any, **options: Any) -> Path: ...


@pytest.fixture(params=FORMATS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Save:
    def save(value: Any, **options: Any) -> Path:
        path = tmp_path / "file.pt"
        torch.save(value, path, _use_new_zipfile_serialization=request.param == "zip", **options)
        return path

    save.kind = request.param  # type: ignore[attr-defined]
    return save  # type: ignore[return-value]


def views() -> dict[str, torch.Tensor]:
    matrix, cube = torch.arange(12.0).reshape(3, 4), torch.arange(24, dtype=torch.float16).reshape(2, 3, 4)
    return {
        "whole": matrix,
        "transposed": matrix.t(),
        "row_from_the_middle": matrix[1],
        "column": matrix[:, 2],
        "every_other": matrix[::2, 1::2],
        "repeated": torch.tensor([[1.0], [2.0]]).expand(2, 5),
        "repeated_rows": torch.arange(3.0).expand(4, 3),
        "permuted": cube.permute(2, 0, 1),
        "permuted_slice": cube.permute(1, 2, 0)[1:, ::3],
        "scalar_from_a_row": matrix[2, 3],
        "no_rows": matrix[3:],
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_dtype(saved: Save, every_dtype: dict[str, torch.Tensor], same: Same, protocol: int) -> None:
    opened = open_checkpoint(saved(every_dtype, pickle_protocol=protocol))
    same(opened, every_dtype)
    assert opened.format == FORMATS[saved.kind]


def test_views_that_share_storages(saved: Save, same: Same) -> None:
    same(open_checkpoint(saved(views())), views())


def test_a_small_view_of_a_large_storage_reads_only_its_elements(saved: Save, same: Same) -> None:
    large = torch.arange(100_000.0)
    path = saved({"w": large[5000:5010]})
    assert path.stat().st_size > 400_000  # torch saves the whole storage
    opened = open_checkpoint(path)
    same(opened, {"w": large[5000:5010]})
    assert opened.parameters == 10


def test_parameters_and_a_module_with_metadata(saved: Save, same: Same) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    state = module.state_dict()
    assert state._metadata  # what `load_state_dict` needs; it must not become a tensor
    same(open_checkpoint(saved(state)), dict(state))
    same(open_checkpoint(saved(dict(module.named_parameters()))), dict(module.named_parameters()))


def test_a_parameter_with_attributes_and_a_tensor_subclass(saved: Save, same: Same) -> None:
    tagged = torch.nn.Parameter(torch.arange(3.0))
    tagged.partition = 1  # type: ignore[attr-defined]
    same(open_checkpoint(saved({"w": tagged})), {"w": tagged})
    marked = torch.arange(4.0)
    marked.note = "hello"  # type: ignore[attr-defined]
    same(open_checkpoint(saved({"w": marked})), {"w": marked})


@pytest.mark.parametrize(
    ("wrapped", "key"),
    [
        (
            lambda state: {"model": state, "optimizer": {"state": {0: {"exp_avg": state["w"]}}}, "epoch": 3},
            "model",
        ),
        (lambda state: {"state_dict": state, "hyper_parameters": {"lr": 1e-3}}, "state_dict"),
        (lambda state: {"module": state, "dp_world_size": 2}, "module"),
        (lambda state: {"model": {"module": state}}, "model.module"),
    ],
)
def test_nested_state_dicts(saved: Save, same: Same, wrapped: Callable[[Any], Any], key: str) -> None:
    state = {"w": torch.arange(3.0), "b": torch.zeros(2)}
    opened = open_checkpoint(saved(wrapped(state)))
    same(opened, state)
    assert opened.notes == ()
    same(open_checkpoint(saved(wrapped(state)), key), state)


def test_live_weights_win_over_their_average_and_a_note_says_so(saved: Save, same: Same) -> None:
    live, average = {"w": torch.arange(3.0)}, {"w": torch.arange(3.0) + 0.5}
    path = saved({"model": live, "ema": average, "optimizer": {}})
    opened = open_checkpoint(path)
    same(opened, live)
    assert len(opened.notes) == 1
    assert "'model'" in opened.notes[0]
    assert "ema" in opened.notes[0]
    same(open_checkpoint(path, "ema"), average)
    assert open_checkpoint(path, "ema").notes == ()


def test_two_live_models_are_ambiguous_and_both_are_named(saved: Save, same: Same) -> None:
    states = {"generator": {"w": torch.zeros(2)}, "critic": {"w": torch.ones(2)}}
    path = saved(states)
    with pytest.raises(AmbiguousError, match=r"generator.*critic"):
        open_checkpoint(path)
    with pytest.raises(AmbiguousError, match=r"generator.*critic"):
        open_checkpoint(path, "teacher")
    same(open_checkpoint(path, "critic"), states["critic"])


@pytest.mark.parametrize(
    "value", [{}, {"epoch": 3}, [torch.ones(2)], {"a": {"b": "c"}}, {0: torch.ones(2)}, 7]
)
def test_what_maps_no_names_to_tensors(saved: Save, value: Any) -> None:
    with pytest.raises(NoStateDictError):
        open_checkpoint(saved(value))


class Strategy(enum.Enum):
    EPOCH = "epoch"


@dataclass
class TrainingArguments:
    output_dir: str = "out"
    strategy: Strategy = Strategy.EPOCH
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    where: Path = Path("/data")


class Tripwire:
    """Unpickling it would raise."""

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("something was run")

    def __getstate__(self) -> dict[str, int]:
        return {"a": 1}


def test_foreign_objects_beside_the_weights_are_passed_over(saved: Save, same: Same) -> None:
    state = {"w": torch.arange(3.0)}
    everything = {
        "model": state,
        "args": argparse.Namespace(lr=1e-3, path=PosixPath("/tmp/x"), names=["a"]),
        "hyper_parameters": {
            "optimizer": functools.partial(torch.optim.Adam, lr=1e-3),
            "enum": Strategy.EPOCH,
        },
        "bound": getattr(TrainingArguments(), "__repr__"),  # noqa: B009 - pickles builtins.getattr
        "best": np.float64(0.93),
        "scores": np.arange(3),
        "counts": collections.defaultdict(list, {"a": [1], (1, 2): [3]}),
        "counter": collections.Counter("aab"),
        "rng_states": [random.getstate(), np.random.get_state(), torch.get_rng_state()],
        "training_args": TrainingArguments(),
        "tripwire": Tripwire(),
        "slice": slice(0, 2),
        "misc": (
            1 + 2j,
            b"bytes",
            bytearray(b"x"),
            {1, 2},
            frozenset({3}),
            10**30,
            -1.5,
            None,
            True,
            torch.Size([2]),
        ),
        "types": [torch.float16, torch.strided, torch.device("cpu")],
    }
    same(open_checkpoint(saved(everything)), state)


def test_counters_and_texts_within_a_state_dict_are_no_tensors(saved: Save, same: Same) -> None:
    state = {"w": torch.arange(3.0), "b": torch.ones(1)}
    same(open_checkpoint(saved({**state, "version": 2, "_extra_state": None, "name": "x"})), state)


def test_a_defaultdict_and_an_ordered_dict_of_tensors(saved: Save, same: Same) -> None:
    state = {"w": torch.arange(3.0)}
    same(open_checkpoint(saved(collections.defaultdict(list, state))), state)
    same(open_checkpoint(saved(collections.OrderedDict(state))), state)


def test_a_type_that_is_not_read_is_refused_rather_than_misread(saved: Save) -> None:
    if saved.kind == "legacy":
        pytest.skip("torch can't save it so")
    with pytest.raises(UnsupportedError, match="float4_e2m1fn_x2"):
        open_checkpoint(saved({"w": torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)}))


def test_meta_tensors_have_no_data(saved: Save) -> None:
    with pytest.raises(UnsupportedError):
        open_checkpoint(saved({"w": torch.empty(3, device="meta")}))


@pytest.mark.parametrize("key", [None, "model"])
def test_sparse_and_quantised_tensors_come_out_dense(saved: Save, same: Same, key: str | None) -> None:
    dense = torch.tensor([[0.0, 2.0], [3.0, 0.0]])
    with torch.sparse.check_sparse_tensor_invariants(False):
        state = {
            "coo": dense.to_sparse(),
            "csr": dense.to_sparse_csr(),
            "quantised": torch.quantize_per_tensor(dense, 0.5, 0, torch.qint8),
            "plain": torch.arange(3.0),
            "transposed": torch.arange(6.0).reshape(2, 3).t(),
        }
        opened = open_checkpoint(saved({key: state} if key else state))
    same(
        opened,
        {
            "coo": dense,
            "csr": dense,
            "quantised": dense,
            "plain": state["plain"],
            "transposed": state["transposed"],
        },
    )
    assert opened.format == "torch (loaded)"


def test_lazily_negated_and_conjugated_views_have_their_values(saved: Save, same: Same) -> None:
    numbers = torch.tensor([1 + 2j, 3 - 4j])
    negated = numbers.conj().imag
    assert negated.is_neg()
    state = {"negated": negated, "conjugated": numbers.clone().conj(), "plain": torch.ones(2)}
    same(
        open_checkpoint(saved(state)),
        {
            "negated": torch.tensor([-2.0, 4.0]),
            "conjugated": numbers.conj().resolve_conj(),
            "plain": torch.ones(2),
        },
    )


def test_zip_gives_the_checksum_of_whole_storages_only(tmp_path: Path) -> None:
    whole, half = torch.arange(8.0), torch.arange(8.0)
    torch.save({"whole": whole, "half": half[:4]}, tmp_path / "a.pt")
    tensors = open_checkpoint(tmp_path / "a.pt").tensors
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        assert tensors["whole"].crc32 == archive.getinfo("a/data/0").CRC != 0
    assert tensors["half"].crc32 is None


def test_legacy_claims_no_checksum(tmp_path: Path) -> None:
    torch.save({"w": torch.arange(8.0)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert open_checkpoint(tmp_path / "a.pt").tensors["w"].crc32 is None


def test_legacy_pickles_longer_than_the_first_bite(tmp_path: Path, same: Same) -> None:
    # The first megabyte ends somewhere within an opcode: within a text at one length, a number at another.
    for extra in range(12):
        words = {"w": torch.arange(3.0), "words": ["x" * 2000] * 3, "long": "y" * ((1 << 20) - 330 + extra)}
        torch.save(words, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
        same(open_checkpoint(tmp_path / "a.pt"), {"w": words["w"]})


def test_legacy_bite_that_ends_within_the_name_of_a_global(tmp_path: Path, same: Same) -> None:
    state = {f"long{i}": "y" * 87_000 for i in range(12)} | {f"w{i}": torch.ones(1) for i in range(300)}
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "a.pt").read_bytes()
    # Put the end of the first bite into a GLOBAL's module name by growing an earlier text.
    first = data.index(b"ctorch._utils\n")
    state["long0"] += "y" * ((1 << 20) - first - 5)
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert (tmp_path / "a.pt").read_bytes()[: 1 << 20].endswith(b"ctorc")
    same(open_checkpoint(tmp_path / "a.pt"), {name: value for name, value in state.items() if name[0] == "w"})


@settings(max_examples=100, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("whole", [False, True])
def test_any_damage_is_read_or_reported(kind: str, whole: bool, data: st.DataObject) -> None:
    value = torch.nn.Sequential(torch.nn.Linear(2, 2)) if whole else views()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.pt")
        torch.save({"model": value}, path, _use_new_zipfile_serialization=kind == "zip")
        valid = path.read_bytes()
        # Half of the damage goes to the pickle, most of the file being padding and data.
        infos = st.integers(0, len(valid)) | st.integers(0, min(2500, len(valid)))
        at, bite = data.draw(infos), data.draw(st.binary(min_size=1, max_size=6))
        path.write_bytes(
            data.draw(
                st.sampled_from(
                    [
                        valid[:at] + bite + valid[at + len(bite) :],
                        valid[:at],
                        valid[:at] + bite + valid[at:],
                        valid[:at] + valid[at + len(bite) :],
                    ]
                )
            )
        )
        problem = None
        try:
            for tensor in open_checkpoint(path).tensors.values():
                if tensor.dtype.decodable and tensor.size < 10_000:
                    assert tensor.values().shape == tensor.shape
        except BitfitProbeError as error:
            problem = error
        assert problem is None or problem.path == path


def test_a_key_that_is_absent_is_said(tmp_path: Path) -> None:
    """The only state dict is read, and the note tells that it is not the one asked for."""
    path = tmp_path / "x.pt"
    torch.save({"model": {"w": torch.ones(2)}}, path)
    assert open_checkpoint(path, "model").notes == ()
    assert open_checkpoint(path).notes == ()
    assert open_checkpoint(path, "ema").notes == ("holds no 'ema'; read its only state dict",)


def test_an_escape_that_python_deprecates_is_read_without_a_warning() -> None:
    import io
    import warnings

    from bitfit_probe.checkpoint.torch.unpickle import describe

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = describe(io.BytesIO(b"S'a\\hb'\n."), Path("x.pt"))
    assert found.root == "a\\hb"
