"""Trained enough? Closed forms of the logged schedule, planted runs, and what AdamW really does."""

from __future__ import annotations

import json
import math

import pytest
import torch
from support.builders import biases, compare, copied, model, move, state, write
from support.reporting import described

from bitfit_probe.checkpoint.trainer_state import TrainerState
from bitfit_probe.measures.training_sufficiency import LIMITS, adequacy, said_lr_times_steps


def log(schedule, steps, every):
    history = [{"step": s, "learning_rate": schedule(s), "loss": 1.0} for s in range(every, steps + 1, every)]
    return {"global_step": steps, "log_history": history}


def linear(peak, warmup, steps):
    """Transformers' get_linear_schedule_with_warmup."""
    return lambda s: peak * (s / warmup if s < warmup else (steps - s) / (steps - warmup))


@pytest.mark.parametrize(
    ("schedule", "steps", "every", "total"),
    [
        (lambda s: 1e-3, 500, 50, 1e-3 * 500),
        (lambda s: 1e-3, 530, 50, 1e-3 * 530),  # steps after the last log
        (linear(2e-3, 0, 1000), 1000, 100, 2e-3 * 1000 / 2),
        (linear(2e-3, 0, 1000), 1000, 10, 2e-3 * 1000 / 2),
        (linear(2e-3, 200, 1000), 1000, 100, 2e-3 * 1000 / 2),  # a triangle, whatever its top
        (linear(2e-3, 200, 1000), 1000, 50, 2e-3 * 1000 / 2),
        (lambda s: 1e-3 * (1 + math.cos(math.pi * s / 2000)) / 2, 2000, 20, 1e-3 * 2000 / 2),
    ],
    ids=["constant", "odd end", "decay", "decay fine", "warm-up", "warm-up fine", "cosine"],
)
def test_sum_of_learning_rates(schedule, steps, every, total):
    state = log(schedule, steps, every)
    assert said_lr_times_steps(TrainerState.of(state)) == pytest.approx(total, rel=1e-3)
    assert said_lr_times_steps(TrainerState.of(state)) == pytest.approx(
        math.fsum(schedule(s) for s in range(steps)), rel=5e-3
    )  # the very steps


def test_schedules_of_transformers_itself():
    """The rates that transformers' own scheduler gives a real optimiser, logged every 25 steps."""
    from transformers import get_linear_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=3e-3)
    scheduler = get_linear_schedule_with_warmup(optimizer, 50, 400)
    used, history = [], []
    for step in range(1, 401):
        used.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
        if step % 25 == 0:
            history.append({"step": step, "learning_rate": scheduler.get_last_lr()[0]})
    said = said_lr_times_steps(TrainerState.of({"global_step": 400, "log_history": history}))
    assert said == pytest.approx(sum(used), rel=5e-3)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"log_history": None},
        {"log_history": [3, "x", None, {}]},
        {"log_history": [{"step": 5, "learning_rate": 1e-3}]},  # one point may be any schedule
        {"log_history": [{"step": 5, "learning_rate": 1e-3}, {"step": 5, "learning_rate": 2e-3}]},
        {"log_history": [{"step": 5, "learning_rate": -1e-3}, {"step": 9, "learning_rate": 2e-3}]},
        {"log_history": [{"step": 5, "learning_rate": math.nan}, {"step": 9, "learning_rate": 2e-3}]},
        {"log_history": [{"step": 10**400, "learning_rate": 1e-3}, {"step": "9", "learning_rate": 2e-3}]},
        {"log_history": [{"step": True, "learning_rate": 1e-3}, {"step": 9, "learning_rate": 10**400}]},
    ],
)
def test_what_says_nothing_gives_none(state):
    assert said_lr_times_steps(TrainerState.of(state)) is None


def test_global_step_that_is_none_ends_with_the_log():
    state = log(lambda s: 1e-3, 100, 10)
    for wrong in (None, "100", -3, 1e9, 10**300, 50):
        assert said_lr_times_steps(TrainerState.of(state | {"global_step": wrong})) == pytest.approx(0.1)


