"""BP4xx at their boundaries: heads, labels, vocabulary, tokenizer, positions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.checking import run_rules
from zoo.beds import HEADS, LABELS, POSITIONS, Run, fresh, healthy, is_bias
from zoo.specimens import write
from zoo.vocabulary import add_tokens

from bitfit_probe.records import Finding

WORDS = "bert.embeddings.word_embeddings.weight"


def findings(run: Run, folder: Path, code: str) -> list[Finding]:
    built = write(run, folder, "folder")
    found = run_rules(built.base, *built.tuned, data=built.data).findings
    return [item for item in found if item.code == code]


def values(finding: Finding) -> dict[str, Any]:
    return {item.measure: item.value for item in finding.evidence}


def config(run: Run) -> dict[str, Any]:
    assert run.tuned.config is not None
    return run.tuned.config


def like_new(run: Run) -> list[str]:
    """Give the head the values that it is drawn with; its names come back."""
    initial, _ = fresh(run.bed, 1)
    head = [name for name in run.tuned.state if name.startswith(HEADS)]
    for name in head:
        run.tuned.state[name] = initial[name].clone()
    return head


class TestHeadMissing:
    def test_a_delta_of_biases_needs_none(self, tmp_path: Path) -> None:
        run = healthy("bert")
        run.tuned.drop(lambda name: not is_bias(name))

        assert findings(run, tmp_path, "BP401") == []

    @pytest.mark.parametrize("bed", ["gpt2", "llama"])
    def test_a_tied_output_is_no_missing_head(self, tmp_path: Path, bed: str) -> None:
        assert findings(healthy(bed, "lm"), tmp_path, "BP401") == []

    def test_a_bare_encoder_needs_none(self, tmp_path: Path) -> None:
        run = healthy("bert")
        run.tuned.drop(lambda name: name.startswith(HEADS))
        config(run)["architectures"] = ["BertModel"]

        assert findings(run, tmp_path, "BP401") == []


class TestHeadUntrained:
    def test_one_step_of_one_bias_is_training(self, tmp_path: Path) -> None:
        run = healthy("bert")
        like_new(run)
        run.tuned.state["classifier.bias"][1] = 1e-6

        assert findings(run, tmp_path, "BP403") == []

    @pytest.mark.parametrize(("scale", "expected"), [(1.0, 1), (1.3, 0), (0.5, 0)])
    def test_the_spread_of_a_new_draw(self, tmp_path: Path, scale: float, expected: int) -> None:
        run = healthy("bert")
        like_new(run)
        run.tuned.state["classifier.weight"] *= scale

        assert len(findings(run, tmp_path, "BP403")) == expected

    def test_what_the_config_says_is_expected(self, tmp_path: Path) -> None:
        """A model drawn with 0.05, as the embedded sample is."""
        run = healthy("bert")
        like_new(run)
        run.tuned.state["classifier.weight"] *= 2.5
        config(run)["initializer_range"] = 0.05
        (found,) = findings(run, tmp_path, "BP403")
        spread = float(np.std(run.tuned.state["classifier.weight"].double().numpy()))

        assert values(found)["standard_deviation"] == pytest.approx(spread)

    def test_a_head_of_the_base_is_none_of_ours(self, tmp_path: Path) -> None:
        run = healthy("bert")
        for name in like_new(run):
            run.base.state[name] = run.tuned.state[name].clone()

        assert findings(run, tmp_path, "BP403") == []


class TestHeadResized:
    @pytest.mark.parametrize(("value", "expected"), [(999.0, 0), (1001.0, 1)])
    def test_what_no_training_makes(self, tmp_path: Path, value: float, expected: int) -> None:
        run = healthy("gpt2")
        run.tuned.state["score.weight"][0, 0] = value

        assert len(findings(run, tmp_path, "BP404")) == expected

    def test_garbage_in_added_rows_of_the_embedding(self, tmp_path: Path) -> None:
        run = healthy("llama")
        rows = torch.full((2, 32), 0.5)
        rows[1, 7] = -3e30
        add_tokens(run, rows)
        (found,) = findings(run, tmp_path, "BP404")

        assert found.subjects == ("model.embed_tokens.weight",)
        assert values(found)["max_abs"] == pytest.approx(3e30)

    def test_another_head_that_fits_its_labels(self, tmp_path: Path) -> None:
        """A three-way head replaced by one for two classes is an ordinary fine-tune."""
        run = healthy("bert")
        for name in ("classifier.weight", "classifier.bias"):
            run.base.state[name] = run.tuned.state[name].clone()
            run.tuned.state[name] = run.tuned.state[name][:2].clone()
        config(run).update(id2label={"0": "no", "1": "yes"}, label2id={"no": 0, "yes": 1})

        assert findings(run, tmp_path, "BP404") == []


class TestPooler:
    def test_a_base_without_one_lost_none(self, tmp_path: Path) -> None:
        run = healthy("bert")
        for model in (run.base, run.tuned):
            model.drop(lambda name: "pooler" in name)

        assert findings(run, tmp_path, "BP405") == []


class TestLabels:
    @pytest.mark.parametrize(
        ("count", "severity"),
        [(2, ["error"]), (3, []), (4, ["error"])],
        ids=["one less", "right", "one more"],
    )
    def test_one_label_less_or_more(self, tmp_path: Path, count: int, severity: list[str]) -> None:
        run = healthy("roberta")
        names = [*LABELS, "mixed"][:count]
        config(run)["id2label"] = {str(number): name for number, name in enumerate(names)}
        config(run)["label2id"] = {name: number for number, name in enumerate(names)}

        assert [item.severity for item in findings(run, tmp_path, "BP406")] == severity

    def test_num_labels_that_fits_wins(self, tmp_path: Path) -> None:
        """As in transformers: id2label of another length is made anew. The rxnfp classifier is saved so."""
        run = healthy("bert")
        generic = {"LABEL_0": 0, "LABEL_1": 1}
        config(run).update(num_labels=3, id2label={"0": "LABEL_0", "1": "LABEL_1"}, label2id=generic)

        assert [item.severity for item in findings(run, tmp_path, "BP406")] == ["info"]

    def test_two_exchanged(self, tmp_path: Path) -> None:
        run = healthy("llama")
        config(run)["label2id"] = {"negative": 0, "neutral": 2, "positive": 1}
        (found,) = findings(run, tmp_path, "BP406")

        assert found.severity == "warning"
        assert "id2label says 1 is 'neutral', label2id says 'neutral' is 2" in found.message

    def test_a_regression_has_no_labels(self, tmp_path: Path) -> None:
        run = healthy("bert")
        for name in ("classifier.weight", "classifier.bias"):
            run.tuned.state[name] = run.tuned.state[name][:1].clone()
        config(run).update(id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0})

        assert findings(run, tmp_path, "BP406") == []


class TestAddedRows:
    def rows(self, run: Run, spread: float, seed: int = 3) -> torch.Tensor:
        return spread * torch.randn((4, 32), generator=torch.Generator().manual_seed(seed))

    def test_rows_that_no_token_reads_may_be_anything(self, tmp_path: Path) -> None:
        run = healthy("bert")
        add_tokens(run, self.rows(run, 0.02))
        run.tuned.files["tokenizer.json"]["added_tokens"] = []

        assert findings(run, tmp_path, "BP407") == []

    def test_only_the_rows_that_tokens_read_count(self, tmp_path: Path) -> None:
        """Two tokens of four rows: the trained ones are not asked about the padding."""
        run = healthy("bert")
        rows = self.rows(run, 0.1)
        rows[2:] = 0
        add_tokens(run, rows)
        run.tuned.files["tokenizer.json"]["added_tokens"] = run.tuned.files["tokenizer.json"]["added_tokens"][
            :-2
        ]

        assert findings(run, tmp_path, "BP407") == []

    @pytest.mark.parametrize(("spread", "expected"), [(0.02, 1), (0.04, 0)])
    def test_training_widens_them(self, tmp_path: Path, spread: float, expected: int) -> None:
        run = healthy("gpt2")
        add_tokens(run, self.rows(run, spread))

        assert len(findings(run, tmp_path, "BP407")) == expected

    def test_what_transformers_makes_of_a_resize(self, tmp_path: Path) -> None:
        """resize_token_embeddings itself, with its default mean_resizing."""
        from transformers import BertConfig, BertModel

        run = healthy("bert")
        small = BertModel(BertConfig(**{k: v for k, v in config(run).items() if k != "architectures"}))
        table = small.get_input_embeddings()
        with torch.no_grad():
            table.weight.copy_(run.base.state[WORDS] + 0.05)  # a mean that is not zero
        run.base.state[WORDS] = table.weight.detach().clone()
        run.tuned.state[WORDS] = table.weight.detach().clone()
        small.resize_token_embeddings(64)
        add_tokens(run, small.get_input_embeddings().weight.detach()[60:].clone())
        (found,) = findings(run, tmp_path, "BP407")

        assert values(found)["least_cosine_to_mean"] > 0.999


class TestTokenIds:
    @pytest.mark.parametrize(("last", "expected"), [(59, 0), (60, 1)])
    def test_the_last_row_is_the_last_id(self, tmp_path: Path, last: int, expected: int) -> None:
        run = healthy("bert")
        run.tuned.files["added_tokens.json"] = {"<tool>": last}

        assert len(findings(run, tmp_path, "BP408")) == expected

    def test_more_rows_than_tokens_is_padding(self, tmp_path: Path) -> None:
        run = healthy("gpt2")
        tokenizer = run.tuned.files["tokenizer.json"]["model"]
        tokenizer["vocab"] = {token: n for token, n in tokenizer["vocab"].items() if n not in range(40, 58)}

        assert findings(run, tmp_path, "BP408") == []

    def test_several_end_tokens_agree_where_one_is_shared(self, tmp_path: Path) -> None:
        run = healthy("llama", "lm")
        run.tuned.files["generation_config.json"] = {"eos_token_id": [7, 2], "pad_token_id": None}

        assert findings(run, tmp_path, "BP408") == []

    def test_the_third_joins_two(self, tmp_path: Path) -> None:
        """config.json has the base's end, the tokenizer the chat's, generation stops at both."""
        run = healthy("llama", "lm")
        config(run)["eos_token_id"] = 7
        run.tuned.files["generation_config.json"] = {"eos_token_id": [7, 2]}

        assert findings(run, tmp_path, "BP408") == []


class TestCasedVocabulary:
    def with_capitals(self, count: int, flag: bool | None = None) -> Run:
        """BERT's 55 plain tokens, `count` of them with a capital."""
        run = healthy("bert")
        model = run.tuned.files["tokenizer.json"]["model"]
        plain = [token for token in model["vocab"] if token.isalpha()][:count]
        model["vocab"] = {t.title() if t in plain else t: number for t, number in model["vocab"].items()}
        if flag is not None:
            run.tuned.tokenizer.update(do_lower_case=flag, tokenizer_class="BertTokenizer")
        return run

    @pytest.mark.parametrize(("count", "expected"), [(1, 0), (2, 1)])
    def test_from_a_fiftieth_on(self, tmp_path: Path, count: int, expected: int) -> None:
        assert len(findings(self.with_capitals(count), tmp_path, "BP409")) == expected

    @pytest.mark.parametrize(("flag", "expected"), [(True, 1), (False, 0)])
    def test_the_flag_decides_for_berts_own_tokenizer(
        self, tmp_path: Path, flag: bool, expected: int
    ) -> None:
        """Transformers 5 builds the normalizer from the flag there, whatever tokenizer.json says."""
        from transformers import AutoTokenizer

        run = self.with_capitals(30, flag)
        found = findings(run, tmp_path, "BP409")
        words = AutoTokenizer.from_pretrained(tmp_path / "tuned")

        assert len(found) == expected
        assert (words.tokenize("The") == ["the"] or words.tokenize("The") == ["[UNK]"]) is bool(expected)

    def test_bytes_spelled_as_letters_are_no_capitals(self, tmp_path: Path) -> None:
        run = healthy("gpt2")
        model = run.tuned.files["tokenizer.json"]["model"]
        model["vocab"] = {f"Ġ{t}Ã" if t.isalpha() else t: number for t, number in model["vocab"].items()}
        run.tuned.files["tokenizer.json"]["normalizer"] = {"type": "Lowercase"}

        assert findings(run, tmp_path, "BP409") == []


