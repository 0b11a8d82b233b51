"""A recommendation wherever it is shown: the answer first, all of its parts, nothing that a name can do."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import asdict, replace
from itertools import pairwise

import pytest
from support import recommended as made
from support import reports
from support.recommended import recommended

from bitfit_probe.records.recommendation import Expected
from bitfit_probe.rendering import charts, recommended_to_text, report_to_html, report_to_markdown
from bitfit_probe.rendering.page import report_document
from bitfit_probe.rendering.recommend_json import recommended_to_json
from bitfit_probe.rendering.subjects.methods import answer, calibration
from bitfit_probe.rendering.words import in_bytes, shell_lines

GOLDEN = """\
data   data/questions.csv
       300 examples, 6 classes
model  models/minilm
note   3 of 303 rows lack a text or label and were left out.

First, before changing the method:
- The tuned checkpoint moved by no more than 3e-5 (BP203): train again at 5e-4
  or more before blaming BitFit.

Take BitFit, at 0.2 % of the parameters, at a price of 0.5 points for a tenfold
of them. Expected 0.4 points below the best method (80 % interval 0.0 to 1.1).

Calibrated: no, the trial was not completed (docs/validation.md).

What to expect of each method, and what it costs
        points        80 %                         AdamW's   kept a      100
method   below    interval  basis  trained  share   memory     task    tasks
BitFit     0.4  [0.0, 1.1]  runs    66.4 k  0.2 %   797 kB   266 kB  26.6 MB
LoRA       0.1  [0.0, 0.6]  runs    1.33 M    4 %    16 MB  5.33 MB   533 MB
full       0.5  [0.0, 1.4]  runs    33.4 M  100 %   400 MB   133 MB  13.3 GB

Points that a tenfold saving of stored parameters is worth, and what that speaks
for
price  method
0      LoRA
0.5    BitFit
2      BitFit

Because
- A linear probe on the frozen model scores 0.914 [0.88, 0.94]: most of the task
  is already there.

Against
- With 4,000 examples and more LoRA won 5 of 8 comparable tasks.

What would change it
- A trial of 10 minutes (--trial 10) would replace all of this by short runs on
  your own data.

The trial
  6 short runs in 9.7 minutes (the whole plan takes 15.0), trained on 300
  examples; 400 examples held out, each once.

  Short runs, each method at its best rate
  method  rate         score   80 % interval  points below  80 % interval
  BitFit  3e-3         0.860  [0.820, 0.900]           1.0    [-1.0, 3.0]
  LoRA    5e-4         0.870  [0.830, 0.910]           0.0     [0.0, 0.0]
  full    5e-5 (edge)  0.850  [0.810, 0.890]           2.0     [0.0, 4.0]

  - Full fine-tuning was best at its lowest rate, so a lower one may be better
    still.

How
  learning rate  5e-4 to 1e-2, peak
  roles          m2, q, LN2 carry most of what biases reach here, and may do
                 alone (--roles m2,q,LN2)

  q=query, m2=MLP up, LN2=MLP norm.

bitfit-probe tune models/minilm --data data/questions.csv --text text \\
  --label label --method bitfit --search --out tuned-bitfit

