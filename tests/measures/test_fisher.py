"""The empirical Fisher information, against one explicit backward pass an example without padding."""

from __future__ import annotations

import pytest
import torch
from support.moved import MODELS, write_pair
from support.planted import texts
from support.texts import WORDS
from torch.nn.functional import cross_entropy

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.data import read_examples
from bitfit_probe.errors import ModelError
from bitfit_probe.inference import Asked, LiveModel, Question, ask, question_of
from bitfit_probe.inference.weights import Window, windows
from bitfit_probe.measures.fisher import fisher, fisher_of, gradients_by_example, gradients_one_by_one

NUMBER = {word: place for place, word in enumerate(WORDS, 5)}


def expected(model, sentences):
    """Mean over examples of the squared gradient, by parameter."""
    sums = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in model.named_parameters()}
    for place, sentence in enumerate(sentences):
        ids = torch.tensor([[2, *(NUMBER[word] for word in sentence.split()), 3]])
        logits = model(ids).logits
        if logits.ndim == 3:  # a language model predicts the next token
            loss = cross_entropy(logits[0, :-1], ids[0, 1:])
        else:
            loss = cross_entropy(logits, torch.tensor([place % 2]))
        model.zero_grad()
        loss.backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                sums[name] += parameter.grad.double() ** 2
    return {name: total / len(sentences) for name, total in sums.items()}


@pytest.mark.parametrize("kind", MODELS)
def test_against_explicit_gradients(tmp_path, kind):
    base, tuned, data = write_pair(tmp_path, kind)
    live = LiveModel.of(open_checkpoint(tuned), tuned, base)
    found = fisher_of(live, open_checkpoint(base), read_examples(data))
    wanted = expected(live.model.requires_grad_(True), texts(40))
    plain = {name: value for name, value in found.items() if "[" not in name}
    assert len(plain) >= 10
    for name, value in plain.items():
        assert value == pytest.approx(wanted[name].mean().item(), rel=1e-3, abs=1e-12), name
    for name in {name.partition("[")[0] for name in found if "[" in name}:  # fused: parts make up the whole
        parts = [found[f"{name}[{role}]"] for role in "qkv"]
        assert sum(parts) / 3 == pytest.approx(wanted[name].mean().item(), rel=1e-3)


def test_the_gradient_of_a_cancelled_key_bias_is_zero(tmp_path):
    base, tuned, data = write_pair(tmp_path, "gpt2")
    found = fisher_of(
        LiveModel.of(open_checkpoint(tuned), tuned, base), open_checkpoint(base), read_examples(data)
    )
    assert found["transformer.h.0.attn.c_attn.bias[k]"] < 1e-10 * found["transformer.h.0.attn.c_attn.bias[v]"]


def test_both_ways_give_the_same_gradients(tmp_path):
    base, tuned, data = write_pair(tmp_path, "bert")
    live, examples = LiveModel.of(open_checkpoint(tuned), tuned, base), read_examples(data)
    biases = windows(open_checkpoint(base), live.model, ("bias",))
    names = sorted({bias.parameter for bias in biases.values()})
    for name in names:
        live.model.get_parameter(name).requires_grad_(True)
    question = question_of(examples, live)
    (batch,) = ask(live, question, examples)
    fast = gradients_by_example(live.model, question, batch, names)
    slow = gradients_one_by_one(live.model, question, batch, names)
    for name in names:
        assert torch.allclose(fast[name], slow[name], rtol=1e-3, atol=1e-6), name


class Doubled(torch.nn.Linear):
    """A module that does not just add its bias."""

    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight) + 2 * self.bias


class Toy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = Doubled(3, 2)

    def forward(self, x):
        return type("Output", (), {"logits": self.body(x)})


def test_a_module_that_uses_its_bias_otherwise_is_found_out():
    """The gradient is twice that of the output, which a hook on the output can't know."""
    torch.manual_seed(0)
    model, inputs = Toy(), torch.randn(6, 3)
    batch = Asked(tuple(range(6)), {"x": inputs}, torch.tensor([0, 1] * 3))
    bias = model.body.bias.detach()
    live = {("body.bias", None): Window("body.bias", bias, bias)}
    shares = torch.softmax(model.body(inputs), 1).detach()
    gradient = 2 * (shares - torch.nn.functional.one_hot(batch.targets, 2))
    found = fisher(model, Question("classification"), [batch], live)
    assert found["body.bias"] == pytest.approx((gradient**2).mean().item(), rel=1e-5)


def test_the_model_keeps_its_flags_and_gets_no_gradients(tmp_path):
    base, tuned, data = write_pair(tmp_path, "bert")
    live, examples = LiveModel.of(open_checkpoint(tuned), tuned, base), read_examples(data)
    live.model.bert.pooler.requires_grad_(True)
    fisher_of(live, open_checkpoint(base), examples)
    assert not live.model.classifier.weight.requires_grad
    assert live.model.bert.pooler.dense.weight.requires_grad
    assert all(parameter.grad is None for parameter in live.model.parameters())


def test_a_model_that_ends_on_its_way_back_is_said_in_one_line(tmp_path):
    base, tuned, data = write_pair(tmp_path, "bert")
    live = LiveModel.of(open_checkpoint(tuned), tuned, base)

    def refuses(gradient):
        raise RuntimeError("no such kernel\nand more")

    live.model.base_model.register_forward_hook(
        lambda module, given, output: output.last_hidden_state.register_hook(refuses) and None
    )
    with pytest.raises(ModelError, match=r"can't be run on the examples \(no such kernel\);"):
        fisher_of(live, open_checkpoint(base), read_examples(data))
