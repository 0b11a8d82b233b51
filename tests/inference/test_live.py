"""A live model: made once for all who share it, honest about what is missing, run with other weights."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import transformers
from support.builders import config_of, model, move, state, write
from support.planted import texts
from support.texts import write_rows, write_tokenizer

from bitfit_probe import sample
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.data import read_examples
from bitfit_probe.errors import ModelError
from bitfit_probe.inference import LiveModel
from bitfit_probe.inference.language_loss import language_losses
from bitfit_probe.inference.weights import overlaid, windows
from bitfit_probe.measures.ablation import ablate
from bitfit_probe.measures.fisher import fisher_of
from bitfit_probe.pair import open_pairs
from bitfit_probe.records.options import DistanceOptions, RevertOptions
from bitfit_probe.rules import check
from bitfit_probe.task_distance import Reference, english_reference, measure_distance


@pytest.fixture
def loads(monkeypatch):
    """How often transformers builds a model of each class."""
    counted: Counter[str] = Counter()
    build = transformers.PreTrainedModel.from_pretrained.__func__

    def counting(cls, *args, **options):
        counted[cls.__name__] += 1
        return build(cls, *args, **options)

    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", classmethod(counting))
    return counted


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    kinds = ("Who wrote {} ?", "Where is {} ?", "How many {} are there ?")
    rows = [(kind.format(f"number {n}"), n) for n in range(10) for kind in kinds]
    labels = ["human", "location", "number"]
    path = tmp_path_factory.mktemp("data") / "questions.csv"
    return read_examples(write_rows(path, [(text, labels[at % 3]) for at, (text, _) in enumerate(rows)]))


def test_rules_reverting_fisher_and_distance_share_two_models(loads, questions):
    """BP112, BP308, reverting and Fisher run the tuned model; BP602 (twice) and the distance run the base."""
    (pair,) = open_pairs(sample.base_path(), [sample.tuned_path()], data=questions)
    found = check([pair])
    assert {"BP112", "BP308", "BP602"} <= set(found.checked)
    tuned, base = pair.live("tuned"), pair.live("base")
    reverted = ablate(tuned, pair.base, pair.comparison, questions, RevertOptions())
    assert reverted.examples == len(questions)
    assert fisher_of(tuned, pair.base, questions)
    english = Reference("English", english_reference()[:40])
    distance = measure_distance(base, questions, english, DistanceOptions(reach=False))
    assert "language_loss_gap" in {item.measure for item in distance.evidence}
    assert loads == {"BertForMaskedLM": 1, "BertForSequenceClassification": 1}


def test_of_many_tuned_models_one_lives(loads, tmp_path):
    base = write_tokenizer(write(tmp_path / "base", state("bert"), config_of("bert")))
    paths = [
        write(tmp_path / f"t{n}", move(state("bert"), "classifier.bias"), config_of("bert")) for n in range(3)
    ]
    pairs = open_pairs(base, paths)
    models = [pair.live("tuned") for pair in pairs]
    assert len({id(model.model) for model in models}) == 3
    assert pairs[2].live("tuned") is models[2]
    assert pairs[0].live("tuned") is not models[0]
    assert pairs[0].live("base") is pairs[2].live("base")
    assert loads == {"BertForSequenceClassification": 5}


def test_the_body_of_a_language_model_has_the_features_of_the_bare_model(questions):
    """Against transformers' own bare model, one text at a time and without padding."""
    few = questions.take(range(6))
    found = LiveModel.of(open_checkpoint(sample.base_path())).features(few)
    bare = transformers.AutoModel.from_pretrained(sample.base_path()).eval()
    words = transformers.AutoTokenizer.from_pretrained(sample.base_path())
    for row, text in enumerate(few.texts):
        with torch.no_grad():
            states = bare(**words(text, return_tensors="pt"), output_hidden_states=True).hidden_states
        expected = np.stack([layer[0].mean(0).numpy() for layer in states])
        assert found[:, row] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_logits_come_in_the_order_of_the_examples(tmp_path):
    write_tokenizer(write(tmp_path, state("bert"), config_of("bert")))
    data = read_examples(
        write_rows(tmp_path / "d.csv", [(text, "ab"[n % 2]) for n, text in enumerate(texts(40))])
    )
    live = LiveModel.of(open_checkpoint(tmp_path))
    whole = live.logits(data)
    for row in (0, 7, 39):
        assert whole[row] == pytest.approx(live.logits(data.take([row]))[0], rel=1e-4, abs=1e-5)