The same as a plain Python program
"""
ALL = ("BITFIT", "LORA", "UNDECIDED", "NO_BIASES", "FIRST", "FULL")


def found(name):
    return getattr(made, name)


# Text ---------------------------------------------------------------------------------------------


def test_the_text_at_80_columns():
    assert recommended_to_text(recommended(made.FIRST, trial=made.TRIAL)) == GOLDEN + made.SNIPPET


@pytest.mark.parametrize("width", [40, 60, 79, 80, 120])
@pytest.mark.parametrize("name", ALL)
def test_it_fits_the_terminal(name, width):
    """But for the program, which is there to be copied."""
    text = recommended_to_text(recommended(found(name), trial=made.TRIAL), width)
    before, _, _ = text.partition("import transformers\n")
    assert max(map(len, before.splitlines())) <= width


def test_the_widest_figures_fit_too():
    """A model of seven billion parameters, two digits before the points."""
    wide = replace(
        made.BITFIT,
        expected=(Expected("bitfit", 12.3, (10.1, 34.5), "out of range"),),
        costs=tuple(made.cost(method, 7_012_345_678) for method in ("bitfit", "lora", "full")),
    )
    text = recommended_to_text(recommended(wide))
    assert max(map(len, text.partition("import transformers\n")[0].splitlines())) <= 80
    assert "84.1 GB" in text  # 12 bytes each


def test_what_comes_first_stands_above_the_answer():
    text = recommended_to_text(recommended(made.FIRST))
    places = [text.index(words) for words in ("First, before", "Take BitFit", "Calibrated: no", "Because")]
    assert all(one < other for one, other in pairwise(places))
    assert "First, before" not in recommended_to_text(recommended(made.BITFIT))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "BITFIT",
            "Take BitFit, at 0.2 % of the parameters, at a price of 0.5 points for a tenfold of them. "
            "Expected 0.4 points below the best method (80 % interval 0.0 to 1.1).",
        ),
        (
            "FULL",
            "Take full fine-tuning, at 100 % of the parameters, at a price of 0.5 points for a tenfold of "
            "them. Expected 0.6 points below the best method (80 % interval 0.0 to 1.4).",
        ),
        (
            "UNDECIDED",
            "Undecided: no method beats guessing, so don't choose one yet. Afterwards begin with LoRA.",
        ),
    ],
)
def test_the_answer_is_said_first(name, sentence):
    assert answer(found(name)) == sentence


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("trial", [None, made.TRIAL])
def test_calibration_is_always_said(name, trial):
    result = recommended(found(name), trial=trial)
    said = calibration(result)
    assert said == "calibrated: yes" or "docs/validation.md" in said
    assert ("Calibrated: yes" in recommended_to_text(result)) == found(name).calibrated


def test_without_biases_there_is_no_row_for_bitfit():
    text = recommended_to_text(recommended(made.NO_BIASES))
    assert not re.search("^BitFit ", text, re.MULTILINE)
    assert re.search("^LoRA .* runs ", text, re.MULTILINE)
    assert "BitFit has nothing to train" in text
    assert "Against" not in text


def test_sizes_have_three_digits():
    sizes = (0, 999, 1000, 999_499, 999_500, 1_234_567, 10**15)
    assert [in_bytes(size) for size in sizes] == [
        "0 B",
        "999 B",
        "1 kB",
        "999 kB",
        "1 MB",
        "1.23 MB",
        "1 PB",
    ]


@pytest.mark.parametrize("width", [20, 50, 80, 300])
def test_a_broken_command_is_the_same_command(width):
    words = [
        "bitfit-probe",
        "tune",
        "it's here",
        "--data",
        "a b.csv",
        "--text",
        "--x",
        "--search",
        "--out",
        "o",
    ]
    lines = shell_lines(shlex.join(words), width)
    script = "printf '%s\\n' " + "\n".join(lines)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == words
    assert all(len(line) <= max(width, 25) for line in lines)


# JSON ---------------------------------------------------------------------------------------------


def test_the_json_has_the_documented_keys():
    document = json.loads(recommended_to_json(recommended(made.FIRST, trial=made.TRIAL, check=made.CHECK)))
    assert document["format_version"] == 1
    assert [item["measure"] for item in document["evidence"]] == ["linear_probe", "biases"]
    answered = document["recommendation"]
    assert set(answered) == {
        "method",
        "calibrated",
        "price",
        "margin",
        "prices",
        "expected",
        "because",
        "against",
        "would_change",
        "first",
        "begin_with",
        "lora",
        "learning_rate",
        "roles",
        "warnings",
        "costs",
        "command",
        "snippet",
    }
    assert answered["expected"]["bitfit"] == {"gap": 0.4, "interval": [0.0, 1.1], "basis": "runs"}
    assert answered["costs"]["lora"] == {
        "trainable": 1_332_486,
        "optimizer_bytes": 12 * 1_332_486,
        "checkpoint_bytes": 4 * 1_332_486,
    }
    assert answered["lora"] is None
    assert document["trial"]["results"][1]["score"] == 0.87
    assert document["check"]["findings"][0]["url"] == "docs/findings.md#bp203"


def test_the_json_says_null_for_what_was_not_asked():
    document = json.loads(recommended_to_json(recommended(made.LORA)))
    assert (document["trial"], document["check"]) == (None, None)
    assert document["recommendation"]["lora"]["rank"] == 4
    assert set(document["recommendation"]["lora"]) >= {"rank", "targets"}


def test_it_holds_what_distance_prints():
    document = json.loads(recommended_to_json(recommended()))
    assert set(asdict(made.DISTANCE)) <= set(document)
    assert document["reach"]["smallest_rank"] == 4


def test_json_has_no_nan():
    odd = replace(made.BITFIT, expected=(Expected("bitfit", float("nan"), (0.0, float("inf")), "runs"),))
    expected = json.loads(recommended_to_json(recommended(odd)))["recommendation"]["expected"]["bitfit"]
    assert expected == {"gap": None, "interval": [0.0, None], "basis": "runs"}


# Pages --------------------------------------------------------------------------------------------


def page_of(result):
    return replace(reports.full_report(2), recommended=result)


def section_of(report):
    return next(item for item in report_document(report).sections if item.key == "method")


def test_a_report_without_one_has_no_such_section():
    assert [
        item.key for item in report_document(reports.full_report(2)).sections if item.key == "method"
    ] == []
    assert '"recommended"' not in report_to_html(reports.full_report(2))


def test_the_question_is_about_bitfit_where_bitfit_was_tried():
    report = page_of(recommended())
    assert section_of(report).title == "Was BitFit the right tool?"
    comparison = replace(report.diff.comparisons[0], verdict="full")
    other = replace(report, diff=replace(report.diff, comparisons=(comparison,)))
    assert section_of(other).title == "Which method?"


@pytest.mark.parametrize("name", ALL)
def test_page_and_markdown_hold_what_the_terminal_does(name):
    result = recommended(found(name), trial=made.TRIAL)
    page, markdown = report_to_html(page_of(result)), report_to_markdown(page_of(result))
    answered = result.recommendation
    for text in (page, markdown.replace("\\", "")):
        for sentence in (answer(answered), *answered.because, *answered.against, *answered.first):
            assert sentence in text.replace("&#39;", "'")
        assert "alibrated: " in text
        assert "docs/validation.md" in text or answered.calibrated
        assert "--out tuned-" in text
        assert "AutoModelForSequenceClassification" in text
        assert "9.7 minutes" in text
    data = re.search('id="report-data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data[1])["recommended"]["recommendation"]["method"] == answered.method


def test_how_it_was_judged_tells_the_calibration():
    assert "Calibrated: no" in report_to_markdown(page_of(recommended())).partition("How it was judged")[2]


def test_the_figure_says_in_words_what_it_shows():
    panel = charts.gaps(made.BITFIT)
    assert "BitFit 0.4 [0.0, 1.1] with 66,438 parameters, LoRA 0.1 [0.0, 0.6]" in panel.words
    assert "Price: 0.5 a tenfold." in panel.words
    drawn = charts.to_svg(panel).decode()
    assert drawn == charts.to_svg(panel).decode()  # the same bytes
    assert [label for label in (">BitFit<", ">LoRA<", ">full<") if label not in drawn] == []
    assert charts.gaps(replace(made.BITFIT, expected=())) is None


def test_a_figure_of_equals_draws():
    same = replace(made.BITFIT, price=0.0, expected=(Expected("lora", 0.0, (0.0, 0.0), "trial"),))
    assert b"PNG" in charts.to_png(charts.gaps(same))[:8]


# Hostile names ------------------------------------------------------------------------------------


def test_a_terminal_gets_nothing_to_obey():
    for width in (40, 80):
        text = recommended_to_text(made.evil(), width)
        assert all(line.isprintable() for line in text.splitlines())
        assert "\\x1b[31m" in text


def test_json_gets_names_as_they_are():
    text = recommended_to_json(made.evil())
    assert text.isascii()
    assert json.loads(text)["recommendation"]["because"] == [made.EVIL]


def test_a_page_gets_no_markup():
    page = report_to_html(page_of(made.evil()))
    assert "<script>alert" not in page
    assert "</pre><script" not in page
    assert page.count("<script") == 2
    assert not re.search("[\x1b\u202e]", page)


def test_markdown_gets_no_markup():
    lines = report_to_markdown(page_of(made.evil())).splitlines()
    assert all(line.isprintable() for line in lines)
    inside = None
    for line in lines:
        fence = re.match("`{3,}", line)
        if fence and inside is None:
            inside = fence[0]
        elif line == inside:
            inside = None
        elif inside is None:
            assert "<script>" not in line
            assert not line.startswith("## x")
    assert inside is None
