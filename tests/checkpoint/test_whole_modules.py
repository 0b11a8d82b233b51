"""What ``torch.save(model)`` writes, against the state dict of the same module."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.builders import model

import bitfit_probe
from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.errors import AmbiguousError, CorruptError, UnsupportedError

Same = Callable[[Checkpoint, dict[str, torch.Tensor]], None]
RECORDED = Path(__file__).parents[1] / "formats" / "recorded" / "modules"
LEGACY = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])


def save(value: Any, path: Path, legacy: bool = False) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


def tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in module.state_dict().items() if isinstance(value, torch.Tensor)}


class Everything(torch.nn.Module):
    """One of each way in which a module holds tensors, or seems to."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(8, 4, 2, bidirectional=True)
        self.attention = torch.nn.MultiheadAttention(8, 2)
        self.table = torch.nn.Embedding(5, 8)
        self.out = torch.nn.Linear(8, 5)
        self.out.weight = self.table.weight
        self.again = self.out
        self.norm = torch.nn.BatchNorm1d(3)
        self.listed = torch.nn.ParameterList([torch.nn.Parameter(torch.ones(2))])
        self.mapped = torch.nn.ParameterDict({"a": torch.nn.Parameter(torch.zeros(2))})
        self.register_buffer("kept", torch.arange(2.0))
        self.register_buffer("left_out", torch.arange(3.0), persistent=False)
        self.register_parameter("nothing", None)
        self.no_buffer = torch.arange(4.0)
        self.no_module = None
        self.activation = torch.nn.functional.gelu


class FairseqTask:
    """What fairseq keeps beside the model's tensors: an object with attributes of its own."""

    def __init__(self) -> None:
        self.dictionary = {"a": 0}
        self.weight = torch.ones(3)


class FairseqModel(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.task = FairseqTask()
        self.encoder = torch.nn.ModuleList([torch.nn.TransformerEncoderLayer(8, 2, 16) for _ in range(2)])
        self.register_buffer("version", torch.Tensor([3]))


def weight_norm(module: torch.nn.Module) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return torch.nn.utils.weight_norm(module)


def transformer(name: str) -> torch.nn.Module:
    return model(name)


MODULES: dict[str, Callable[[], torch.nn.Module]] = {
    "hand-written": Everything,
    "half": lambda: Everything().half(),
    "like fairseq": FairseqModel,
    "bert": lambda: transformer("bert"),
    "gpt2": lambda: transformer("gpt2"),
    "weight norm": lambda: weight_norm(torch.nn.Linear(3, 2)),
    "spectral norm": lambda: torch.nn.utils.spectral_norm(torch.nn.Linear(3, 2)),
    "data parallel": lambda: torch.nn.DataParallel(Everything()),
    "compiled": lambda: torch.compile(torch.nn.Sequential(torch.nn.Linear(2, 2))),
    "traced by torch.fx": lambda: torch.fx.symbolic_trace(torch.nn.Sequential(torch.nn.Linear(2, 2))),
    "a single layer": lambda: torch.nn.Linear(2, 2),
}


@LEGACY
@pytest.mark.parametrize("name", MODULES)
def test_the_names_and_values_are_those_of_the_state_dict(
    tmp_path: Path, same: Same, name: str, legacy: bool
) -> None:
    torch.manual_seed(0)
    module = MODULES[name]()
    opened = open_checkpoint(save(module, tmp_path / "model.pt", legacy))
    same(opened, tensors(module))
    assert list(opened.tensors) == list(tensors(module))
    assert [note for note in opened.notes if note.startswith("a whole module of class ")]


@pytest.mark.parametrize("name", ["transformers", "hand-written", "like fairseq"])
def test_a_module_beside_its_state_dict_is_identical(tmp_path: Path, name: str) -> None:
    module = MODULES["bert" if name == "transformers" else name]()
    state = save(tensors(module), tmp_path / "state.pt")
    (found,) = bitfit_probe.diff(state, save(module, tmp_path / "model.pt")).comparisons
    assert found.verdict == "identical"
    assert (*found.unmatched_base, *found.unmatched_tuned) == ()


@pytest.mark.parametrize("name", ["torchvision-vit", "torchvision-convnext", "timm-vit", "timm-efficientnet"])
def test_so_are_those_of_libraries_that_are_not_installed(name: str) -> None:
    """Written by `tests/formats/recorded/make_modules.py`; nothing of these libraries could be imported."""
    (found,) = bitfit_probe.diff(RECORDED / f"{name}.safetensors", RECORDED / f"{name}.pt").comparisons
    assert found.verdict == "identical"
    assert (*found.unmatched_base, *found.unmatched_tuned) == ()
    assert not {name.partition("-")[0]} & set(sys.modules)


def test_parametrised_weights_have_the_state_dicts_names(tmp_path: Path, same: Same) -> None:
    """Torch itself doesn't pickle the class that it makes; other picklers do, and the tree is the same."""
    module = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="parametrized"):
        save(module, tmp_path / "x.pt")
    names = tensors(module)
    assert "parametrizations.weight.original0" in names
    module.__class__ = torch.nn.Linear
    module._load_state_dict_pre_hooks.clear()  # a function within a function
    same(open_checkpoint(save(module, tmp_path / "model.pt")), names)


class Trainer:
    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters())
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 1)
        self.best_loss = torch.tensor(0.5)


def stepped(model: torch.nn.Module) -> Trainer:
    trainer = Trainer(model)
    sum(parameter.sum() for parameter in model.parameters()).backward()  # type: ignore[union-attr]
    trainer.optimizer.step()
    return trainer


