"""Examples as batches: every one once, none too wide, the same question in every pass."""

from __future__ import annotations

import pytest
import torch
from support.builders import config_of, copied, model, move, state, write
from support.planted import planted_pair, texts
from support.texts import WORDS, write_rows, write_tokenizer

import bitfit_probe as bp
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.data import read_examples
from bitfit_probe.errors import DataError, ModelError
from bitfit_probe.inference import Batch, LiveModel, Question, ask, logits_of, question_of
from bitfit_probe.inference.purpose import purpose_of

NUMBER = {word: place for place, word in enumerate(WORDS, 5)}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    base, tuned, data = planted_pair(tmp_path_factory.mktemp("planted"), 300)
    examples = read_examples(data)
    return asked(tuned, base, examples)


def asked(tuned, base, examples):
    """The tuned model, what the examples ask of it, and the examples."""
    live = LiveModel.of(open_checkpoint(tuned), tuned, base)
    return live, question_of(examples, live), examples


def test_every_example_once_sorted_by_length_and_never_too_wide(planted):
    live, question, examples = planted
    found = ask(live, question, examples)
    assert sorted(row for batch in found for row in batch.rows) == list(range(300))
    assert all(batch.inputs["input_ids"].numel() <= 2048 for batch in found)
    widths = [batch.inputs["input_ids"].shape[1] for batch in found]
    assert widths == sorted(widths, reverse=True)  # memory runs out at once or never
    assert len(found) > 1


def test_tokens_and_labels_stay_together(planted):
    live, question, examples = planted
    for batch in ask(live, question, examples, rows=[7, 3, 250]):
        for place, row in enumerate(batch.rows):
            real = batch.inputs["input_ids"][place][batch.inputs["attention_mask"][place].bool()]
            assert real.tolist() == [2, *(NUMBER[word] for word in examples.texts[row].split()), 3]
            name = examples.label_names[examples.labels[row]]
            assert live.model.config.id2label[int(batch.targets[place])] == name


def test_texts_are_cut_at_what_the_tokenizer_allows(planted):
    live, question, examples = planted
    long = examples.take([0])
    long = type(long)((" ".join(WORDS),), None, long.labels, long.label_names, long.task, long.columns)
    (batch,) = ask(live, question, long)
    assert batch.inputs["input_ids"].shape == (1, 20)


@pytest.mark.parametrize(("kind", "most"), [("bert", 24), ("roberta", 23)])
def test_texts_are_cut_at_what_the_positions_allow(tmp_path, kind, most):
    """Both have 24 positions; RoBERTa's first text position is behind the padding's, number 0."""
    write_tokenizer(write(tmp_path / "t", state(kind), config_of(kind)))
    settings = tmp_path / "t" / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace('"model_max_length": 20', '"model_max_length": 9999'))
    data = write_rows(tmp_path / "d.csv", [(" ".join(WORDS), 0), ("word05", 1)])
    live, question, examples = asked(tmp_path / "t", tmp_path / "t", read_examples(data))
    found = ask(live, question, examples)
    assert found[0].inputs["input_ids"].shape[1] == most
    assert logits_of(live.model, found[0]).isfinite().all()


def test_a_model_that_can_not_take_the_inputs_is_an_error(planted):
    batch = Batch((0,), {"input_ids": torch.tensor([[2, 9999, 3]])})
    with pytest.raises(ModelError, match="can't be run on the examples") as caught:
        logits_of(planted[0].model, batch)
    assert caught.value.code == "BE500"


def language_model(tmp_path, kind):
    """A tuned language model whose biases moved, and texts without labels."""
    tensors = state(kind)
    names = [name for name in tensors if name.endswith("bias") and tensors[name].ndim == 1]
    settings = config_of(kind) | {"architectures": [type(model(kind)).__name__]}
    write(tmp_path / "base", move(tensors, *names, by=0.3), settings)
    write_tokenizer(write(tmp_path / "tuned", tensors, settings))
    return (
        tmp_path / "base",
        tmp_path / "tuned",
        write_rows(tmp_path / "d.csv", [(text,) for text in texts(30)], header=("text",)),
    )


