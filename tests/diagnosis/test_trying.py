"""Which step is advised: noise is told from gains, whatever the number of steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bitfit_probe.diagnosis.outcomes import Outcome, log_probabilities, outcome_of_logits
from bitfit_probe.diagnosis.step import Step
from bitfit_probe.diagnosis.trying import Tried, advise, chances_of, paired, try_steps
from bitfit_probe.inference import Question


def tried(name: str, gains: np.ndarray) -> Tried:
    step = Step(name, name, "", lambda rows: None)  # type: ignore[arg-type, return-value]
    return Tried(step, np.arange(len(gains)), gains, gains, 0.0, True)


def noise(random: np.random.Generator, count: int, changed: float = 0.2) -> np.ndarray:
    """Gains of a step that changes a fifth of the answers, as often for the worse."""
    return random.choice([-1.0, 0.0, 1.0], count, p=[changed / 2, 1 - changed, changed / 2])


def test_noise_alone_is_rarely_advised():
    """Twenty steps, 150 rounds: a rate of 5 % gives at most 13 with a chance of 98 %."""
    random, advised = np.random.default_rng(0), 0
    for _ in range(150):
        steps = [tried(str(at), noise(random, 100)) for at in range(20)]
        advised += advise(steps, chances_of(steps)) is not None
    assert 0 < advised <= 13


def test_gain_of_the_chosen_is_honest():
    """Of twenty steps without effect the best looks good; without the examples that chose it, it does not."""
    random, best, honest = np.random.default_rng(1), [], []
    for _ in range(60):
        steps = [tried(str(at), noise(random, 100, 0.5)) for at in range(20)]
        best.append(max(item.gains.mean() for item in steps))
        found = advise(steps, [0.0] * 20)
        honest.append(found.gain)
    assert np.mean(best) > 0.1
    assert abs(np.mean(honest)) < 3 * np.std(honest) / np.sqrt(60) + 0.01


def test_planted_gain_is_advised_and_its_size_told():
    random = np.random.default_rng(2)
    good = (random.random(200) < 0.3).astype(float)
    steps = [*(tried(str(at), noise(random, 200)) for at in range(20)), tried("good", good)]
    found = advise(steps, chances_of(steps))
    assert found.step.step.name == "good"
    assert found.gain == pytest.approx(good.mean())
    assert found.interval[0] > 0.2


def test_loss_tells_a_gain_that_answers_alone_leave_in_doubt():
    """Eight more of 100 right is no clear gain among twenty steps; with every loss lower by a tenth it is."""
    random = np.random.default_rng(5)
    gains = np.concatenate([np.ones(10), -np.ones(2), np.zeros(88)])
    steps = [*(tried(str(at), noise(random, 100)) for at in range(19)), tried("good", gains)]
    assert advise(steps, chances_of(steps)) is None
    still = replace(tried("temperature", np.zeros(100)), loss_gains=random.normal(0, 0.3, 100))
    lower = replace(tried("good", gains), loss_gains=still.loss_gains + random.normal(0.1, 0.2, 100))
    steps = [*(replace(item, loss_gains=random.normal(0, 0.3, 100)) for item in steps[:-1]), still, lower]
    assert advise(steps, chances_of(steps)).step.step.name == "good"
    harmful = [*steps[:-1], replace(lower, gains=-gains)]
    assert advise(harmful, chances_of(harmful)) is None


def test_first_of_equals_is_advised():
    gains = (np.random.default_rng(3).random(200) < 0.4).astype(float)
    steps = [tried("simple", gains), tried("also", gains), tried("a bit", gains * 0)]
    assert advise(steps, chances_of(steps)).step.step.name == "simple"
    assert advise(steps[1:], chances_of(steps[1:])).step.step.name == "also"


def test_harm_is_given_up_after_the_first_look_and_gains_are_not():
    before = Outcome(np.tile([1.0, 0.0], 200), np.full(400, 0.7))
    seen: list[int] = []

    def look(score: float, loss: float):
        def run(rows):
            seen.append(len(before.scores) if rows is None else len(rows))
            return Outcome(np.full(seen[-1], score), np.full(seen[-1], loss))

        return run

    steps = [Step("good", "", "", look(1.0, 0.1)), Step("bad", "", "", look(0.0, 3.0))]
    good, bad = try_steps(steps, before, shares=True)
    assert seen == [100, 300, 100]
    assert (len(good.rows), good.gains.mean(), len(bad.rows)) == (400, 0.5, 100)


def test_steps_that_change_no_answer_are_given_up():
    before = Outcome(np.ones(400), np.full(400, 0.2))
    (found,) = try_steps(
        [Step("idle", "", "", lambda rows: before.take(np.arange(400) if rows is None else rows))],
        before,
        shares=True,
    )
    assert len(found.rows) == 100
    assert paired(found.gains, shares=True)[0] < 0 < paired(found.gains, shares=True)[1]


def test_answers_that_are_no_numbers_are_wrong_and_say_nothing():
    logits = np.array([[np.nan, 1.0], [np.inf, 0.0], [0.0, 2.0]])
    found = outcome_of_logits(Question("classification", (0, 0, 1)), logits, np.array([0, 0, 1]))
    assert list(found.scores) == [0, 0, 1]
    assert list(found.losses[:2]) == pytest.approx([np.log(2)] * 2)
    assert np.isfinite(log_probabilities(logits)).all()
