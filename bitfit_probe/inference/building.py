"""What transformers makes of a checkpoint's names and shapes: the class, built and filled without values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.errors import ModelError
from bitfit_probe.inference.config import build_config
from bitfit_probe.inference.libraries import quietly, torch_library, transformers_library
from bitfit_probe.inference.limits import within
from bitfit_probe.inference.loading import filled
from bitfit_probe.inference.purpose import model_class

__all__ = ["Filled", "filled_class"]


@dataclass(frozen=True)
class Filled:
    """What loading would do.

    Attributes
    ----------
    source
        The class and the version of transformers.
    parameters
        How many parameters the class has.
    missing
        Its parameters that the file does not hold, ties aside: drawn at random.
    unexpected
        Names in the file that it has no place for: dropped.
    reshaped
        Names that the file holds in another shape, with both shapes, the file's first.
    """

    source: str
    parameters: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]


def filled_class(checkpoint: Checkpoint) -> Filled:
    """Load names and shapes of a checkpoint into the class that its config.json names, on the meta device.

    Raises
    ------
    MissingExtraError
        torch or transformers is not installed.
    ModelError
        config.json names no class of transformers, or the class can't be built within what the file holds.
    """
    transformers, torch = transformers_library(), torch_library()
    with quietly():
        settings = build_config(checkpoint, None, {})
        cls = _class(transformers, type(settings), checkpoint)
        state = {name: torch.empty(t.shape, device="meta") for name, t in checkpoint.tensors.items()}
        with within(checkpoint, settings.to_dict()):
            model, info = filled(
                cls, settings, state, checkpoint, ignore_mismatched_sizes=True, device_map={"": "meta"}
            )
    reshaped = [(name, tuple(held), tuple(built)) for name, held, built in info["mismatched_keys"]]
    return Filled(
        f"{cls.__name__} of transformers {transformers.__version__}",
        sum(1 for _ in model.parameters()),
        tuple(sorted(info["missing_keys"])),
        tuple(sorted(info["unexpected_keys"])),
        tuple(sorted(reshaped)),
    )


def _class(transformers: Any, settings: type, checkpoint: Checkpoint) -> Any:
    """The class by its name: one of transformers' own models, and of this kind of settings."""
    name = model_class(checkpoint.config)
    found: Any = getattr(transformers, name or "", None)
    is_model = isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)
    if not is_model or found.config_class is not settings:
        raise ModelError(
            f"config.json names no class of transformers' for its model type ({name!r:.80})",
            advice="write the class that training saved into architectures",
            path=checkpoint.path,
        )
    return found