class TestPadIsEos:
    def test_with_data_it_asks_the_model(self, tmp_path: Path) -> None:
        """The last norm is constant and the end's row against it: a probability of e^-20 / 60."""
        run = healthy("gpt2", "lm")
        state, end = run.tuned.state, config(run)["eos_token_id"]
        state["transformer.ln_f.weight"] = torch.zeros(32)
        state["transformer.ln_f.bias"] = torch.eye(32)[0]
        state["transformer.wte.weight"][:, 0] = 0
        state["transformer.wte.weight"][end, 0] = -20
        config(run)["pad_token_id"] = end
        run.data = "text,label\nthe of to in,0\nhe was for it,1\n"
        (found,) = findings(run, tmp_path, "BP410")

        assert found.severity == "warning"
        expected = np.exp(-20) / (59 + np.exp(-20))
        assert values(found)["probability_of_end"] == pytest.approx(expected, rel=1e-4)

    def test_without_data_it_is_a_suspicion(self, tmp_path: Path) -> None:
        run = healthy("gpt2", "lm")
        config(run)["pad_token_id"] = config(run)["eos_token_id"]
        (found,) = findings(run, tmp_path, "BP410")

        assert found.severity == "info"
        assert values(found)["probability_of_end"] is None

    def test_a_classifier_may_pad_as_it_likes(self, tmp_path: Path) -> None:
        run = healthy("gpt2")
        config(run)["pad_token_id"] = config(run)["eos_token_id"]

        assert findings(run, tmp_path, "BP410") == []


