"""Empirical neural tangent kernels of a frozen model, by which parameters would be trained.

For a layer with inputs x_t and output gradients g_t at tokens t, the kernel between examples i and j is
Σ_{t,s} ⟨g_it, g_js⟩ · w(x_it, x_js), with w = 1 for the bias, ⟨A x, A x'⟩ for LoRA at its start (B = 0, A
random), and ⟨x, x'⟩ for the whole weight (Jacot et al. 2018; for LoRA at initialisation Malladi et al. 2023).
Each is an inner product of per-example features that one backward pass yields: Σ_t g_t, Σ_t g_t (A x_t)ᵀ and
Σ_t g_t x_tᵀ.

The gradients are those of random directions of the pooled features, ⟨u, h⟩. A head fitted to the same labels
would carry them into the kernel: leave-one-out then reads far too well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfit_probe.architectures import recognise
from bitfit_probe.data import TaskData
from bitfit_probe.inference import Batch, LiveModel, Progress, running

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

__all__ = ["DEFAULT", "Kernels", "Settings", "inverse_deviation", "kernels"]

Array = Any


@dataclass(frozen=True)
class Settings:
    """How finely the kernels are computed.

    Attributes
    ----------
    directions
        Random directions of the pooled features; each costs one forward and one backward pass.
    ranks
        LoRA ranks.
    sketch
        Inputs and output gradients of a weight are projected at random to this many dimensions before
        their outer product is taken (Johnson & Lindenstrauss 1984); None keeps them whole, which is exact
        and needs memory for one gradient of all weights an example.
    seed
        Of directions and projections.
    """

    directions: int = 4
    ranks: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    sketch: int | None = 64
    seed: int = 0


DEFAULT = Settings()


@dataclass
class Kernels:
    """Kernels of shape (examples, examples), float64, averaged over directions.

    Attributes
    ----------
    features
        Pooled features of the last layer, shape (examples, width).
    bias
        By (role, layer): all biases of that role in that layer.
    lora
        By rank: LoRA on all linear layers of the body.
    weights
        All weights, norms and embeddings, without the biases.
    explained
        By (role, layer) of the matrices with a bias: the squared gradient that a constant shift takes, and
        that of the whole matrix, Σ_i ‖Σ_t g‖²·‖x̄‖² and Σ_i ‖Σ_t g xᵀ‖².
    uncovered
        Names of parameters for which there is no kernel.
    """

    features: npt.NDArray[np.float64]
    bias: dict[tuple[str, int | None], npt.NDArray[np.float64]]
    lora: dict[int, npt.NDArray[np.float64]]
    weights: npt.NDArray[np.float64]
    explained: dict[tuple[str, int | None], tuple[float, float]] = field(default_factory=dict)
    uncovered: tuple[str, ...] = ()

    @property
    def all_biases(self) -> npt.NDArray[np.float64]:
        """The biases' kernels added up."""
        return np.asarray(np.add.reduce(list(self.bias.values())))

    @property
    def full(self) -> npt.NDArray[np.float64]:
        """All parameters of the body."""
        return self.weights + (self.all_biases if self.bias else 0.0)


def kernels(
    live: LiveModel,
    data: TaskData,
    settings: Settings = DEFAULT,
    progress: Progress | None = None,
    *,
    final: npt.NDArray[np.floating] | None = None,
) -> Kernels:
    """Compute the kernels of all ways to train, from one forward pass and one backward pass a direction.

    Parameters
    ----------
    live
        The frozen model.
    data
        Labels are not looked at.
    settings
        Directions, ranks and precision.
    progress
        Told about passes over examples done and to do.
    final
        Pooled features of the last layer where they are known already, shape (examples, width).
    """
    features = (live.features(data)[-1] if final is None else final).astype(np.float64)
    total = Kernels(features, {}, {}, np.zeros((len(data),) * 2))
    batches, whole = live.batches(data), settings.directions * len(data)
    for number, direction in enumerate(_directions(features, settings)):
        collector = _Collector(live, len(data), settings)
        with collector:
            done = number * len(data)
            for batch in batches:
                collector.run(batch, direction)
                done += len(batch.rows)
                if progress is not None:
                    progress(done, whole)
        collector.add_to(total, 1 / settings.directions)
        total.uncovered = collector.uncovered
    return total


def _directions(features: npt.NDArray[np.float64], settings: Settings) -> Iterator[npt.NDArray[np.float64]]:
    """Random directions, as a head on standardised features sees them."""
    random = np.random.default_rng(settings.seed)
    for _ in range(settings.directions):
        yield random.standard_normal(features.shape[1]) * inverse_deviation(features)


