"""Short runs within a budget: what is run, in which order, what it comes to, and what is not claimed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuning.reference import accuracy
from tuning.tiny import rows, write_csv

from bitfit_probe.data import Columns, TaskData, read_examples
from bitfit_probe.errors import DataError, NoBiasesError, OutputError, SettingsError
from bitfit_probe.recommendation import trial as trials
from bitfit_probe.recommendation.trial import bench as trial_bench
from bitfit_probe.recommendation.trial.budget import Budget
from bitfit_probe.recommendation.trial.folds import FOLDS, folds_of
from bitfit_probe.recommendation.trial.journal import Journal
from bitfit_probe.recommendation.trial.plan import EXPECTED_RUNS
from bitfit_probe.recommendation.trial.result import above_guessing, interval_of, paired_gap
from bitfit_probe.recommendation.trial.run import Finished, Pace, Step
from bitfit_probe.recommendation.trial.scores import of_classes, of_quantities
from bitfit_probe.recommendation.trial.session import Session
from bitfit_probe.records.options import TrialOptions
from bitfit_probe.records.recommendation import Trial, TrialRun
from bitfit_probe.tuning.options import LEARNING_RATES

ALL = ("bitfit", "lora", "full")
#: 120 examples of three classes: 30 are held out by each fold, 90 train.
HELD_OUT, TRAINED = 30, 90
#: Seconds of a planted run and of the steps that measure speed.
RUN, REHEARSAL = 30, 6


class Clock:
    """Time that passes where a test says so: a second a step."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.told: list[tuple[str, int, int]] = []

    def __call__(self) -> float:
        return self.now

    def hear(self, doing: str, done: int, needed: int) -> None:
        self.told.append((doing, done, needed))

    def step(self, doing: str, done: int, needed: int) -> None:
        self.now += 1.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TaskData:
    return read_examples(write_csv(tmp_path_factory.mktemp("data") / "task.csv", rows(120)))


def steps_away(method: str, rate: float) -> int:
    """How many half orders of magnitude a rate is from the method's middle one."""
    return round(2 * math.log10(rate / LEARNING_RATES[method]))


class PlantedBench:
    """Stands in for training: of a fold's examples the first `right(method, place, fold)` come out right.

    `place` is the rate in half orders of magnitude from the middle one; NaN is divergence, −1 one class for
    all.
    """

    objective, seed = "classify", 0

    def __init__(self, data: TaskData, clock: Clock, right: Callable[[str, int, int], float]) -> None:
        self.clock = clock
        self.folds = folds_of(data, 0)
        self.labels = np.asarray(data.labels)
        self.right = right
        self.chance = 1 / 3
        self.rehearsed: list[str] = []
        self.made: list[Step] = []

    def seconds(self, pace: Pace) -> float:
        return pace.seconds(RUN, HELD_OUT)

    def rehearse(self, method: str, rate: float, tick: Callable[[], None]) -> Pace:
        self._pass(REHEARSAL, tick)
        self.rehearsed.append(method)
        return Pace(0.0, 1.0, 0.0)

    def perform(self, step: Step, tick: Callable[[], None]) -> Finished:
        self._pass(RUN, tick)
        self.made.append(step)
        count = self.right(step.method, steps_away(step.method, step.rate), step.fold)
        held_out = np.asarray(self.folds[step.fold].held_out.labels)
        values = (np.arange(HELD_OUT) < count).astype(float)
        if count == -1:
            values = (held_out == 0).astype(float)
        if math.isnan(count):
            values = np.full(HELD_OUT, math.nan)
        run = TrialRun(
            *step,
            TRAINED,
            RUN,
            float(values.mean()),
            1 - float(values.mean()),
            float(RUN),
            one_class=count == -1,
        )
        return Finished(run, tuple(values), Pace(0.0, 1.0, 0.0))

    def _pass(self, seconds: int, tick: Callable[[], None]) -> None:
        for _ in range(seconds):
            self.clock.now += 1.0
            tick()


