"""What the file can't fill is not built, and the setting that asks for it is named."""

from __future__ import annotations

import json

import pytest
import torch
from support.builders import MODELS, config_of, model, state, write
from support.texts import WORDS, write_tokenizer

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import ModelError
from bitfit_probe.inference import load_model, load_tokenizer, longest_text, running
from bitfit_probe.inference.limits import within

HUGE = 10**12


def bert(folder, **changes):
    return write(folder / "m", state("bert"), config_of("bert", **changes))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"num_hidden_layers": 1_000_000},
            "sets num_hidden_layers to 1,000,000, and the file holds 41 tensors",
        ),
        ({"num_hidden_layers": HUGE}, "sets num_hidden_layers to 1,000,000,000,000"),
        ({"num_hidden_layers": 10**40}, "sets num_hidden_layers to a number of 20 digits or more"),
        ({"num_hidden_layers": 250}, "asks for "),
        ({"vocab_size": HUGE}, "sets vocab_size to 1,000,000,000,000"),
        ({"vocab_size": 1 << 24}, r"asks for 'weight' of 536,870,912 elements \(vocab_size is 16,777,216\)"),
        ({"hidden_size": 1 << 20}, r"\(hidden_size is 1,048,576\)"),
        ({"intermediate_size": 1 << 24}, r"\(intermediate_size is 16,777,216\)"),
        ({"max_position_embeddings": 1 << 24}, r"\(max_position_embeddings is 16,777,216\)"),
        ({"type_vocab_size": 1 << 23}, r"\(type_vocab_size is 8,388,608\)"),
        ({"id2label": None, "num_labels": 10**7}, "sets num_labels to 10,000,000"),
    ],
)
def test_what_the_file_cannot_fill_is_not_built(tmp_path, changes, why):
    """Each of these takes minutes or gigabytes where transformers builds it."""
    with pytest.raises(ModelError, match=why) as caught:
        load_model(bert(tmp_path, **changes))
    assert caught.value.code == "BE500"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "purpose", "setting"),
    [
        ("gpt2", "causal-lm", "n_layer"),
        ("distilbert", "classify", "n_layers"),
        ("t5", "features", "num_layers"),
        ("vit", "features", "num_hidden_layers"),
        ("llama", "causal-lm", "num_hidden_layers"),
    ],
)
def test_a_million_layers_of_any_family(tmp_path, kind, purpose, setting):
    folder = write(tmp_path / kind, state(kind), config_of(kind, **{setting: 1_000_000}))
    with pytest.raises(ModelError, match=f"sets {setting} to 1,000,000"):
        load_model(folder, purpose=purpose)


def test_masks_and_tables_that_no_file_holds_are_bounded_too(tmp_path):
    """A causal mask has positions² entries and is no parameter."""
    module, mask = torch.nn.Module(), torch.empty(1 << 15, 1 << 15, dtype=torch.bool, device="meta")
    why = r"asks for 'mask' of 1,073,741,824 elements \(n_positions is 32,768\)"
    limits = within(open_checkpoint(bert(tmp_path)), {"n_positions": 1 << 15})
    with pytest.raises(ModelError, match=why), limits:
        module.register_buffer("mask", mask)
    module.register_buffer("mask", mask)


def test_numbers_that_no_class_asks_for_are_left_out(tmp_path):
    loaded = load_model(
        bert(tmp_path, total_tokens_seen=HUGE, rope_theta=10**9, to_dict=3, get_text_config=1)
    )
    assert not hasattr(loaded.model.config, "total_tokens_seen")
    assert loaded.model.config.to_dict()["model_type"] == "bert"


def roberta(folder, rows):
    from transformers import RobertaConfig, RobertaForSequenceClassification

    torch.manual_seed(0)
    config = RobertaConfig(**MODELS["roberta"][1] | {"max_position_embeddings": rows, "pad_token_id": 1})
    RobertaForSequenceClassification(config).save_pretrained(folder)
    write_tokenizer(folder)
    settings = folder / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace('"model_max_length": 20', '"model_max_length": 9999'))
    return folder


def test_positions_behind_the_padding_are_what_a_text_may_take(tmp_path):
    """RoBERTa counts from padding_idx + 1 on: of 66 rows it has 64, and the 65th token is one too many."""
    loaded = load_model(roberta(tmp_path / "r", 66)).model
    tokenizer = load_tokenizer(tmp_path / "r")
    longest = longest_text(loaded, tokenizer, 128)
    assert longest == 64
    text = " ".join(WORDS * 3)
    for length in (longest, longest + 1):
        inputs = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        if length == longest:
            assert loaded(**inputs).logits.shape == (1, 2)
            continue
        with pytest.raises(ModelError, match="can't be run on the examples") as caught, running(loaded):
            loaded(**inputs)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "most"), [("bert", 24), ("roberta", 23), ("gpt2", 24), ("opt", 24), ("t5", 100)]
)
def test_the_longest_text_of_each_family(tmp_path, kind, most):
    """24 rows each: RoBERTa's padding is row 0 here, OPT's two rows more are no setting, T5 has no table."""
    tokenizer = load_tokenizer(write_tokenizer(tmp_path))
    tokenizer.model_max_length = 10**30
    assert longest_text(model(kind), tokenizer, 100) == most
    tokenizer.model_max_length = 7
    assert longest_text(model(kind), tokenizer, 100) == 7


def test_a_table_of_nothing_but_padding(tmp_path):
    folder = roberta(tmp_path / "r", 2)
    with pytest.raises(ModelError, match="no row behind that of the padding"):
        longest_text(load_model(folder).model, load_tokenizer(folder), 128)


def test_every_command_cuts_texts_for_a_short_table(tmp_path):
    """Four places took the length from the config, and two forgot the padding's offset."""
    from support.texts import write_rows

    from bitfit_probe.data import read_examples
    from bitfit_probe.inference import LiveModel, ask, question_of
    from bitfit_probe.inference.language_loss import masked

    folder = roberta(tmp_path / "r", 66)
    rows = [(" ".join(WORDS * 3), "ab"[n % 2]) for n in range(4)]
    data = read_examples(write_rows(tmp_path / "d.csv", rows))
    live = LiveModel.of(open_checkpoint(folder))
    assert live.features(data).shape == (3, 4, 32)
    assert live.logits(data).shape == (4, 2)
    for batch in ask(live, question_of(data, live), data):
        assert batch.inputs["input_ids"].shape[1] == 64
        assert masked(batch, live.tokenizer).targets.shape[1] == 64
    assert json.loads((folder / "config.json").read_text())["max_position_embeddings"] == 66