def test_a_causal_model_is_asked_for_every_next_token(tmp_path):
    base, tuned, data = language_model(tmp_path, "gpt2")
    found = bp.revert(base, tuned, data)
    losses = []
    for text in texts(30):
        ids = torch.tensor([[2, *(NUMBER[word] for word in text.split()), 3]])
        with torch.no_grad():
            losses.append(model("gpt2")(ids, labels=ids).loss.item())  # transformers' own loss
    assert found.loss == pytest.approx(sum(losses) / 30, rel=1e-4)
    assert found.accuracy is None
    assert found.unit == "nats"
    assert all(row.accuracy_change is None for row in found.rows)


def test_a_masked_model_is_asked_the_same_in_every_pass_and_batch(tmp_path):
    base, tuned, data = language_model(tmp_path, "bert-mlm")
    live, question, examples = asked(tuned, base, read_examples(data))
    whole = ask(live, question, examples)
    targets = {row: batch.targets[n] for batch in whole for n, row in enumerate(batch.rows)}
    for row in (0, 11, 29):
        (alone,) = ask(live, question, examples, rows=[row])
        wanted = targets[row][targets[row] != -100]
        assert torch.equal(alone.targets[alone.targets != -100], wanted)
        length = len(examples.texts[row].split())
        assert len(wanted) == max(1, round(0.15 * length))
        assert (alone.inputs["input_ids"] == live.tokenizer.mask_token_id).sum() == len(wanted)
        assert not set(wanted.tolist()) & {0, 1, 2, 3, 4}  # no special token is asked for
    assert bp.revert(base, tuned, data).loss > 0


def test_losses_are_those_of_torch():
    logits, classes = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    found = Question("classification").losses(logits, classes)
    assert found.mean() == pytest.approx(torch.nn.functional.cross_entropy(logits, classes).item())
    values = torch.randn(5)
    found = Question("regression", scale=2.0).losses(logits[:, :1], values)
    assert torch.allclose(found, (logits[:, 0] - values) ** 2 / 2)


@pytest.mark.parametrize(
    ("architecture", "purpose"),
    [
        ("GPT2LMHeadModel", "causal-lm"),
        ("LlamaForCausalLM", "causal-lm"),
        ("BertForPreTraining", "masked-lm"),
        ("RobertaForMaskedLM", "masked-lm"),
        ("BertForSequenceClassification", "classify"),
        ("GPT2DoubleHeadsModel", "causal-lm"),
        ("T5ForConditionalGeneration", "features"),
        ("BertModel", "features"),
        (None, "classify"),
    ],
)
def test_the_config_says_which_head_there_is(architecture, purpose):
    assert purpose_of({"architectures": [architecture]} if architecture else {}) == purpose


def test_pairs_reach_the_model_as_pairs(tmp_path):
    tensors = copied(dict(model("bert").state_dict()))
    write_tokenizer(write(tmp_path / "t", tensors, config_of("bert")))
    rows = [("word05 word06", "word07", 0), ("word08", "word09", 1)]
    data = write_rows(tmp_path / "d.csv", rows, header=("sentence1", "sentence2", "label"))
    live, question, examples = asked(tmp_path / "t", tmp_path / "t", read_examples(data))
    (batch,) = ask(live, question, examples, rows=[0])
    assert batch.inputs["input_ids"].tolist() == [[2, 5, 6, 3, 7, 3]]


def test_much_unknown_text_is_noted(tmp_path):
    write_tokenizer(write(tmp_path / "t", state("bert"), config_of("bert")))
    data = write_rows(tmp_path / "d.csv", [("nothing known", 0), ("word05 word06", 1)])
    _, question, _ = asked(tmp_path / "t", tmp_path / "t", read_examples(data))
    assert question.notes == ("50% of the tokens are unknown to the tokenizer",)


def test_words_for_a_regression_are_an_error(tmp_path):
    settings = config_of("bert", id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0})
    tensors = state("bert") | {"classifier.weight": torch.ones(1, 32), "classifier.bias": torch.zeros(1)}
    write_tokenizer(write(tmp_path / "t", tensors, settings))
    data = write_rows(tmp_path / "d.csv", [("word05", "good"), ("word06", "bad")])
    with pytest.raises(DataError, match="no numbers"):
        bp.revert(tmp_path / "t", tmp_path / "t", data)
