"""How much of the base a verdict holds for: planted shares, and what became of the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.builders import State, biases, compare, copied, move, state, toy, write

import bitfit_probe
from bitfit_probe.records import Comparison, Diff, Uncovered
from bitfit_probe.rendering import diff_to_json, headline
from bitfit_probe.rendering.coverage import coverage_sentence
from bitfit_probe.rendering.words import percent

LAYER = "encoder.layer.{}.{}"
HEADS = ("classifier", "cls", "lm_head", "pooler", "bert.pooler")


def layers(count: int, each: int = 10) -> State:
    """A model of `count` layers of 100 × each elements and 10 × each biases."""
    out = {LAYER.format(n, "output.dense.weight"): torch.randn(each, 100) for n in range(count)}
    return out | {LAYER.format(n, "output.dense.bias"): torch.zeros(10 * each) for n in range(count)}


def body(tensors: State) -> int:
    return sum(t.numel() for n, t in tensors.items() if not n.startswith(HEADS) and t.is_floating_point())


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2", "llama", "t5", "vit"])
def test_a_whole_model_is_covered_whole(kind: str, tmp_path: Path) -> None:
    found = compare(tmp_path, state(kind), state(kind)).coverage

    assert (found.share, found.enough, found.rest) == (1.0, True, ())
    assert found.base_parameters == found.compared_parameters
    assert found.base_parameters + found.head_parameters == sum(t.numel() for t in state(kind).values())
    assert found.head_parameters == found.compared_head_parameters


@pytest.mark.parametrize(("kept", "share"), [(10, 0.5), (19, 0.95), (18, 0.9)])
def test_the_share_is_that_of_the_layers_that_are_left(kept: int, share: float, tmp_path: Path) -> None:
    """20 layers of 1,100 elements; 95 % is enough and less is not."""
    base = layers(20)
    found = compare(tmp_path, base, {n: t for n, t in base.items() if int(n.split(".")[2]) < kept})

    assert found.coverage.base_parameters == 20 * 1100
    assert found.coverage.compared_parameters == kept * 1100
    assert found.coverage.share == pytest.approx(share)
    assert found.coverage.rest == (Uncovered("layer-absent", 2 * (20 - kept), (20 - kept) * 1100),)
    assert found.coverage.enough is (kept == 19)
    told = headline(found).startswith(f"Of what could be compared ({round(100 * share)} %")
    assert told is not found.coverage.enough


def half_of(kind: str) -> tuple[State, State]:
    base = state(kind)
    return base, {n: t for n, t in base.items() if ".1." not in n}


CONTAINERS = ["a.safetensors", "b.pt", "c.legacy", "d/model.safetensors.index.json", "folder"]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("trained", [False, True])
def test_no_sentence_on_half_of_a_model_reads_as_of_all(
    kind: str, container: str, trained: bool, tmp_path: Path
) -> None:
    base, tuned = half_of(kind)
    if trained:
        tuned = move(tuned, *(biases(tuned) or tuned))
    paths = write(tmp_path / "base", base), write(tmp_path / container, tuned)
    (found,) = bitfit_probe.diff(*paths).comparisons
    share = body(tuned) / body(base)

    assert 0.5 < share < 0.8  # of two layers, and an embedding
    assert found.coverage.share == pytest.approx(share)
    start = f"Of what could be compared ({percent(share)} of the base's parameters)"
    assert headline(found).startswith(start)


def pack(name: str, weight: torch.Tensor, how: str) -> State:
    """A matrix of 32 × n as codes and scales under a format's names."""
    codes, scale = torch.ones(weight.shape, dtype=torch.int8), torch.ones(len(weight), 1)
    stem = name.removesuffix(".weight")
    half = torch.ones(weight.numel() // 2, dtype=torch.uint8)
    packed = torch.ones(len(weight), weight.shape[1] // 8, dtype=torch.int32)
    return {
        "mxfp4": {f"{name}_blocks": half, f"{name}_scales": torch.ones(len(weight), dtype=torch.uint8)},
        "mlx": {name: packed, f"{stem}.scales": scale, f"{stem}.biases": scale.clone()},
        "quanto": {f"{name}._data._data": half, f"{name}._scale": scale, f"{name}._shift": scale.clone()},
        "codes alone": {name: codes},
    }[how]


@pytest.mark.parametrize("how", ["mxfp4", "mlx", "quanto", "codes alone"])
@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("swapped", [False, True])
def test_packed_weights_are_not_compared(kind: str, how: str, swapped: bool, tmp_path: Path) -> None:
    """Matrices of the layers packed, on either side; all else is the base bit for bit."""
    base = state(kind)
    inner = [n for n, t in base.items() if t.ndim == 2 and ".layer" in n]
    packed = {n: t for n, t in base.items() if n not in inner}
    for name in inner:
        packed |= pack(name, base[name], how)
    found = compare(tmp_path, *((packed, base) if swapped else (base, packed)))
    same = sum(t.numel() for n, t in base.items() if n not in inner and not n.startswith(HEADS))

    assert found.coverage.compared_parameters == same
    assert [item.reason for item in found.coverage.rest] == ["quantised"]
    assert not found.coverage.enough
    assert found.summary.changed_parameters == 0
    assert headline(found).startswith(("Of what could be compared", "Incomparable"))
    if not swapped:
        lost = sum(base[n].numel() for n in inner)
        assert found.coverage.rest == (Uncovered("quantised", len(inner), lost),)


def test_both_sides_packed_are_compared_by_their_bytes(tmp_path: Path) -> None:
    """gpt-oss as it is published, and a run of its biases."""
    base = state("llama") | pack("model.layers.0.mlp.experts.down_proj", torch.ones(32, 64), "mxfp4")
    found = compare(tmp_path, base, copied(base))

    assert (found.verdict, found.coverage.share) == ("identical", 1.0)


def test_names_of_either_side_may_carry_a_prefix(tmp_path: Path) -> None:
    base = state("bert-bare")
    inner = [n for n, t in base.items() if t.ndim == 2 and ".layer." in n]
    tuned = {f"bert.{n}": t for n, t in base.items() if n not in inner}
    for name in inner:
        tuned |= pack(f"bert.{name}", base[name], "quanto")
    found = compare(tmp_path, base, tuned).coverage

    assert found.rest == (Uncovered("quantised", len(inner), sum(base[n].numel() for n in inner)),)


# What counts, and what doesn't --------------------------------------------------------------------


def test_heads_and_poolers_are_counted_apart(tmp_path: Path) -> None:
    """An MLM base, and a classifier without its head and pooler: the body is all there."""
    base = state("bert-mlm") | {"bert.pooler.dense.weight": torch.ones(32, 32)}
    tuned = {n: t for n, t in state("bert-mlm").items() if not n.startswith("cls.")}
    tuned["classifier.weight"] = torch.ones(2, 32)
    found = compare(tmp_path, base, tuned).coverage
    head = sum(t.numel() for n, t in base.items() if n.startswith(("cls.", "bert.pooler")))

    assert (found.share, found.enough) == (1.0, True)
    assert (found.head_parameters, found.compared_head_parameters) == (head, 0)
    assert f"of its heads' {head:,}, 0." in coverage_sentence(found)


def test_added_rows_and_a_larger_model_around_it_do_not_count(tmp_path: Path) -> None:
    base = state("bert-bare")
    tuned = {f"model.bert.{n}": t for n, t in base.items()} | {"tower.weight": torch.ones(500, 500)}
    name = "model.bert.embeddings.word_embeddings.weight"
    tuned[name] = torch.cat([tuned[name], torch.ones(400, 32)])

    assert compare(tmp_path, base, tuned).coverage.share == 1.0


def test_rows_that_were_cut_do(tmp_path: Path) -> None:
    base = state("bert-bare")
    name = "embeddings.word_embeddings.weight"
    found = compare(tmp_path, base, base | {name: base[name][:4].clone()}).coverage

    assert found.rest == (Uncovered("rows-cut", 1, 60 * 32),)
    assert found.base_parameters == body(base)


def test_the_second_name_of_a_tied_tensor_is_no_second_parameter(tmp_path: Path) -> None:
    tuned = state("t5")
    table = tuned["shared.weight"]
    base = tuned | {f"{side}.embed_tokens.weight": table.clone() for side in ("encoder", "decoder")}
    found = compare(tmp_path, base, tuned).coverage

    assert (found.base_parameters, found.share) == (sum(t.numel() for n, t in tuned.items()), 1.0)


def test_buffers_are_none(tmp_path: Path) -> None:
    base = state("bert") | {"bert.embeddings.position_ids": torch.arange(24)[None]}

    assert compare(tmp_path, base, state("bert")).coverage.base_parameters == body(state("bert"))


def test_a_file_of_biases_covers_the_base_by_design(tmp_path: Path) -> None:
    base = state("bert")
    tuned = {n: t + 0.1 for n, t in base.items() if n in biases(base)}
    found = compare(tmp_path, base, tuned)
    read = sum(t.numel() for n, t in tuned.items() if "pooler" not in n)

    assert (found.coverage.share, found.coverage.compared_parameters) == (1.0, read)
    assert found.coverage.by_design_parameters == body(base) - read
    assert "biases only: the file leaves the rest as it is in the base" in headline(found)


def test_biases_only_is_asked_for_and_said(tmp_path: Path) -> None:
    base = state("bert")
    found = compare(tmp_path, base, base, biases_only=True)
    read = sum(base[n].numel() for n in biases(base) if "pooler" not in n)

    assert found.coverage.enough
    assert found.coverage.share == pytest.approx(read / body(base))
    assert [item.reason for item in found.coverage.rest] == ["biases-only"]
    rest = len(base) - len(biases(base))
    assert headline(found) == (
        f"Identical where checked: {len(biases(base))} tensors; biases only: the rest ({rest} tensors) "
        "was not checked."
    )


def test_biases_only_of_half_a_model_says_both(tmp_path: Path) -> None:
    text = headline(compare(tmp_path, *half_of("bert"), biases_only=True))

    assert text.startswith("Of what could be compared (")
    assert "biases only: the rest" in text


# Why ----------------------------------------------------------------------------------------------


def without_decoder(base: State) -> State:
    return {n: t for n, t in base.items() if not n.startswith("decoder")}


def renamed(base: State) -> State:
    return {n.replace("layer.1.output", "layer.1.mystery"): t for n, t in base.items()}


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        ("t5", without_decoder, "part-absent"),
        ("bert", renamed, "other-name"),
        ("bert", lambda base: {n: t for n, t in base.items() if "layer.0" not in n}, "layer-absent"),
        ("bert", lambda base: {n: t for n, t in base.items() if "intermediate" not in n}, "absent"),
        (
            "bert",
            lambda base: {n: t[:7].clone() if "output.dense.weight" in n else t for n, t in base.items()},
            "shape",
        ),
    ],
)
def test_the_reason_is_told(kind: str, change: Callable[[State], State], reason: str, tmp_path: Path) -> None:
    found: Comparison = compare(tmp_path, state(kind), change(state(kind)))

    assert found.coverage.rest[0].reason == reason


def test_an_unread_container_that_has_the_rest_is_told(tmp_path: Path) -> None:
    base, tuned = half_of("bert")
    folder = write(tmp_path / "tuned", tuned)
    torch.save(base, folder / "pytorch_model.bin")
    (found,) = bitfit_probe.diff(write(tmp_path / "base", base), folder).comparisons

    assert [item.reason for item in found.coverage.rest] == ["other-file"]
    assert found.tuned.unread == ("pytorch_model.bin",)


def test_a_base_that_is_all_head_has_no_share(tmp_path: Path) -> None:
    only = toy(classifier__weight=[[1.0, 2.0]], classifier__bias=[1.0])
    found = compare(tmp_path, only, only)

    assert found.coverage.share is None
    assert coverage_sentence(found.coverage).startswith("Compared: nothing")
    assert json.loads(diff_to_json(Diff(found.tuned, "bert", "config", (found,))))