@LEGACY
@pytest.mark.parametrize(
    "wrap",
    [
        stepped,
        lambda model: {"model": model, "epoch": 3, "optimizer": torch.optim.SGD(model.parameters(), 0.1)},
        lambda model: {"net": {"module": model}, "best": torch.ones(1)},
        lambda model: {"state_dict": model.state_dict(), "trainer": stepped(model)},
        lambda model: {"state_dict": model.state_dict(), "hyper_parameters": {"backbone": model}},
    ],
    ids=["trainer", "with optimiser", "nested", "state dict beside trainer", "backbone as hyperparameter"],
)
def test_objects_around_it_are_passed_through(
    tmp_path: Path, same: Same, wrap: Callable[[torch.nn.Module], Any], legacy: bool
) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    same(open_checkpoint(save(wrap(model), tmp_path / "x.pt", legacy)), tensors(model))


def test_live_modules_win_over_their_average_and_equals_are_asked_for(tmp_path: Path, same: Same) -> None:
    live, average = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    path = save({"model": live, "ema": average}, tmp_path / "x.pt")
    same(open_checkpoint(path), tensors(live))
    assert "ema" in open_checkpoint(path).notes[0]
    same(open_checkpoint(path, "ema"), tensors(average))
    both = save({"statistics": {"mean": torch.ones(2)}, "model": live}, tmp_path / "both.pt")
    with pytest.raises(AmbiguousError, match=r"statistics, model"):
        open_checkpoint(both)
    same(open_checkpoint(both, "model"), tensors(live))


# What is refused ----------------------------------------------------------------------------------------


def packed() -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = torch.nn.Sequential(torch.nn.Linear(4, 4))
        return torch.ao.quantization.quantize_dynamic(plain, {torch.nn.Linear})


class Secretive(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(2, 2)

    def __getstate__(self) -> list[Any]:
        return [1, 2]

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("something was run")


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (packed, r"'0' \(torch\.ao\.nn\.quantized\.[\w.]+Linear\)"),
        (lambda: torch.nn.LazyLinear(2), r"'weight' \(torch\.nn\.parameter\.UninitializedParameter\)"),
        (lambda: torch.nn.Sequential(Secretive()), r"'0' \(.*Secretive\)"),
    ],
    ids=["quantised", "not initialised", "state of its own"],
)
def test_a_module_that_hides_its_tensors_is_named(
    tmp_path: Path, make: Callable[[], torch.nn.Module], named: str
) -> None:
    with pytest.raises(UnsupportedError, match=f"of which {named} keeps its tensors"):
        open_checkpoint(save(make(), tmp_path / "x.pt"))


def test_an_optimiser_alone_is_refused_with_its_class(tmp_path: Path) -> None:
    optimiser = stepped(torch.nn.Linear(2, 2)).optimizer
    with pytest.raises(UnsupportedError, match=r"holds an object of class torch\.optim\.adam\.Adam"):
        open_checkpoint(save(optimiser, tmp_path / "x.pt"))


CANARY = """
from pathlib import Path
import torch
Path({trace!r}).touch()
def touch(*args):
    Path({trace!r}).touch()
    return torch.nn.Linear(1, 1)
class Canary(torch.nn.Module):
    def __setstate__(self, state):
        touch()
class Called(torch.nn.Linear):
    def __reduce__(self):
        return touch, (self.__dict__,)
"""


@LEGACY
def test_nothing_of_a_class_is_imported_or_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    trace = tmp_path / "trace"
    (tmp_path / "canary_module.py").write_text(CANARY.format(trace=str(trace)))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, "canary_module", raising=False)
    import canary_module

    canary = canary_module.Canary()
    canary.inner = torch.nn.Linear(2, 2)
    whole = save(canary, tmp_path / "whole.pt", legacy)
    called = save(torch.nn.Sequential(canary_module.Called(2, 2)), tmp_path / "called.pt", legacy)
    del sys.modules["canary_module"]
    trace.unlink()
    assert list(open_checkpoint(whole).tensors) == ["inner.weight", "inner.bias"]
    with pytest.raises(UnsupportedError, match=r"canary_module\.touch"):
        open_checkpoint(called)
    assert "canary_module" not in sys.modules
    assert not trace.exists()
    torch.load(whole, weights_only=False)  # the trap does work
    assert trace.exists()


def cycle() -> torch.nn.Module:
    module = torch.nn.Linear(2, 2)
    module._modules["again"] = module
    return module


def doubled(levels: int) -> torch.nn.Module:
    """2^levels modules in a file of a few kilobytes."""
    module: torch.nn.Module = torch.nn.Linear(1, 1)
    for _ in range(levels):
        outer = torch.nn.Module()
        outer.a = outer.b = module
        module = outer
    return module


def chain(length: int) -> torch.nn.Module:
    module: torch.nn.Module = torch.nn.Linear(1, 1)
    for _ in range(length):
        module = torch.nn.Sequential(module)
    return module


@LEGACY
@pytest.mark.parametrize("make", [cycle, lambda: doubled(20), lambda: chain(120)])
def test_trees_without_end_are_refused(
    tmp_path: Path, make: Callable[[], torch.nn.Module], legacy: bool
) -> None:
    path = save(make(), tmp_path / "x.pt", legacy)
    assert path.stat().st_size < 1 << 18
    with pytest.raises(CorruptError):
        open_checkpoint(path)


def test_shared_modules_have_each_of_their_names(tmp_path: Path, same: Same) -> None:
    module = doubled(6)
    assert len(tensors(module)) == 128
    same(open_checkpoint(save(module, tmp_path / "x.pt")), tensors(module))
