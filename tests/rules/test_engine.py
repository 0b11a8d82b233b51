"""The engine: symptoms give way to causes, order, selection, what was not checked, what does not open."""

from __future__ import annotations

import pytest
from support.pairs import bitfit, write_pair

import bitfit_probe
from bitfit_probe.errors import EmptyError, PointerError
from bitfit_probe.pair import open_pairs
from bitfit_probe.records import Finding
from bitfit_probe.rules import CannotTell, all_rules, rule
from bitfit_probe.rules.engine.runner import matching, run

HEADINGS = ["What it means", "Why it matters", "How it is recognised", "What to do", "References"]


def finder(code, severity="error", *, explains=(), raises=None, times=1, needs=("comparison",)):
    """A rule that always finds something, or always raises."""

    @rule(code, f"rule-{code}", severity, needs=needs, explains=explains)
    def found(pair, this):
        """Found.

        What to do
        ----------
        Mend
        it.

        References
        ----------
        None
        """
        if raises is not None:
            raise raises
        for _ in range(times):
            yield this.finding(f"{code} found", subjects=("w",))

    return found


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    return open_pairs(*_paths(tmp_path_factory.mktemp("pair")))


def _paths(folder):
    base, tuned = write_pair(folder, *bitfit())
    return base, (tuned,)


@pytest.fixture
def with_rules(tried):
    return lambda *rules, **options: run(by_code(*rules), tried, **options)


def by_code(*rules):
    return {item.code: item for item in sorted(rules, key=lambda item: item.code)}


def codes(found):
    return [item.code for item in found.findings]


def test_a_cause_takes_the_place_of_its_symptoms(with_rules):
    chain = finder("BP101", explains=("BP201",)), finder("BP201", explains=("BP301",)), finder("BP301")
    assert codes(with_rules(*chain)) == ["BP101"]


def test_a_symptom_without_its_cause_stands(with_rules):
    silent = finder("BP101", explains=("BP301",), raises=CannotTell("no"))
    assert codes(with_rules(silent, finder("BP301"))) == ["BP301"]


def test_an_ignored_cause_still_explains(with_rules):
    found = with_rules(finder("BP101", explains=("BP301",)), finder("BP301"), ignore=["BP101"])
    assert codes(found) == []
    assert found.checked == ("BP301",)


def test_selecting_a_symptom_runs_its_cause_too(with_rules):
    assert codes(with_rules(finder("BP101", explains=("BP301",)), finder("BP301"), select=["BP3"])) == []


def test_worst_first_then_what_to_fix_first(with_rules):
    rules = [
        finder("BP601", "info"),
        finder("BP301", "warning"),
        finder("BP401"),
        finder("BP201"),
        finder("BP501"),
        finder("BP102"),
    ]
    assert codes(with_rules(*rules)) == ["BP102", "BP501", "BP201", "BP401", "BP301", "BP601"]


def test_the_same_finding_once(with_rules):
    assert codes(with_rules(finder("BP101", times=3))) == ["BP101"]


def test_a_finding_names_its_checkpoint_and_takes_its_advice_from_the_docstring(with_rules, tried):
    (found,) = with_rules(finder("BP101")).findings
    assert (found.tuned, found.advice) == (str(tried[0].path), "Mend it.")


def test_what_cannot_be_told_is_said(with_rules):
    found = with_rules(finder("BP101", raises=CannotTell("no such file")), finder("BP102"))
    assert [(item.code, item.why) for item in found.not_checked] == [("BP101", "no such file")]
    assert found.checked == ("BP102",)


def test_a_faulty_rule_is_named_and_the_others_run(with_rules):
    found = with_rules(finder("BP101", raises=KeyError("x")), finder("BP102"))
    assert codes(found) == ["BP102"]
    assert found.not_checked[0].code == "BP101"
    assert "KeyError" in found.not_checked[0].why


def test_strict_raises_what_a_rule_raises(with_rules):
    with pytest.raises(KeyError):
        with_rules(finder("BP101", raises=KeyError("x")), strict=True)


def test_an_error_of_the_package_is_a_reason(with_rules):
    error = EmptyError("empty", advice="copy it again", path="x")
    assert "copy it again" in with_rules(finder("BP101", raises=error)).not_checked[0].why


def test_matching_by_beginnings():
    known = ["BP201", "BP202", "BP501", "BP511"]
    assert matching(known, ["bp201"]) == {"BP201"}
    assert matching(known, ["BP5"]) == {"BP501", "BP511"}
    with pytest.raises(ValueError, match="BP9"):
        matching(known, ["BP2", "BP9"])