# What AdamW does ----------------------------------------------------------------------------------


def adamw(steps, rate, batches):
    """BitFit of a tiny BERT on two classes that one token tells apart, cycling through so many batches."""
    net = model("bert")
    for name, parameter in net.named_parameters():
        parameter.requires_grad = name.endswith("bias") or name.startswith("classifier")
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    draw = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 2, (batches, 8), generator=draw)
    words = torch.randint(5, 64, (batches, 8, 8), generator=draw)
    words[:, :, 3] = 3 + labels
    torch.manual_seed(0)
    net.train()
    for step in range(steps):
        net(input_ids=words[step % batches], labels=labels[step % batches]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    after = net.state_dict()
    return {name: after[name].detach().clone() for name in state("bert")}


@pytest.mark.parametrize(
    ("batches", "rate", "least", "most"),
    [(1, 1e-4, 1.0, 1.3), (1, 1e-3, 0.8, 1.3), (4, 1e-4, 0.8, 1.3), (100, 1e-4, 0.5, 1.0)],
)
def test_adamw_moves_the_fastest_element_by_at_most_1_3_of_the_rate_a_step(
    batches, rate, least, most, tmp_path
):
    """1.0–1.3 where the gradient keeps its sign (one batch); less where batches disagree: a lower bound."""
    comparison = compare(tmp_path, state("bert"), adamw(100, rate, batches))
    found = adequacy(comparison, None)
    assert least < found.max_abs_delta / (rate * 100) < most
    assert found.lr_times_steps == found.max_abs_delta / LIMITS.adam_factor < rate * 100


# States -------------------------------------------------------------------------------------------


def planted(size, folder, *, kinds=biases):
    """Every bias moved, the fastest element by exactly about `size`."""
    base = state("bert")
    tuned = copied(base)
    draw = torch.Generator().manual_seed(2)
    for name in kinds(base):
        tuned[name] += size * (2 * torch.rand(tuned[name].shape, generator=draw) - 1)
    return compare(folder, base, tuned)


def said(total, steps=1000, *, losses=(1.0, 0.5)):
    rate = total / steps
    history = [{"step": s, "learning_rate": rate} for s in (1, steps)]
    history += [{"step": s, "loss": loss} for s, loss in zip((1, steps), losses, strict=True)]
    return {"global_step": steps, "log_history": history}


def everything(base):
    return list(base)


@pytest.mark.parametrize(
    ("size", "kinds", "state_file", "expected", "reason"),
    [
        (0.3, biases, None, "healthy", "takes Adam"),
        (0.3, biases, said(0.5), "healthy", "0.5 is logged"),
        (0.003, biases, None, "under-trained", "is little"),
        (0.003, everything, None, "healthy", "takes Adam"),  # a full fine-tune's usual way is shorter
        (0.0003, everything, None, "under-trained", "is little"),
        (0.012, biases, said(0.008), "under-trained", "logged, where"),
        (0.03, biases, said(5.0), "under-trained", "in spite of"),  # steps skipped, gradients erased
        (0.3, biases, said(0.011), "impossible", "further than Adam"),
        (300.0, biases, None, "blown-up", "max|Δ|"),
        (0.3, biases, said(0.5, losses=(1.0, math.nan)), "blown-up", "NaN"),
        (0.3, biases, said(0.5, losses=(1.0, 7.0)), "blown-up", "from 1 to 7"),
    ],
)
def test_states(size, kinds, state_file, expected, reason, tmp_path):
    said_so = TrainerState.of(state_file) if state_file else None
    found = adequacy(planted(size, tmp_path, kinds=kinds), said_so)
    assert found.state == expected
    assert reason in "; ".join(found.reasons)


def test_nan_in_the_tuned_is_blown_up(tmp_path):
    base = state("bert")
    tuned = move(base, *biases(base))
    tuned[biases(base)[0]][0] = math.inf
    assert adequacy(compare(tmp_path, base, tuned), None).state == "blown-up"


def noisy(start, end):
    """A hundred losses of single steps, the first by chance a tenth of what is usual."""
    losses = [0.1 * start] + [start] * 49 + [end] * 50
    return {"log_history": [{"step": step, "loss": loss} for step, loss in enumerate(losses)]}


def test_a_lucky_first_batch_is_no_growth_of_the_loss(tmp_path):
    comparison = planted(0.3, tmp_path)
    assert adequacy(comparison, TrainerState.of(noisy(1.0, 0.9))).state == "healthy"
    assert adequacy(comparison, TrainerState.of(noisy(1.0, 3.0))).state == "blown-up"


def test_what_was_not_checked_is_not_called_untrained(tmp_path):
    base = state("bert")
    comparison = compare(tmp_path, base, move(base, "bert.pooler.dense.weight"), biases_only=True)
    found = adequacy(comparison, None)
    assert (found.state, found.max_abs_delta) == ("inconclusive", None)


def test_values_that_cannot_be_subtracted_tell_nothing(tmp_path):
    name = "encoder.layer.0.output.dense.weight"
    sides = ({name: torch.full((4, 4), x, dtype=torch.complex64)} for x in (1, 2))
    found = adequacy(compare(tmp_path, *sides), None)
    assert (found.state, found.max_abs_delta) == ("inconclusive", None)


@pytest.mark.parametrize("how", ["same", "cast", "head"])
def test_untrained(how, tmp_path):
    base = state("bert")
    tuned = {
        "same": lambda: base,
        "cast": lambda: {name: tensor.bfloat16() for name, tensor in base.items()},
        "head": lambda: move(base, "classifier.weight", by=1.0),
    }[how]()
    found = adequacy(compare(tmp_path, base, tuned), None)
    assert found.state == "untrained"
    assert found.max_abs_delta is found.lr_times_steps is None


def test_decay_alone(tmp_path):
    """Biases shrunk by 30 %, with 5 % of noise: Δ points to −b."""
    base = state("bert")
    tuned = copied(base)
    for name in biases(base):
        noise = torch.randn(base[name].shape, generator=torch.Generator().manual_seed(1))
        tuned[name] = 0.7 * base[name] + 0.015 * noise * base[name].std()
    found = adequacy(compare(tmp_path, base, tuned), None)
    b, t = (torch.cat([side[name] for name in biases(base)]).double().numpy() for side in (base, tuned))
    expected = -(t - b) @ b / (((t - b) @ (t - b)) * (b @ b)) ** 0.5
    assert found.decay_cosine == pytest.approx(expected, rel=1e-9)
    assert found.state == "decayed"


def test_biases_that_decay_beside_matrices_that_learn(tmp_path):
    base = state("bert")
    tuned = move(base, *base, by=0.1)
    for name in biases(base):
        tuned[name] = 0.7 * base[name]
    found = adequacy(compare(tmp_path, base, tuned), None)
    assert found.decay_cosine == pytest.approx(1.0, abs=1e-9)
    assert found.state == "healthy"


def test_a_merged_adapter_tells_no_steps(tmp_path):
    base = state("bert")
    tuned = copied(base)
    draw = torch.Generator().manual_seed(4)
    for name in base:
        if name.endswith(("query.weight", "value.weight")):
            rows, columns = base[name].shape
            tuned[name] += (
                0.1 * torch.randn(rows, 2, generator=draw) @ torch.randn(2, columns, generator=draw)
            )
    comparison = compare(tmp_path, base, tuned)
    assert comparison.verdict == "merged-lora"
    assert adequacy(comparison, None).state == "inconclusive"


def test_the_state_file_beside_the_weights_is_read(tmp_path):
    base = write(tmp_path / "base", state("bert"))
    tuned = write(tmp_path / "tuned", move(state("bert"), *biases(state("bert")), by=0.1))
    (tuned / "trainer_state.json").write_text(json.dumps(log(lambda s: 1e-3, 500, 50)))
    found = described(base, tuned).measured[0].adequacy
    assert found.said_lr_times_steps == pytest.approx(0.5)
    (tuned / "trainer_state.json").write_text("{not json")
    assert described(base, tuned).measured[0].adequacy.said_lr_times_steps is None
