"""The empirical Fisher information of the biases: how steep the loss is at the tuned model.

The mean over examples of (∂loss/∂b)², averaged over a tensor's elements (arXiv 2509.15974 ranks by it);
*empirical* because the gradient is that of the given labels (Kunstner et al. 2019).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.inference import Asked, LiveModel, Question, ask, logits_of, question_of, running
from bitfit_probe.inference.weights import Window, windows

if TYPE_CHECKING:
    import torch

__all__ = ["fisher", "fisher_of", "gradients_by_example", "gradients_one_by_one"]

#: The most by which the two ways to the same gradient may differ, relative to its norm: float32 sums.
_ROUNDING = 1e-3

Gradients = dict[str, "torch.Tensor"]


def fisher(
    model: Any,
    question: Question,
    examples: Sequence[Asked],
    biases: Mapping[tuple[str, str | None], Window],
) -> dict[str, float]:
    """Mean squared gradient of each example's loss, per element of each bias.

    Parameters
    ----------
    model
        In evaluation mode.
    question, examples
        What is asked, and of which examples.
    biases
        The model's, by the base's name and part.

    Returns
    -------
    dict
        By the base's name, ``name[q]`` for a part of a fused one.
    """
    import torch

    names = sorted({bias.parameter for bias in biases.values()})
    sums = {name: torch.zeros(model.get_parameter(name).shape, dtype=torch.float64) for name in names}
    with _trainable(model, names):
        by_example = _faster_where_exact(model, question, examples, names)
        for batch in examples:
            for name, each in by_example(model, question, batch, names).items():
                sums[name] += each.double().square().sum(0)
    count = sum(len(batch.rows) for batch in examples)
    return {
        f"{name}[{part}]" if part else name: float(bias.within(sums[bias.parameter]).mean()) / count
        for (name, part), bias in biases.items()
    }


def fisher_of(live: LiveModel, base: Checkpoint, data: TaskData) -> dict[str, float]:
    """`fisher` of a tuned model's biases on `data`, by the base's names.

    Raises
    ------
    ModelError, DataError
        The model lacks its head or tokenizer, or the labels are not its own.
    """
    question = question_of(data, live)
    return fisher(live.model, question, ask(live, question, data), windows(base, live.model, ("bias",)))


def gradients_by_example(model: Any, question: Question, batch: Asked, names: Sequence[str]) -> Gradients:
    """Each example's gradient of each bias, shape (examples, *shape), in one backward pass.

    A bias is added to every output vector of its module, so its gradient is the sum over tokens of that
    output's gradient; the tokens of one example depend on no other example.
    """
    import torch

    modules = {name: model.get_submodule(name.rpartition(".")[0]) for name in names}
    found: Gradients = {}
    handles = [module.register_forward_hook(_catch(found, name, batch)) for name, module in modules.items()]
    try:
        with running(model):
            torch.autograd.backward(question.losses(logits_of(model, batch), batch.targets).sum())
    finally:
        for handle in handles:
            handle.remove()
    return found


def gradients_one_by_one(model: Any, question: Question, batch: Asked, names: Sequence[str]) -> Gradients:
    """The same by one backward pass an example: slow, and right whatever the modules do with a bias."""
    import torch

    parameters = [model.get_parameter(name) for name in names]
    rows = []
    for one in _singles(batch):
        with running(model):
            loss = question.losses(logits_of(model, one), one.targets).sum()
            rows.append(torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True))
    return {name: torch.stack(each) for name, each in zip(names, zip(*rows, strict=True), strict=True)}


def _catch(found: Gradients, name: str, batch: Asked) -> Callable[..., None]:
    count = len(batch.rows)

    def hook(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
        def add(gradient: torch.Tensor) -> None:
            each = gradient.reshape(count, -1, gradient.shape[-1]).sum(1)
            found[name] = found[name] + each if name in found else each

        output.register_hook(add)

    return hook


def _faster_where_exact(
    model: Any, question: Question, examples: Sequence[Asked], names: Sequence[str]
) -> Callable[..., Gradients]:
    """Hooks where they give what explicit gradients give on one batch; else the explicit ones.

    Modules that use their bias otherwise, or put the tokens before the examples, are found out this way.
    """
    sample = min(examples, key=lambda batch: (len(batch.rows) < 2, len(batch.rows)))
    sample = _first(sample, 3)
    slow = gradients_one_by_one(model, question, sample, names)
    try:
        fast = gradients_by_example(model, question, sample, names)
    except (AttributeError, RuntimeError):  # no single tensor comes out of a module, or of another shape
        return gradients_one_by_one
    same = fast.keys() == slow.keys() and all(
        fast[name].shape == each.shape
        and bool((fast[name] - each).norm() <= _ROUNDING * each.norm() + 1e-12 * each.numel())
        for name, each in slow.items()
    )
    return gradients_by_example if same else gradients_one_by_one


def _first(batch: Asked, count: int) -> Asked:
    inputs = {name: value[:count] for name, value in batch.inputs.items()}
    return replace(batch, rows=batch.rows[:count], inputs=inputs, targets=batch.targets[:count])


def _singles(batch: Asked) -> Iterator[Asked]:
    for place, row in enumerate(batch.rows):
        inputs = {name: value[place : place + 1] for name, value in batch.inputs.items()}
        yield Asked((row,), inputs, batch.targets[place : place + 1])


@contextlib.contextmanager
def _trainable(model: Any, names: Sequence[str]) -> Iterator[None]:
    """Gradients for the named parameters alone inside the ``with`` block."""
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    try:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in set(names))
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(before[name])
            parameter.grad = None
