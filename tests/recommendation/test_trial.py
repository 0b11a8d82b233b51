"""Short runs within a budget: what is run, in which order, what it comes to, and what is not claimed."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuning.reference import accuracy
from tuning.tiny import rows, write_csv

from bitfit_probe.data import TaskData, read_examples
from bitfit_probe.errors import DataError, NoBiasesError, OutputError, SettingsError
from bitfit_probe.recommendation import trial as trials
from bitfit_probe.recommendation.trial import bench as trial_bench
from bitfit_probe.recommendation.trial.bench import Bench
from bitfit_probe.recommendation.trial.curve import fit_curve
from bitfit_probe.recommendation.trial.plan import curve_sizes, sweep_size
from bitfit_probe.recommendation.trial.result import interval_of, paired_gap
from bitfit_probe.recommendation.trial.run import Pace, Step
from bitfit_probe.recommendation.trial.scores import of_classes, of_quantities
from bitfit_probe.records.options import TrialOptions
from bitfit_probe.tuning.encode import split
from bitfit_probe.tuning.options import LEARNING_RATES, TuneOptions
from bitfit_probe.tuning.tune import tune


def run_trial(model, data, *, progress=None, clock=time.monotonic, **asked):
    return trials.run_trial(model, data, TrialOptions(**asked), progress=progress, clock=clock)


ALL = ("bitfit", "lora", "full")
#: 120 examples of three classes: 10 of each are held out, 30 of each train.
HELD_OUT, TRAINED = 30, 90


class Clock:
    """A second a training step, and none for anything else."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.told: list[tuple[float, float]] = []

    def __call__(self) -> float:
        return self.now

    def step(self, done: float, budget: float) -> None:
        self.told.append((done, budget))
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


class Planted:
    """Stands in for training: of the held-out examples the first `right(method, place, size)` come out right.

    `place` is the rate in half orders of magnitude from the middle one; NaN is divergence.
    """

    def __init__(self, right) -> None:
        self.right = right
        self.rehearsed: list[str] = []
        self.made: list[Step] = []

    def train(self, bench, settings, train, judged, tick):
        batches = math.ceil(len(train) / settings.batch_size)
        steps = batches * settings.epochs
        for _ in range(steps):
            tick()
        labels = np.asarray(bench.held_out.labels)
        step = Step(settings.method, settings.learning_rate, len(train))
        if judged < HELD_OUT or settings.epochs == 2:
            self.rehearsed.append(settings.method)
            count = 0.0
        else:
            self.made.append(step)
            count = self.right(step.method, steps_away(step.method, step.rate), step.size)
        if math.isnan(count):
            return trial_bench._Trained(np.full((len(labels), 3), math.nan), Pace(0.0, 1.0, 0.0), steps)
        said = np.where(np.arange(len(labels)) < count, labels, (labels + 1) % 3)
        return trial_bench._Trained(4.0 * np.eye(3)[said], Pace(0.0, 1.0, 0.0), float(steps))


@pytest.fixture
def planted(monkeypatch):
    """Replaces training; runs are 15 steps on 90 and 45 examples at five passes and at least 10 steps."""
    monkeypatch.setattr(trial_bench, "_LEAST_STEPS", 10)

    def plant(right):
        made = Planted(right)
        monkeypatch.setattr(Bench, "_train", lambda bench, *given: made.train(bench, *given))
        return made

    return plant


def inside(method: str, place: int, size: int) -> float:
    """Best at the middle rate, better with more examples."""
    return 24 + (size > 30) + (size > 60) - 3 * abs(place)


def ran(trial):
    return [(run.method, steps_away(run.method, run.rate), run.size) for run in trial.runs]