class Planted:
    """A trial on a planted bench, as often as it is asked for."""

    def __init__(self, data: TaskData, clock: Clock, right: Callable[[str, int, int], float]) -> None:
        self.bench, self.clock = PlantedBench(data, clock, right), clock

    def run(
        self,
        minutes: float = 100,
        methods: tuple[str, ...] = ALL,
        work: Path | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Trial:
        budget = Budget(minutes, self.clock, progress or self.clock.hear)
        journal = None if work is None else Journal(work, {"of": "this test"})
        bench: Any = self.bench
        return Session(bench, budget, list(methods), True, journal).go()


def inside(method: str, place: int, fold: int) -> float:
    """Best at the middle rate, the higher one second."""
    return 24 - 3 * abs(place) + (place == 1)


def ran(trial: Trial) -> list[tuple[str, int, int]]:
    return [(run.method, steps_away(run.method, run.rate), run.fold) for run in trial.runs]


class TestPlanning:
    def test_rates_on_one_fold_then_the_best_two_on_all_and_methods_take_turns(
        self, data: TaskData, clock: Clock
    ) -> None:
        trial = Planted(data, clock, inside).run()
        sweep = [(method, place, 0) for place in (0, 1, -1) for method in ALL]
        rest = [(method, place, fold) for place in (0, 1) for fold in (1, 2, 3) for method in ALL]
        assert ran(trial) == sweep + rest
        assert trial.enough
        assert (trial.trained_on, trial.held_out) == (TRAINED, FOLDS * HELD_OUT)
        assert all(result.learned and not result.at_edge for result in trial.results)
        assert trial.notes == ()

    def test_it_goes_outward_where_the_best_is_at_the_edge(self, data: TaskData, clock: Clock) -> None:
        peaks = {"bitfit": 0, "lora": 2, "full": 9}
        trial = Planted(data, clock, lambda method, place, fold: 28 - 3 * abs(place - peaks[method])).run()
        tried = {
            method: sorted({place for name, place, fold in ran(trial) if name == method and fold == 0})
            for method in ALL
        }
        # Full's best lies beyond the three that are tried outside.
        assert tried == {"bitfit": [-1, 0, 1], "lora": [-1, 0, 1, 2, 3], "full": [-1, 0, 1, 2, 3, 4]}
        assert [result.at_edge for result in trial.results] == [False, False, True]
        assert [steps_away(result.method, result.rate) for result in trial.results] == [0, 2, 4]
        assert not trial.enough
        assert "the best rate of full, 0.005, is the highest that was tried" in trial.notes

    def test_a_rate_that_gives_every_example_one_class_cannot_win(self, data: TaskData, clock: Clock) -> None:
        """It is right on a third, which is more than the others here; they say several classes."""
        trial = Planted(data, clock, lambda method, place, fold: -1 if place == 1 else 9 - abs(place)).run(
            methods=("bitfit",)
        )
        assert all(steps_away("bitfit", result.rate) != 1 for result in trial.results)
        assert not trial.results[0].learned
        assert "bitfit learned nothing: guessing is as good" in trial.notes

    def test_folds_choose_the_rate(self, data: TaskData, clock: Clock) -> None:
        """The middle rate is ahead on the first fold, the one above it on all others."""
        trial = Planted(
            data, clock, lambda method, place, fold: {0: 25 if fold == 0 else 20, 1: 24}.get(place, 10)
        ).run(methods=("bitfit",))
        assert steps_away("bitfit", trial.results[0].rate) == 1
        assert trial.results[0].score == pytest.approx(24 / 30)

    def test_a_rate_that_diverges_is_not_taken(self, data: TaskData, clock: Clock) -> None:
        gone = {"bitfit": 0, "lora": 9, "full": -9}
        trial = Planted(
            data, clock, lambda method, place, fold: math.nan if place > gone[method] else 20 - place
        ).run()
        assert trial.of("full") is None
        assert math.isnan(next(run.score for run in trial.runs if run.method == "full"))
        # It was sought three steps further down.
        assert "every run of full diverged, at rates down to 5e-07" in trial.notes
        assert steps_away("bitfit", trial.results[0].rate) == -4
        assert not trial.enough

    def test_rates_that_taught_nothing_are_taken_for_too_low(self, data: TaskData, clock: Clock) -> None:
        # A third of the examples is right by guessing; lora learns at ten times its middle rate.
        trial = Planted(
            data,
            clock,
            lambda method, place, fold: (
                inside(method, place - 2, fold) if (method, place) == ("lora", 2) else 10
            ),
        ).run(methods=("bitfit", "lora"))
        first = {(method, place) for method, place, fold in ran(trial) if fold == 0}
        assert first == {("bitfit", place) for place in range(-1, 5)} | {
            ("lora", place) for place in range(-1, 4)
        }
        assert not trial.of("bitfit").learned  # type: ignore[union-attr]
        assert trial.of("lora").learned  # type: ignore[union-attr]


class TestBudget:
    def test_what_it_takes_is_said_after_speeds_are_measured(self, data: TaskData, clock: Clock) -> None:
        planted = Planted(data, clock, inside)
        trial = planted.run()
        first = next(needed for doing, _, needed in clock.told if doing == "bitfit at 0.003, fold 1")
        # One rate outside was expected, and none was needed.
        assert first == 3 * REHEARSAL + 3 * EXPECTED_RUNS * RUN
        assert trial.seconds == trial.needed == 3 * REHEARSAL + 3 * (EXPECTED_RUNS - 1) * RUN

    def test_too_small_a_one_says_how_much_is_missing(self, data: TaskData, clock: Clock) -> None:
        planted = Planted(data, clock, inside)
        trial = planted.run(minutes=(18 + 4 * 30 + 20) / 60)
        assert planted.bench.rehearsed == list(ALL)
        assert len(trial.runs) == 4
        assert not trial.enough
        assert trial.needed - trial.seconds == (3 * EXPECTED_RUNS - 4) * RUN
        assert "the budget ended before lora was tried at more than one rate" in trial.notes
        assert f"the methods are compared on 1 of {FOLDS} folds" in trial.notes
        assert trial.held_out == HELD_OUT

    def test_one_for_nothing_gives_no_results_and_says_so(self, data: TaskData, clock: Clock) -> None:
        planted = Planted(data, clock, inside)
        trial = planted.run(minutes=3 / 60)
        assert planted.bench.made == []
        assert (trial.runs, trial.results, trial.enough, trial.trained_on) == ((), (), False, 0)
        assert trial.notes == tuple(f"the budget ended before {method} was trained" for method in ALL)
        assert trial.seconds == 4  # stopped by the first second after the budget's end

    @pytest.mark.parametrize("seconds", [19, 40, 60, 90, 150, 300, 700])
    def test_no_run_begins_that_is_not_expected_to_end(
        self, data: TaskData, clock: Clock, seconds: int
    ) -> None:
        trial = Planted(data, clock, inside).run(minutes=seconds / 60)
        assert trial.seconds <= seconds  # here expectations are exact


class TestResults:
    def test_methods_are_compared_on_the_folds_that_all_have(self, data: TaskData, clock: Clock) -> None:
        # Of the first fold all 9, of the second bitfit and lora.
        trial = Planted(data, clock, lambda method, place, fold: inside(method, place, fold) + 2 * fold).run(
            minutes=(18 + 11 * 30 + 20) / 60
        )
        assert len(trial.runs) == 11
        assert trial.held_out == HELD_OUT
        assert {result.score for result in trial.results} == {24 / 30}

    def test_gaps_are_paired_points_below_the_best(self, data: TaskData, clock: Clock) -> None:
        from scipy.stats import binom

        level = {"bitfit": 24, "lora": 30, "full": 30}
        trial = Planted(data, clock, lambda method, place, fold: level[method] - 6 * abs(place)).run()
        bitfit, lora, full = trial.results
        assert bitfit.gap == pytest.approx(20.0)
        # 24 of 30 are right in both: the resampled gap is a binomial share of 120 with p = 0.2.
        wanted = binom.ppf([0.1, 0.9], 120, 0.2) / 120 * 100
        assert bitfit.gap_interval == pytest.approx(tuple(wanted), abs=100 / 120)
        assert bitfit.interval == pytest.approx(tuple(1 - wanted[::-1] / 100), abs=1 / 120)
        assert (lora.gap, lora.gap_interval) == (0.0, (0.0, 0.0))
        # As good on all 120: by the rule of three it may still be 2.5 points better or worse.
        assert (full.gap, full.gap_interval) == (0.0, pytest.approx((-2.5, 2.5)))

    def test_pairing_removes_what_both_share(self) -> None:
        random = np.random.default_rng(3)
        best = (random.random(400) < 0.6).astype(float)
        other = best.copy()
        other[np.flatnonzero(best)[:8]] = 0.0  # 2 points below
        gap, (low, high) = paired_gap(best, other, 0)
        assert gap == pytest.approx(2.0)
        assert 0 < low < gap < high < 4
        alone = interval_of(other, 0)
        assert 100 * (alone[1] - alone[0]) > 3 * (high - low)

    def test_guessing_is_seen_as_often_as_two_standard_errors_say(self) -> None:
        from scipy.stats import norm

        random = np.random.default_rng(0)
        labels = np.repeat([0, 1], [150, 50])
        guessed = [above_guessing((random.integers(0, 2, 200) == labels) * 1.0, labels) for _ in range(2_000)]
        assert np.mean(guessed) == pytest.approx(norm.sf(2), abs=0.012)
        assert above_guessing((random.random(200) < 0.65) * 1.0, labels)

    def test_figures_agree_with_independent_ones(self) -> None:
        from sklearn.metrics import log_loss, mean_squared_error, r2_score

        random = np.random.default_rng(0)
        logits, labels = random.normal(size=(50, 3)), random.integers(0, 3, 50)
        values, loss = of_classes(logits, labels)
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        assert values.mean() == np.mean(logits.argmax(1) == labels)
        assert loss == pytest.approx(log_loss(labels, shares))
        true = random.normal(size=50)
        said = true + random.normal(size=50)
        values, loss = of_quantities(said[:, None], true)
        assert values.mean() == pytest.approx(r2_score(true, said))
        assert loss == pytest.approx(mean_squared_error(true, said))


class TestFolds:
    @given(st.lists(st.integers(0, 3), min_size=8, max_size=60), st.integers(0, 3))
    def test_every_example_is_held_out_once_and_classes_keep_their_proportion(
        self, labels: list[int], seed: int
    ) -> None:
        texts = tuple(f"text {number}" for number in range(len(labels)))
        data = TaskData(texts, None, tuple(labels), ("a", "b", "c", "d"), "classification", Columns("text"))
        folds = folds_of(data, seed)
        places = [place for fold in folds for place in fold.places]
        assert sorted(places) == list(range(len(labels)))
        for fold in folds:
            assert sorted(fold.train.texts + fold.held_out.texts) == sorted(texts)
            assert fold.held_out.texts == tuple(texts[place] for place in fold.places)
            for label in range(4):
                held = sum(labels[place] == label for place in fold.places)
                assert abs(held - labels.count(label) / FOLDS) < 1


class TestResuming:
    def test_finished_runs_are_used_again(self, data: TaskData, clock: Clock, tmp_path: Path) -> None:
        planted = Planted(data, clock, inside)
        first = planted.run(minutes=(18 + 3 * 30 + 20) / 60, work=tmp_path)
        assert len(first.runs) == 3
        whole = planted.run(work=tmp_path)
        assert len(planted.bench.made) == len(set(planted.bench.made)) == len(whole.runs) == 27
        assert whole.runs[:3] == first.runs
        assert planted.bench.rehearsed == list(ALL)  # speeds were known the second time
        again = planted.run(work=tmp_path)
        assert len(planted.bench.made) == 27
        assert (again.results, again.runs, again.enough) == (whole.results, whole.runs, True)

    @pytest.mark.parametrize("after", [20, 49, 300, 500, 800])
    def test_a_trial_that_was_stopped_at_any_moment_gives_the_same_answer(
        self, data: TaskData, clock: Clock, tmp_path: Path, after: int
    ) -> None:
        planted = Planted(data, clock, inside)
        whole = planted.run()

        def interrupt(doing: str, done: int, needed: int) -> None:
            if done == after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            planted.run(work=tmp_path, progress=interrupt)
        journal = tmp_path / "trial.jsonl"
        kept = len(journal.read_text().splitlines())
        assert kept == max(0, after - 3 * REHEARSAL) // RUN
        with journal.open("a") as stream:
            stream.write('{"fingerprint": "cut o')
        gone_on = planted.run(work=tmp_path)
        assert (gone_on.results, gone_on.runs, gone_on.notes) == (whole.results, whole.runs, whole.notes)
        lines = journal.read_text().splitlines()
        assert all(json.loads(line)["fingerprint"] for line in lines if line != '{"fingerprint": "cut o')


def run_trial(model: Path, data: TaskData, *, clock: Clock | None = None, **asked: Any) -> Trial:
    how: dict[str, Any] = {} if clock is None else {"progress": clock.step}
    return trials.run_trial(model, data, TrialOptions(**asked), clock=clock or time.monotonic, **how)


class TestRealRuns:
    """Nothing planted: tiny models, trained."""

    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(trial_bench, "_LEAST_STEPS", 5)
        monkeypatch.setattr(trial_bench, "_LEAST_PASSES", 2)

    @pytest.fixture
    def judged(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """Every judging of held-out examples: the model, their tokens and labels in order."""
        import transformers

        seen: list[Any] = []
        predict = transformers.Trainer.predict

        def spy(trainer: Any, rows: Any, *rest: Any, **more: Any) -> Any:
            found = predict(trainer, rows, *rest, **more)
            seen.append((trainer.model, [row["input_ids"] for row in rows], found.label_ids.tolist()))
            return found

        monkeypatch.setattr(transformers.Trainer, "predict", spy)
        return seen

    def test_methods_are_judged_on_the_same_examples_in_the_same_order(
        self, bases: Any, data: TaskData, judged: list[Any], clock: Clock
    ) -> None:
        from transformers import AutoTokenizer

        # Rehearsals of 6 steps, runs of 12.
        trial = run_trial(bases("bert"), data, minutes=60 / 60, price=0.0, clock=clock)
        assert [run.method for run in trial.runs] == list(ALL)
        held_out = folds_of(data, 0)[0].held_out
        tokenizer = AutoTokenizer.from_pretrained(bases("bert"))
        for run, (model, tokens, labels) in zip(trial.runs, judged[3:], strict=True):
            assert labels == list(held_out.labels or ())
            assert tokens == tokenizer(list(held_out.texts))["input_ids"]
            independent = accuracy(model.eval(), tokenizer, list(held_out.texts), list(held_out.labels or ()))
            assert run.score == pytest.approx(independent)

    def test_a_model_without_biases_has_no_bitfit(self, bases: Any, data: TaskData, clock: Clock) -> None:
        trial = run_trial(bases("llama"), data, minutes=27 / 60, clock=clock)
        assert [result.method for result in trial.results] == ["lora"]
        assert not any("bitfit" in note for note in trial.notes)
        with pytest.raises(NoBiasesError):
            run_trial(bases("llama"), data, minutes=1, methods=("bitfit",), clock=clock)

    def test_a_decoder_learns_quantities(self, bases: Any, tmp_path: Path, clock: Clock) -> None:
        table = [
            {"text": row["text"], "score": str(number % 3 + number / 1000)}
            for number, row in enumerate(rows(120))
        ]
        data = read_examples(write_csv(tmp_path / "numbers.csv", table))
        assert data.task == "regression"
        trial = run_trial(bases("gpt2"), data, minutes=22 / 60, methods=("bitfit",), clock=clock)
        run = trial.runs[0]
        held_out = folds_of(data, 0)[0].held_out
        # R² and the mean squared error are the same thing in another unit.
        assert run.score == pytest.approx(1 - run.loss / np.var(held_out.labels))

    def test_full_fine_tuning_is_tried_where_its_parameters_cost_little(
        self, bases: Any, data: TaskData, clock: Clock
    ) -> None:
        dear = run_trial(bases("bert"), data, minutes=40 / 60, clock=clock)
        assert {run.method for run in dear.runs} == {"bitfit", "lora"}


class TestRefusals:
    def test_unlabelled_data(self, bases: Any, tmp_path: Path) -> None:
        plain = read_examples(write_csv(tmp_path / "plain.csv", [{"text": f"w{i}"} for i in range(40)]))
        with pytest.raises(DataError, match="no label column"):
            run_trial(bases("bert"), plain, minutes=1)

    def test_too_few_examples(self, bases: Any, data: TaskData) -> None:
        with pytest.raises(DataError, match=r"3 examples are too few for a trial.*give 8 or more"):
            run_trial(bases("bert"), data.take([0, 1, 2]), minutes=1)

    @pytest.mark.parametrize("minutes", [0, -1, math.nan, math.inf])
    def test_no_budget(self, bases: Any, data: TaskData, minutes: float) -> None:
        with pytest.raises(SettingsError, match="minutes"):
            run_trial(bases("bert"), data, minutes=minutes)

    @pytest.mark.parametrize("methods", [("head",), ("magic", "lora"), ()])
    def test_methods_that_are_none(self, bases: Any, data: TaskData, methods: tuple[str, ...]) -> None:
        with pytest.raises(SettingsError, match="choose among bitfit, lora, full"):
            run_trial(bases("bert"), data, minutes=1, methods=methods)

    def test_a_directory_that_can_t_be_written_is_an_error_before_any_run(
        self, bases: Any, data: TaskData, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError):
            run_trial(bases("bert"), data, minutes=1, work_dir=tmp_path / "file" / "work")