class TestPositions:
    @pytest.mark.parametrize("bed", ["bert", "roberta", "gpt2"])
    @pytest.mark.parametrize(("longest", "expected"), [(POSITIONS, 0), (POSITIONS + 1, 1), (int(1e30), 0)])
    def test_as_many_as_the_model_takes(self, tmp_path: Path, bed: str, longest: int, expected: int) -> None:
        """The model itself runs on 24 tokens, and stops with an index error on 25."""
        import transformers

        run = healthy(bed)
        run.tuned.tokenizer["model_max_length"] = longest
        found = findings(run, tmp_path, "BP411")

        assert len(found) == expected
        if longest <= POSITIONS + 1:
            name = config(run)["architectures"][0]
            model = getattr(transformers, name).from_pretrained(tmp_path / "tuned").eval()
            ids = torch.full((1, longest), 9)
            if expected:
                with pytest.raises((IndexError, RuntimeError)):
                    model(ids)
            else:
                assert model(ids).logits.shape == (1, 3)

    def test_rotary_positions_have_no_table(self, tmp_path: Path) -> None:
        run = healthy("llama")
        run.tuned.tokenizer["model_max_length"] = 1000

        assert findings(run, tmp_path, "BP411") == []


def _untied(run: Run) -> None:
    config(run)["tie_word_embeddings"] = False