class TestPlanning:
    def test_the_cheapest_information_comes_first_and_methods_take_turns(self, bases, data, planted, clock):
        planted(inside)
        trial = run_trial(bases("bert"), data, minutes=100, progress=clock.step, clock=clock)
        sweep = [(method, place, TRAINED) for place in (0, 1, -1) for method in ALL]
        curve = [(method, 0, size) for size in (24, 45) for method in ALL]
        assert ran(trial) == sweep + curve
        assert trial.enough
        assert (trial.trained_on, trial.held_out) == (TRAINED, HELD_OUT)
        assert all(not result.at_edge for result in trial.results)
        # 30 examples, 26 of them right: the one thing that no budget mends.
        assert len(trial.notes) == 1
        assert trial.notes[0].startswith("30 held-out examples: an accuracy is known to ± ")

    def test_all_methods_get_the_same_passes(self, bases, data, planted, clock):
        planted(inside)
        trial = run_trial(bases("bert"), data, minutes=100, progress=clock.step, clock=clock)
        # 6, 3 and 2 batches of 16; 5 passes each, all at least 10 steps.
        assert {(run.size, run.steps) for run in trial.runs} == {(90, 30), (45, 15), (24, 10)}

    def test_it_goes_outward_where_the_best_is_at_the_edge(self, bases, data, planted, clock):
        peaks = {"bitfit": 0, "lora": 2, "full": 9}
        planted(lambda method, place, size: 28 - 3 * abs(place - peaks[method]))
        trial = run_trial(bases("bert"), data, minutes=100, progress=clock.step, clock=clock)
        tried = {method: sorted({place for name, place, _ in ran(trial) if name == method}) for method in ALL}
        # Full's best lies beyond the three that are tried outside.
        assert tried == {
            "bitfit": [-1, 0, 1],
            "lora": [-1, 0, 1, 2, 3],
            "full": [-1, 0, 1, 2, 3, 4],
        }
        assert [result.at_edge for result in trial.results] == [False, False, True]
        assert [steps_away(result.method, result.rate) for result in trial.results] == [0, 2, 4]
        assert not trial.enough
        assert "the best rate of full, 0.005, is the highest that was tried" in trial.notes

    def test_a_budget_in_the_middle_has_all_methods_at_the_middle_rate(self, bases, data, planted, clock):
        made = planted(inside)
        # Three rehearsals of 6 steps, three runs of 10 on the cheapest size; a fourth might end at 59 s.
        trial = run_trial(bases("bert"), data, minutes=55 / 60, progress=clock.step, clock=clock)
        assert made.rehearsed == list(ALL)
        assert [(method, place) for method, place, _ in ran(trial)] == [(method, 0) for method in ALL]
        assert trial.seconds == 3 * 6 + 3 * 10
        assert not trial.enough
        for method in ALL:
            assert f"the budget ended before {method} was tried at more than one rate" in trial.notes
        assert all(result.at_edge and result.extrapolated is None for result in trial.results)

    def test_a_budget_for_nothing_gives_no_results_and_says_so(self, bases, data, planted, clock):
        made = planted(inside)
        trial = run_trial(bases("bert"), data, minutes=3 / 60, progress=clock.step, clock=clock)
        assert made.made == []
        assert (trial.runs, trial.results, trial.enough, trial.trained_on) == ((), (), False, 0)
        assert trial.notes == tuple(f"the budget ended before {method} was trained" for method in ALL)
        assert trial.seconds == 4  # stopped by the first step after the budget's end

    @pytest.mark.parametrize("seconds", [19, 40, 60, 90, 150, 210, 300])
    def test_no_run_begins_that_is_not_expected_to_end(self, bases, data, planted, clock, seconds):
        planted(inside)
        trial = run_trial(bases("bert"), data, minutes=seconds / 60, progress=clock.step, clock=clock)
        assert trial.seconds <= seconds  # here expectations are exact
        assert clock.told[-1][1] == pytest.approx(seconds)

    def test_a_rate_that_diverges_is_not_taken(self, bases, data, planted, clock):
        gone = {"bitfit": 0, "lora": 9, "full": -9}
        planted(lambda method, place, size: math.nan if place > gone[method] else 20 - place)
        trial = run_trial(bases("bert"), data, minutes=100, progress=clock.step, clock=clock)
        assert trial.of("full") is None
        assert math.isnan(next(run.score for run in trial.runs if run.method == "full"))
        # It was sought three steps further down.
        assert "every run of full diverged, at rates down to 5e-07" in trial.notes
        assert steps_away("bitfit", trial.of("bitfit").rate) == -4
        assert not trial.enough

    def test_rates_that_taught_nothing_are_taken_for_too_low(self, bases, data, planted, clock):
        # A third of the examples is right by guessing; lora learns at ten times its middle rate.
        planted(
            lambda method, place, size: (
                inside(method, place - 2, size) if (method, place) == ("lora", 2) else 10
            )
        )
        trial = run_trial(
            bases("bert"), data, minutes=100, methods=["bitfit", "lora"], progress=clock.step, clock=clock
        )
        sweep = {(method, place) for method, place, size in ran(trial) if size == TRAINED}
        assert sweep == {("bitfit", place) for place in range(-1, 5)} | {
            ("lora", place) for place in range(-1, 4)
        }
        assert "bitfit learned nothing: guessing gives 0.333 as well" in trial.notes
        assert not any(note.startswith("lora") for note in trial.notes)
        assert not trial.enough

    def test_where_the_curve_lies(self):
        assert curve_sizes([800, 400, 200, 100], 800) == [200, 400]
        assert curve_sizes([800, 400, 200, 100], 200) == [400, 800]
        assert curve_sizes([800, 400, 200, 100], 100) == [200, 400, 800]

    @pytest.mark.parametrize(
        ("left", "size"),
        # A round costs a second an example. On 800: 4 · 800 + 400 + 200 = 3,800; on 400: 1,600 + 1,000;
        # on 200: 800 + 1,200; on 100: 400 + 1,400. Below that the sweep gets half: 400 is half of 800.
        [
            (3800, 800),
            (3799, 400),
            (2600, 400),
            (2599, 200),
            (1999, 100),
            (1799, 200),
            (1599, 100),
            (10, 100),
        ],
    )
    def test_the_sweep_is_as_large_as_the_budget_allows(self, left, size):
        assert sweep_size([800, 400, 200, 100], float, left) == size

    def test_of_equally_cheap_sizes_the_largest_is_swept(self):
        assert sweep_size([800, 400, 200], lambda size: max(size, 400), 1.0) == 400

    def test_a_small_sweep_climbs_to_all_examples(self, bases, data, planted, clock):
        planted(inside)
        # Rounds cost 90, 45 and 30 s. Sweep and curve on 90 need 4 · 90 + 75 = 435 s, on 45 they need 300 s.
        trial = run_trial(bases("bert"), data, minutes=(18 + 310) / 60, progress=clock.step, clock=clock)
        assert [size for _, _, size in ran(trial)] == 9 * [45] + 3 * [24] + 3 * [90]
        assert trial.enough
        assert trial.trained_on == TRAINED


