"""The options of `diff` that measure: what they print, and what they refuse."""

from __future__ import annotations

import json

import click
import pytest
from support.builders import biases, move, state, write

from bitfit_probe import sample
from bitfit_probe.cli import cli

PAIR = [str(sample.base_path()), str(sample.tuned_path())]


@pytest.fixture
def run(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")

    def call(*args):
        cli.main(["diff", *args], standalone_mode=False)
        return capsys.readouterr().out

    return call


def test_paper_is_by_role_with_its_table(run):
    text = run(*PAIR, "--paper")
    assert "Biases, mean|Δ| by role and layer" in text
    assert "Outside the layers" not in text
    lines = text.splitlines()
    start = lines.index("Biases by role, in the BitFit paper's order")
    roles = [line.split()[0] for line in lines[start + 2 : start + 10]]
    assert roles == ["q", "m2", "m3", "m1", "LN1", "v", "LN2", "k"]
    assert lines[start + 10] == ""


def test_several_are_compared_with_each_other(run):
    text = run(*PAIR, PAIR[0])
    assert "How alike they moved" in text
    assert "An odd one out takes three." in " ".join(text.split())
    assert "Bias norm" not in text
    assert "Bias norm ‖Δb‖₂ by role and step" in run(*PAIR, PAIR[1], "--trajectory")


def test_the_new_keys_of_the_json(run, tmp_path):
    base = write(tmp_path / "base.pt", state("bert"))
    tuned = write(tmp_path / "tuned.pt", move(state("bert"), *state("bert")))
    document = json.loads(
        run(
            str(base),
            str(tuned),
            str(tuned),
            "--by",
            "layer",
            "--spectra",
            "--trajectory",
            "--format",
            "json",
        )
    )
    assert {"likeness", "trajectory"} <= set(document)
    assert {"adequacy", "rankings", "spectra"} <= set(document["comparisons"][0])
    assert [item["by"] for item in document["comparisons"][0]["rankings"]] == ["layer"]


def test_a_merged_adapter(run, tmp_path):
    pytest.importorskip("bitfit_probe.checkpoint.adapters")
    import peft
    import torch
    from support.builders import model

    wrapped = peft.get_peft_model(model("bert"), peft.LoraConfig(r=2, target_modules=["query"]))
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    wrapped.save_pretrained(tmp_path / "adapter")
    merged = wrapped.merge_and_unload().state_dict()
    base = write(tmp_path / "base.pt", state("bert"))
    tuned = write(tmp_path / "tuned.pt", {name: merged[name] for name in state("bert")})
    text = run(str(base), str(tuned), "--spectra", "--adapter", str(tmp_path / "adapter"))
    rows = [line.split() for line in text.splitlines() if line.endswith("self.query.weight")]
    strengths = [row[0] for row in rows if len(row) > 3 and row[0] == "1.00"]
    assert len(strengths) == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--adapter", "somewhere"], "--adapter needs --spectra"),
        (["--trajectory"], "--trajectory takes several TUNED"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options, says, run):
    with pytest.raises(click.UsageError, match=says):
        run(*PAIR, *options)


def test_where_no_matrix_moved_that_is_said(capsys):
    cli.main(["diff", *PAIR, "--spectra"], standalone_mode=False)
    assert capsys.readouterr().err == "no matrix moved: there are no singular values to take\n"


def test_out_never_overwrites_the_adapter(run, tmp_path):
    from bitfit_probe.errors import BitfitProbeError

    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(BitfitProbeError):
        run(*PAIR, "--spectra", "--adapter", str(tmp_path), "--out", str(tmp_path / "adapter_config.json"))
    assert (tmp_path / "adapter_config.json").read_text() == "{}"


def test_biases_alone_can_be_ranked_without_reading_the_rest(run, tmp_path):
    base = write(tmp_path / "b.pt", state("bert"))
    tuned = write(tmp_path / "t.pt", move(state("bert"), *biases(state("bert"))))
    full, biases_only = (
        run(str(base), str(tuned), "--by", "role", *more) for more in ((), ("--biases-only",))
    )
    pick = [line for line in full.splitlines() if "e-0" in line]
    assert pick == [line for line in biases_only.splitlines() if "e-0" in line]