def _silent(run: Run) -> None:
    config(run).pop("tie_word_embeddings", None)


class TestEmbeddingLost:
    @pytest.mark.parametrize(
        ("base_output", "says", "expected"),
        [
            ("copy", None, 0),
            ("copy", _silent, 0),
            ("copy", _untied, 1),
            ("other", None, 0),
            ("other", _silent, 1),
        ],
    )
    def test_an_output_that_is_absent(
        self, tmp_path: Path, base_output: str, says: Callable[[Run], None] | None, expected: int
    ) -> None:
        """GPT-2: the base stores its output as a copy or as a table of its own; config.json may say tied."""
        run = healthy("gpt2", "lm")
        table = run.base.state["transformer.wte.weight"]
        run.base.state["lm_head.weight"] = table.clone() if base_output == "copy" else table + 0.01
        if says is not None:
            says(run)

        assert len(findings(run, tmp_path, "BP412")) == expected

    def test_a_classifier_needs_no_output(self, tmp_path: Path) -> None:
        assert findings(healthy("llama"), tmp_path, "BP412") == []

    def test_the_table_may_stand_under_the_output(self, tmp_path: Path) -> None:
        """A tied model that stores the output's name only."""
        run = healthy("gpt2", "lm")
        run.tuned.state["lm_head.weight"] = run.tuned.state.pop("transformer.wte.weight")

        assert findings(run, tmp_path, "BP412") == []
