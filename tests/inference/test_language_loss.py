"""One loss for masked and next tokens, against transformers' own loading and losses written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.builders import config_of, model, state, write
from support.planted import texts
from support.texts import WORDS, write_tokenizer
from transformers import AutoModelForMaskedLM, AutoTokenizer

from bitfit_probe import sample
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.data import Columns, TaskData
from bitfit_probe.errors import ModelError
from bitfit_probe.inference import LiveModel
from bitfit_probe.inference.language_loss import language_losses, masked

NUMBER = {word: place for place, word in enumerate(WORDS, 5)}


def plain(sentences):
    return TaskData(tuple(sentences), None, None, (), "unlabelled", Columns("text"))


def test_the_masked_loss_is_that_of_the_model_itself():
    """Each text alone and unpadded; the tokens asked for are read off the masks of a batch of its own."""
    sentences = ["Where is the nearest station ?", "Who wrote the first novel about a whale ?", "Why ?"]
    live, data = LiveModel.of(open_checkpoint(sample.base_path())), plain(sentences)
    losses, counts = language_losses(live, data)
    words = AutoTokenizer.from_pretrained(sample.base_path())
    theirs = AutoModelForMaskedLM.from_pretrained(sample.base_path()).eval()
    for row, text in enumerate(sentences):
        (batch,) = live.batches(data, rows=[row])
        ids = words(text, return_tensors="pt")["input_ids"]
        given = masked(batch, live.tokenizer).inputs["input_ids"]
        at = (given[0] == words.mask_token_id).nonzero().flatten()
        assert len(at) == counts[row] == max(1, round(0.15 * (ids.shape[1] - 2)))
        with torch.no_grad():
            scores = theirs(input_ids=given).logits[0].log_softmax(-1)
        assert losses[row] == pytest.approx(-scores[at, ids[0, at]].mean().item(), rel=1e-5)


def test_the_causal_loss_is_transformers_own(tmp_path):
    settings = config_of("gpt2", architectures=["GPT2LMHeadModel"])
    write_tokenizer(write(tmp_path, state("gpt2"), settings))
    sentences = texts(20)
    losses, counts = language_losses(LiveModel.of(open_checkpoint(tmp_path)), plain(sentences))
    for text, loss, count in zip(sentences, losses, counts, strict=True):
        ids = torch.tensor([[2, *(NUMBER[word] for word in text.split()), 3]])
        with torch.no_grad():
            assert loss == pytest.approx(model("gpt2")(ids, labels=ids).loss.item(), rel=1e-4)
        assert count == ids.shape[1] - 1


def test_a_text_with_nothing_to_ask_for_has_no_loss():
    losses, counts = language_losses(
        LiveModel.of(open_checkpoint(sample.base_path())), plain(["", "Who is it ?"])
    )
    assert counts[0] == 0
    assert np.isnan(losses[0])
    assert np.isfinite(losses[1])


def test_a_head_drawn_at_random_is_not_asked(tmp_path):
    body = {name: value for name, value in state("bert-mlm").items() if not name.startswith("cls.")}
    write_tokenizer(write(tmp_path, body, config_of("bert-mlm", architectures=["BertForMaskedLM"])))
    with pytest.raises(ModelError, match="no language-model head"):
        language_losses(LiveModel.of(open_checkpoint(tmp_path)), plain(["word05"]))