class TestResults:
    def test_methods_are_compared_on_the_size_that_all_have(self, bases, data, planted, clock):
        planted(inside)
        # The sweep on 45 (135 s) and the curve's 24 (30 s) are done, and one run on 90.
        trial = run_trial(
            bases("bert"), data, minutes=(18 + 300) / 60, clock=clock, progress=_stop_after(clock, 13)
        )
        assert [run.size for run in trial.runs][-1] == 90
        assert {result.score for result in trial.results} == {25 / 30}
        assert trial.trained_on == 90
        assert not trial.enough
        assert "not all methods were trained on all 90 examples; they are compared on 45" in trial.notes
        assert "the run that did not fit any more was lora at 0.0005 on 90 examples" in trial.notes

    def test_gaps_are_paired_points_below_the_best(self, bases, data, planted, clock):
        from scipy.stats import binom

        level = {"bitfit": 24, "lora": 30, "full": 30}
        planted(lambda method, place, size: level[method] - 6 * abs(place))
        trial = run_trial(bases("bert"), data, minutes=100, progress=clock.step, clock=clock)
        bitfit, lora, full = trial.results
        assert bitfit.gap == pytest.approx(20.0)
        # The first 24 are right in both: the resampled gap is a binomial share of 30 with p = 0.2.
        expected = binom.ppf([0.1, 0.9], 30, 0.2) / 30 * 100
        assert bitfit.gap_interval == pytest.approx(tuple(expected), abs=100 / 30 / 2)
        assert bitfit.interval == pytest.approx(tuple(1 - expected[::-1] / 100), abs=1 / 30 / 2)
        assert (lora.gap, lora.gap_interval) == (0.0, (0.0, 0.0))
        # As good on all 30: by the rule of three it may still be 10 points better or worse.
        assert (full.gap, full.gap_interval) == (0.0, pytest.approx((-10.0, 10.0)))

    def test_pairing_removes_what_both_share(self):
        random = np.random.default_rng(3)
        best = (random.random(400) < 0.6).astype(float)
        other = best.copy()
        other[np.flatnonzero(best)[:8]] = 0.0  # 2 points below
        gap, (low, high) = paired_gap(best, other, 0)
        assert gap == pytest.approx(2.0)
        assert 0 < low < gap < high < 4
        alone = interval_of(other, 0)
        assert 100 * (alone[1] - alone[0]) > 3 * (high - low)

    def test_extrapolation_is_the_least_squares_line_in_one_over_root_n(self, bases, data, planted, clock):
        planted(lambda method, place, size: {24: 20, 45: 21, 90: 22}[size] - 3 * abs(place))
        trial = run_trial(bases("bert"), data, minutes=100, progress=clock.step, clock=clock)
        sizes, errors = np.array([24, 45, 90]), np.array([10, 9, 8]) / 30
        slope, floor = np.polyfit(1 / np.sqrt(sizes), errors, 1)
        assert floor > 0  # else the fit would be another
        for result in trial.results:
            assert result.extrapolated == pytest.approx(1 - (floor + slope / math.sqrt(120)))

    def test_figures_agree_with_independent_ones(self):
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