def test_what_is_missing_is_named_and_refused_where_it_is_asked(tmp_path):
    bare = {name: value for name, value in state("bert").items() if not name.startswith("classifier")}
    live = LiveModel.of(open_checkpoint(write(tmp_path / "bare", bare, config_of("bert"))))
    assert live.missing == ("classifier.bias", "classifier.weight")
    assert live.head_is_drawn
    with pytest.raises(ModelError, match=r"lacks classifier\.bias, classifier\.weight"):
        live.require_whole()
    with pytest.raises(ModelError, match="no tokenizer"):
        _ = live.tokenizer


def test_a_merged_model_is_one_though_its_adapter_s_settings_lie_beside_it(tmp_path):
    write(tmp_path / "m", state("bert"), config_of("bert"))
    (tmp_path / "m" / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2}')
    assert LiveModel.of(open_checkpoint(tmp_path / "m")).missing == ()


def test_a_bare_model_has_no_head_to_ask(tmp_path):
    settings = config_of("bert-bare", architectures=["BertModel"])
    live = LiveModel.of(open_checkpoint(write(tmp_path / "m", state("bert-bare"), settings)))
    assert (live.purpose, live.missing) == ("features", ())
    with pytest.raises(ModelError, match="is a BertModel, which has no head to ask"):
        live.require_whole()


@pytest.mark.parametrize("kind", ["bert", "gpt2", "roberta", "distilbert"])
def test_other_weights_for_a_while(tmp_path, kind):
    """Inside, the answers are those of the other checkpoint; afterwards the model's own, bit for bit."""
    names = [name for name in state(kind) if name.endswith((".weight", ".bias"))]
    settings = config_of(kind, architectures=[type(model(kind)).__name__])
    ours = open_checkpoint(write(tmp_path / "a", state(kind), settings))
    theirs = open_checkpoint(write(tmp_path / "b", move(state(kind), *names, by=0.1), settings))
    live, other = LiveModel.of(ours), LiveModel.of(theirs)
    ids = torch.tensor([[2, 5, 6, 7, 3]])
    before = live.model(ids).logits
    kinds = ("bias", "embedding", "head", "norm", "weight")
    with overlaid(list(windows(theirs, live.model, kinds).values())):
        inside = live.model(ids).logits
    assert torch.allclose(inside, other.model(ids).logits, atol=1e-6)
    assert not torch.allclose(inside, before, atol=1e-3)
    assert torch.equal(live.model(ids).logits, before)


def test_a_model_without_a_mask_gets_each_text_alone(tmp_path):
    """FNet mixes all tokens with all: padding would be part of the text, so nothing is padded."""
    torch.manual_seed(0)
    config = transformers.FNetConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, intermediate_size=48, max_position_embeddings=24
    )
    theirs = transformers.FNetForMaskedLM(config).eval()
    theirs.save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    rows = [(text, "ab"[n % 2]) for n, text in enumerate(texts(5))]
    data = read_examples(write_rows(tmp_path / "d.csv", rows))
    live = LiveModel.of(open_checkpoint(tmp_path))
    found = live.features(data)
    for row, text in enumerate(data.texts):
        ids = live.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            states = theirs(ids, output_hidden_states=True).hidden_states
        assert found[-1, row] == pytest.approx(states[-1][0].mean(0).numpy(), rel=1e-4, abs=1e-5)
    losses, counts = language_losses(live, data)
    assert np.isfinite(losses).all()
    assert (counts >= 1).all()