def pointer(folder):
    base, tuned = write_pair(folder, *bitfit())
    (tuned / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    return base, tuned


def test_a_file_that_no_rule_explains_stays_an_error(tmp_path):
    with pytest.raises(PointerError):
        bitfit_probe.check(*pointer(tmp_path))


def test_a_rule_that_needs_nothing_speaks_where_nothing_opens(tmp_path):
    rules = by_code(finder("BP104", needs=()), finder("BP108", needs=("tuned",)), finder("BP201"))
    base, tuned = pointer(tmp_path)
    found = run(rules, open_pairs(base, [tuned]))
    assert codes(found) == ["BP104"]
    assert [(left.code, left.why) for left in found.not_checked] == [
        ("BP108", "the tuned checkpoint can't be opened"),
        ("BP201", "the two could not be compared"),
    ]


def test_a_note_does_not_stand_for_the_error(tmp_path):
    base, tuned = pointer(tmp_path)
    with pytest.raises(PointerError):
        run(by_code(finder("BP104", "info", needs=())), open_pairs(base, [tuned]))


@pytest.mark.parametrize(
    ("need", "why"),
    [
        ("data", "no --data given"),
        ("adapter", "there is no adapter"),
        ("merged-adapter", "no adapter lies beside merged weights"),
        ("tokenizer", "no tokenizer lies beside the weights"),
        ("trainer-state", "there is no trainer_state.json"),
    ],
)
def test_a_rule_does_not_look_without_what_it_needs(with_rules, need, why):
    found = with_rules(finder("BP101", needs=("comparison", need), raises=KeyError("looked")))
    assert [(left.code, left.why) for left in found.not_checked] == [("BP101", why)]


def test_a_rule_looks_where_what_it_needs_is_there(tmp_path):
    base, tuned = write_pair(tmp_path, *bitfit())
    (tuned / "trainer_state.json").write_text('{"global_step": 1}')
    (tuned / "vocab.txt").write_text("[PAD]\nword\n")
    needs = ("tuned", "comparison", "trainer-state", "tokenizer")
    found = run(by_code(finder("BP101", needs=needs)), open_pairs(base, [tuned]))
    assert (codes(found), found.not_checked) == (["BP101"], ())


def test_others_are_those_given_later(tmp_path):
    base, tuned = write_pair(tmp_path, *bitfit())
    first, second = open_pairs(base, [tuned, base])
    assert [other.path for other in first.others] == [base]
    assert second.others == ()


def test_no_tuned_checkpoint_is_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        bitfit_probe.check(tmp_path)


# The rules as a whole -----------------------------------------------------------------------------


@pytest.mark.parametrize("item", all_rules().values(), ids=lambda item: item.code)
def test_every_rule_is_documented(item):
    explanation = item.explanation
    assert [heading for heading, _ in explanation.sections] == HEADINGS
    assert all(body for _, body in explanation.sections)
    assert explanation.title.endswith(".")
    assert "\n" not in explanation.title


@pytest.mark.parametrize("item", all_rules().values(), ids=lambda item: item.code)
def test_what_a_rule_explains_exists_and_never_leads_back(item):
    seen, todo = set(), list(item.explains)
    while todo:
        code = todo.pop()
        assert code != item.code, f"{item.code} explains itself"
        if code not in seen:
            seen.add(code)
            todo += all_rules()[code].explains


def test_every_kind_of_the_catalogue_has_a_rule():
    assert {number for item in all_rules().values() for number in item.catalogue} == set(range(1, 55))


def test_codes_belong_to_their_folders():
    families = {"1": "files", "2": "training", "3": "movement", "4": "heads", "5": "adapters", "6": "limits"}
    from importlib import import_module
    from pkgutil import iter_modules

    for number, folder in families.items():
        home = import_module(f"bitfit_probe.rules.{folder}")
        for module in iter_modules(home.__path__):
            names = vars(import_module(f"{home.__name__}.{module.name}")).values()
            own = [value for value in names if type(value).__name__ == "Rule"]
            assert {value.code[2] for value in own} <= {number}


def test_a_finding_is_frozen():
    found = Finding("BP101", "x", "error", "m")
    with pytest.raises(AttributeError):
        found.code = "BP102"  # type: ignore[misc]


def test_a_message_stays_short_however_long_the_names_are(with_rules):
    @rule("BP101", "long", "error")
    def long(pair, this):
        """Long."""
        yield this.finding("x" * 299 + "yz")

    assert with_rules(long).findings[0].message == "x" * 299 + "…"