def _stop_after(clock: Clock, runs: int):
    """Steps of a second until so many runs are done: 9 on 45 examples, 3 on 24, then 90; then the end."""
    steps = 3 * 6 + 9 * 15 + 3 * 10 + (runs - 12) * 30

    def progress(done: float, budget: float) -> None:
        clock.step(done, budget)
        if len(clock.told) == steps:
            clock.now += budget

    return progress


class TestResuming:
    def test_finished_runs_are_used_again(self, bases, data, planted, clock, tmp_path):
        made = planted(inside)
        first = run_trial(
            bases("bert"), data, minutes=55 / 60, work_dir=tmp_path, progress=clock.step, clock=clock
        )
        before = len(made.made)
        assert before == len(first.runs) == 3
        whole = run_trial(
            bases("bert"), data, minutes=100, work_dir=tmp_path, progress=clock.step, clock=clock
        )
        assert len(made.made) == len(whole.runs) == 15  # none was made twice
        assert len(set(made.made)) == 15
        assert whole.runs[:3] == first.runs
        assert made.rehearsed == list(ALL)  # speeds were known the second time
        assert whole.seconds == sum(run.steps for run in whole.runs)
        again = run_trial(
            bases("bert"), data, minutes=100, work_dir=tmp_path, progress=clock.step, clock=clock
        )
        assert len(made.made) == 15
        assert (again.results, again.runs, again.enough) == (whole.results, whole.runs, True)

    def test_another_seed_rank_or_data_set_is_another_trial(self, bases, data, planted, clock, tmp_path):
        made = planted(inside)

        def count(data, **how):
            before = len(made.made)
            run_trial(
                bases("bert"), data, minutes=100, work_dir=tmp_path, progress=clock.step, clock=clock, **how
            )
            return len(made.made) - before

        assert count(data) == 15
        assert count(data, seed=1) == 15
        assert count(data, lora_r=4) == 15
        assert count(data.take(list(reversed(range(120))))) == 15
        assert count(data) == 0  # its lines are still there

    def test_an_interrupted_trial_goes_on(self, bases, data, planted, clock, tmp_path):
        made = planted(inside)

        def interrupt(done, budget):
            clock.step(done, budget)
            if len(clock.told) == 18 + 30 + 10:  # in the second run
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_trial(bases("bert"), data, minutes=100, work_dir=tmp_path, progress=interrupt, clock=clock)
        journal = tmp_path / "trial.jsonl"
        assert len(journal.read_text().splitlines()) == 1
        with journal.open("a") as stream:
            stream.write('{"fingerprint": "cut o')
        trial = run_trial(
            bases("bert"), data, minutes=100, work_dir=tmp_path, progress=clock.step, clock=clock
        )
        assert len(trial.runs) == len(made.made) == 15
        lines = journal.read_text().splitlines()
        assert len(lines) == 16
        assert all(json.loads(line)["fingerprint"] for line in lines if line != '{"fingerprint": "cut o')

    def test_the_size_of_the_sweep_stays(self, bases, data, planted, clock, tmp_path):
        planted(inside)
        how = {"work_dir": tmp_path, "progress": clock.step, "clock": clock}
        small = run_trial(bases("bert"), data, minutes=70 / 60, **how)
        size = small.runs[0].size
        assert size < TRAINED
        whole = run_trial(bases("bert"), data, minutes=100, **how)
        assert [run.size for run in whole.runs][:9] == 9 * [size]
        assert whole.enough

    def test_a_directory_that_can_t_be_written_is_an_error_before_any_run(
        self, bases, data, planted, tmp_path
    ):
        made = planted(inside)
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError):
            run_trial(bases("bert"), data, minutes=1, work_dir=tmp_path / "file" / "work")
        assert made.rehearsed == []