def inverse_deviation(features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """1 / standard deviation of each feature, shape (width,).

    A feature of almost no variance would blow up: deviations below a tenth of the median count as that.
    """
    deviation = features.std(0)
    floor = max(float(np.median(deviation)) / 10, float(np.finfo(float).tiny))
    return np.asarray(1 / np.maximum(deviation, floor))


@dataclass
class _Layer:
    """A module whose parameters have a kernel, and the features of all examples for them."""

    module: Any
    kind: str
    info: tuple[str, int | None]
    has_bias: bool
    store: dict[str, Array] = field(default_factory=dict)
    projections: dict[str, Array] = field(default_factory=dict)
    seen: list[Array] = field(default_factory=list)


class _Collector:
    """Hooks that turn a backward pass into per-example features of every parameter."""

    def __init__(self, live: LiveModel, count: int, settings: Settings) -> None:
        self._live, self._count, self._settings = live, count, settings
        self._where: Array = None
        self._mask: Array = None
        self._layers, self.uncovered = _layers(live.body)
        self._handles: list[Any] = []
        self._tokens: dict[int, dict[int, dict[int, Array]]] = defaultdict(lambda: defaultdict(dict))

    def __enter__(self) -> _Collector:
        for layer in self._layers:
            self._handles.append(layer.module.register_forward_hook(self._hook(layer)))
        return self

    def __exit__(self, *problem: object) -> None:
        for handle in self._handles:
            handle.remove()

    def run(self, batch: Batch, direction: npt.NDArray[np.float64]) -> None:
        """One forward and one backward pass over a batch."""
        import torch

        self._where = torch.tensor(batch.rows)
        self._mask = batch.mask
        model = self._live.body
        # No parameter asks for a gradient, so the graph starts at the embeddings' outputs (see _hook).
        with torch.enable_grad(), running(model):
            hidden = model(**batch.inputs).last_hidden_state
            pooled = self._live.pool(hidden, batch.mask)
            (pooled @ torch.from_numpy(direction).to(pooled.dtype)).sum().backward()

    def _hook(self, layer: _Layer) -> Any:
        def forward(module: Any, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
            given = args[0].detach() if layer.kind != "embedding" else _rows_used(module, args[0], output)
            if not output.requires_grad:
                output = self._for_each(output.detach()).requires_grad_(True)
            output.register_hook(lambda gradient: self._take(layer, given, gradient))
            return output

        return forward

    def _for_each(self, output: torch.Tensor) -> torch.Tensor:
        """Positions are embedded once for all examples; their gradients must stay apart."""
        count = len(self._where)
        shared = output.dim() == 3 and len(output) == 1 < count
        return output.expand(count, -1, -1).clone() if shared else output.clone()

    def _take(self, layer: _Layer, given: torch.Tensor, gradient: torch.Tensor) -> None:
        import torch

        with torch.no_grad():
            gradient = _by_example(gradient, len(self._where))
            if layer.kind == "embedding":
                self._take_embedding(layer, given, gradient)
                return
            given = _by_example(given, len(self._where))
            if layer.has_bias:
                self._put(layer, "bias", gradient.sum(1))
            if layer.kind == "norm":
                self._put(layer, "weight", (gradient * _normalised(layer.module, given)).sum(1))
                return
            self._take_matrix(layer, given, gradient)

    def _take_matrix(self, layer: _Layer, given: torch.Tensor, gradient: torch.Tensor) -> None:
        # Projecting the outputs once serves LoRA and the whole weight alike.
        projected = self._project(layer, "out", gradient)
        if self._settings.ranks:
            inner = given @ self._matrix(layer, "lora", given.shape[-1], max(self._settings.ranks))
            self._put(layer, "lora", (projected.transpose(1, 2) @ inner))
        self._put(layer, "weight", _outer(projected, self._project(layer, "in", given)))
        if layer.has_bias and given.shape[1] == self._mask.shape[1]:
            weight = self._mask[..., None] / self._mask.sum(1)[:, None, None]
            self._put(layer, "mean input", (given * weight).sum(1))

    def _take_embedding(self, layer: _Layer, ids: torch.Tensor, gradient: torch.Tensor) -> None:
        """Sum the gradients a row of the table: examples meet in the rows that they share."""
        import torch

        rows = self._tokens[id(layer)]
        ids = (
            ids.expand(len(gradient), -1) if ids.dim() == 2 else ids.reshape(1, -1).expand(len(gradient), -1)
        )
        for position, example in enumerate(self._where.tolist()):
            used, inverse = ids[position].unique(return_inverse=True)
            sums = torch.zeros(len(used), gradient.shape[-1]).index_add_(0, inverse, gradient[position])
            for row, value in zip(used.tolist(), sums, strict=True):
                rows[row][example] = value

    def _project(self, layer: _Layer, side: str, values: torch.Tensor) -> torch.Tensor:
        size = self._settings.sketch
        if size is None or values.shape[-1] <= size:
            return values
        return values @ self._matrix(layer, side, values.shape[-1], size)

    def _matrix(self, layer: _Layer, name: str, wide: int, narrow: int) -> torch.Tensor:
        """A random projection with E⟨Px, Py⟩ = ⟨x, y⟩, the same for all examples and directions."""
        import torch

        if name not in layer.projections:
            seed = hash((self._settings.seed, self._layers.index(layer), name == "lora", narrow, wide))
            random = torch.Generator().manual_seed(seed % 2**31)
            layer.projections[name] = torch.randn(wide, narrow, generator=random) / narrow**0.5
        return layer.projections[name]

    def _put(self, layer: _Layer, name: str, values: torch.Tensor) -> None:
        import torch

        if name not in layer.store:
            layer.store[name] = torch.zeros(self._count, *values.shape[1:])
        # A module may run twice a pass (ALBERT shares its layers): its gradients add up.
        layer.store[name].index_add_(0, self._where, values)

    def _add_lora(self, total: Kernels, values: torch.Tensor, weight: float) -> None:
        """A of rank r is the first r rows of the largest A; each rank's kernel is an estimate of ⟨x, x'⟩."""
        largest = max(self._settings.ranks)
        for rank in self._settings.ranks:
            gram = _gram(values[..., :rank]) * (weight * largest / rank)
            total.lora[rank] = total.lora.get(rank, 0.0) + gram

    def add_to(self, total: Kernels, weight: float) -> None:
        """Add the Gram matrices of the features, times `weight`."""
        for layer in self._layers:
            for name, values in layer.store.items():
                if name == "bias":
                    total.bias[layer.info] = total.bias.get(layer.info, 0.0) + _gram(values) * weight
                elif name == "weight":
                    total.weights += _gram(values) * weight
                elif name == "lora":
                    self._add_lora(total, values, weight)
            if "mean input" in layer.store:
                shift, whole = _explained(layer)
                before = total.explained.get(layer.info, (0.0, 0.0))
                total.explained[layer.info] = before[0] + shift, before[1] + whole
            for examples in self._tokens[id(layer)].values():
                where = list(examples)
                total.weights[np.ix_(where, where)] += _gram_rows(list(examples.values())) * weight


def _explained(layer: _Layer) -> tuple[float, float]:
    """See Kernels.explained; each example counts by its own gradient."""
    shift = layer.store["bias"].square().sum(1) * layer.store["mean input"].square().sum(1)
    return float(shift.sum()), float(layer.store["weight"].square().sum())


def _rows_used(module: Any, given: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """Which row of its table an embedding took for each token; (examples or 1, tokens).

    A subclass may be given anything (OPT's positions are given the attention mask): there, tokens with
    the same output have the same row.
    """
    import torch

    if type(module).forward is torch.nn.Embedding.forward:
        return given
    return output.detach().flatten(0, -2).unique(dim=0, return_inverse=True)[1].reshape(output.shape[:-1])


def _outer(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Σ_t left_t right_tᵀ an example, flattened: (examples, tokens, a) and (…, b) to (examples, a·b)."""
    return (left.transpose(1, 2) @ right).flatten(1)


def _gram(values: torch.Tensor) -> npt.NDArray[np.float64]:
    flat = values.flatten(1)
    return np.asarray((flat @ flat.T).double().numpy())


def _gram_rows(rows: list[torch.Tensor]) -> npt.NDArray[np.float64]:
    import torch

    return _gram(torch.stack(rows))


def _by_example(values: torch.Tensor, count: int) -> torch.Tensor:
    """`values` as (examples, tokens, width), also where a module sees one vector or flattened tokens."""
    return values.reshape(count, -1, values.shape[-1])


def _normalised(module: Any, given: torch.Tensor) -> torch.Tensor:
    """What a norm's scale multiplies: LayerNorm centres, RMSNorm does not."""
    epsilon = getattr(module, "eps", None) or getattr(module, "variance_epsilon", 1e-6)
    if hasattr(module, "normalized_shape"):
        given = given - given.mean(-1, keepdim=True)
    return given * (given.square().mean(-1, keepdim=True) + epsilon).rsqrt()


def _layers(model: Any) -> tuple[list[_Layer], tuple[str, ...]]:
    import torch
    from transformers.pytorch_utils import Conv1D

    architecture = recognise([name for name, _ in model.named_parameters()], model.config.to_dict())
    layers, covered = [], set()
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, Conv1D)):
            kind = "matrix"
        elif isinstance(module, torch.nn.Embedding):
            kind = "embedding"
        elif isinstance(module, torch.nn.LayerNorm) or type(module).__name__.endswith("RMSNorm"):
            kind = "norm"
        else:
            continue
        own = [f"{name}.{leaf}" for leaf, _ in module.named_parameters(recurse=False)]
        covered.update(own)
        has_bias = getattr(module, "bias", None) is not None
        info = architecture.info(f"{name}.bias" if has_bias else f"{name}.weight", 1)
        layers.append(_Layer(module, kind, (info.role or "other", info.layer), has_bias))
    pooler = {name for name, _ in model.named_parameters() if "pooler" in name}
    rest = [name for name, _ in model.named_parameters() if name not in covered and name not in pooler]
    return layers, tuple(rest)