class TestCurve:
    def test_an_exact_curve_is_found(self):
        curve = fit_curve({n: 0.05 + 1.2 / math.sqrt(n) for n in (16, 64, 256)})
        assert (curve.floor, curve.slope) == pytest.approx((0.05, 1.2))
        assert curve.error(1024) == pytest.approx(0.05 + 1.2 / 32)

    def test_one_size_has_no_curve(self):
        assert fit_curve({}) is None
        assert fit_curve({64: 0.2}) is None

    def test_errors_that_rise_are_flat_and_steep_ones_end_at_0(self):
        rising = fit_curve({100: 0.1, 400: 0.2})
        assert (rising.slope, rising.floor) == pytest.approx((0.0, 0.15))  # the mean
        # Through both points the floor would be −0.1. Without one: Σ(e/√n) / Σ(1/n), by hand.
        steep = fit_curve({100: 0.3, 400: 0.1})
        assert steep.floor == 0.0
        assert steep.slope == pytest.approx((0.3 / 10 + 0.1 / 20) / (1 / 100 + 1 / 400))

    @given(
        st.dictionaries(st.integers(1, 10**6), st.floats(0, 1), min_size=2, max_size=6),
        st.integers(0, 10**7),
        st.integers(0, 10**7),
    )
    def test_it_never_leaves_what_an_error_can_be_and_never_rises(self, errors, more, even_more):
        curve = fit_curve(errors)
        most = max(errors)
        at = curve.error(most + more)
        assert 0 <= at <= max(errors.values()) + 1e-9 <= 1 + 1e-9
        assert curve.error(most + more + even_more) <= at


class TestRealRuns:
    """Nothing planted: tiny models, trained."""

    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch):
        monkeypatch.setattr(trial_bench, "_LEAST_STEPS", 5)
        monkeypatch.setattr(trial_bench, "_LEAST_PASSES", 2)

    @pytest.fixture
    def judged(self, monkeypatch):
        """Every judging of held-out examples: the model, their tokens and labels in order."""
        import transformers

        seen = []
        predict = transformers.Trainer.predict

        def spy(trainer, rows, *rest, **more):
            found = predict(trainer, rows, *rest, **more)
            seen.append((trainer.model, [row["input_ids"] for row in rows], found.label_ids.tolist()))
            return found

        monkeypatch.setattr(transformers.Trainer, "predict", spy)
        return seen

    def test_methods_are_judged_on_the_same_examples_in_the_same_order(self, bases, data, judged, clock):
        from transformers import AutoTokenizer

        # Rehearsals of 6 steps, runs of 6.
        trial = run_trial(bases("bert"), data, minutes=40 / 60, progress=clock.step, clock=clock)
        assert [run.method for run in trial.runs] == list(ALL)
        _, held_out = split(data, 0.25, 0)
        tokenizer = AutoTokenizer.from_pretrained(bases("bert"))
        for run, (model, tokens, labels) in zip(trial.runs, judged[3:], strict=True):
            assert labels == list(held_out.labels)
            assert tokens == tokenizer(list(held_out.texts))["input_ids"]
            independent = accuracy(model.eval(), tokenizer, list(held_out.texts), list(held_out.labels))
            assert run.score == pytest.approx(independent)

    @pytest.mark.parametrize("known", [True, False])
    def test_biases_do_where_the_base_knows_the_task_and_only_there(
        self, bases, tmp_path, monkeypatch, clock, known
    ):
        """Whether the first word is w0, asked of a random body and of one that was trained to tell."""
        base = bases("bert")
        if known:  # three classes, so that its head is none for two
            how = {"method": "lora", "merge": True, "learning_rate": 1e-2, "epochs": 8, "eval_split": 0.0}
            base = tune(
                base,
                write_csv(tmp_path / "three.csv", rows(120)),
                out=tmp_path / "base",
                options=TuneOptions(batch_size=16, **how),
            ).path
        table = [row | {"label": str(row["label"] == "c0")} for row in rows(66, seed=6)]
        data = read_examples(write_csv(tmp_path / "two.csv", table))
        monkeypatch.setattr(trial_bench, "_LEAST_STEPS", 40)
        # Two rehearsals of 6 steps, and runs of 40: both at the middle rate, or a sweep and one rate beyond.
        how = {"methods": ["lora", "bitfit"], "progress": clock.step, "clock": clock}
        trial = run_trial(base, data, minutes=(12 + (2 if known else 8) * 40 + 5) / 60, **how)
        bitfit, lora = trial.results
        if known:
            assert (bitfit.score, bitfit.gap) == (1.0, 0.0)
        else:
            assert lora.gap == 0.0
            assert bitfit.gap_interval[0] > 0

    def test_a_model_without_biases_has_no_bitfit(self, bases, data, clock):
        trial = run_trial(bases("llama"), data, minutes=27 / 60, progress=clock.step, clock=clock)
        assert [result.method for result in trial.results] == ["lora", "full"]
        assert not any("bitfit" in note for note in trial.notes)
        with pytest.raises(NoBiasesError):
            run_trial(bases("llama"), data, minutes=1, methods=["bitfit"], progress=clock.step, clock=clock)

    def test_a_decoder_learns_quantities(self, bases, tmp_path, clock):
        table = [
            {"text": row["text"], "score": str(number % 3 + number / 1000)}
            for number, row in enumerate(rows(120))
        ]
        data = read_examples(write_csv(tmp_path / "numbers.csv", table))
        assert data.task == "regression"
        how = {"methods": ["bitfit"], "progress": clock.step, "clock": clock}
        trial = run_trial(bases("gpt2"), data, minutes=18 / 60, **how)
        run = trial.runs[0]
        _, held_out = split(data, 0.25, 0)
        # R² and the mean squared error are the same thing in another unit.
        assert run.score == pytest.approx(1 - run.loss / np.var(held_out.labels))
        assert trial.notes[-1].startswith("30 held-out examples: R² × 100 is known to ± ")


class TestRefusals:
    def test_unlabelled_data(self, bases, tmp_path):
        plain = read_examples(write_csv(tmp_path / "plain.csv", [{"text": f"w{i}"} for i in range(40)]))
        with pytest.raises(DataError, match="no label column"):
            run_trial(bases("bert"), plain, minutes=1)

    def test_too_few_examples(self, bases, data):
        with pytest.raises(DataError, match=r"3 examples are too few.*give more examples"):
            run_trial(bases("bert"), data.take([0, 1, 2]), minutes=1)

    @pytest.mark.parametrize("minutes", [0, -1, math.nan, math.inf])
    def test_no_budget(self, bases, data, minutes):
        with pytest.raises(SettingsError, match="minutes"):
            run_trial(bases("bert"), data, minutes=minutes)

    @pytest.mark.parametrize("methods", [["head"], ["magic", "lora"], []])
    def test_methods_that_are_none(self, bases, data, methods):
        with pytest.raises(SettingsError, match="choose among bitfit, lora, full"):
            run_trial(bases("bert"), data, minutes=1, methods=methods)
