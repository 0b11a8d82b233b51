"""Trained parameters in float32 beside a body in half precision.

A bfloat16 number has 8 significant bits: a bias of 0.05 does not notice an AdamW step of 1e-5. So what is
trained is kept in float32 and cast where a layer uses it (mixed precision, Micikevicius et al. 2018, §3.1),
through torch's own parametrisations: they serve every layer, device and spelling of a bias alike.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["cast_at_use", "master_of", "plain_name", "settle"]

_PARAMETRISED = re.compile(r"\.parametrizations\.([^.]+)\.original$")


def cast_at_use(model: Any) -> None:
    """Keep every trainable half-precision parameter in float32, and cast it at each use."""
    import torch
    from torch.nn.utils import parametrize

    class Cast(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, dtype: torch.dtype) -> None:
            super().__init__()
            self.dtype = dtype

        def forward(self, master: torch.Tensor) -> torch.Tensor:
            return master.to(self.dtype)

    masters: dict[Any, Any] = {}  # tied parameters keep one master
    for module in list(model.modules()):
        for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
                if parameter not in masters:
                    masters[parameter] = torch.nn.Parameter(parameter.detach().float())
                module._parameters[name] = masters[parameter]
                parametrize.register_parametrization(module, name, Cast(parameter.dtype), unsafe=True)
        if "parametrizations" in module._modules:
            # Checkpoints in between have the usual names, or ties and adapters would not be known by them.
            module.register_state_dict_post_hook(_out)
            module.register_load_state_dict_pre_hook(_in)


def _out(module: Any, state: dict[str, Any], prefix: str, _: Any) -> None:
    for name in module._modules.get("parametrizations", ()):
        state[f"{prefix}{name}"] = state.pop(f"{prefix}parametrizations.{name}.original")


def _in(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name in module._modules.get("parametrizations", ()):
        if f"{prefix}{name}" in state:
            state[f"{prefix}parametrizations.{name}.original"] = state.pop(f"{prefix}{name}")


def master_of(model: Any, name: str) -> Any:
    """The leaf parameter behind `name`, whether or not it is cast at use."""
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    if leaf in module._modules.get("parametrizations", ()):
        return module.parametrizations[leaf].original
    return getattr(module, leaf)


def plain_name(name: str) -> str:
    """The parameter's name without what the cast put into it.

    >>> plain_name("layer.0.dense.parametrizations.bias.original")
    'layer.0.dense.bias'
    """
    return _PARAMETRISED.sub(r".\1", f".{name}")[1:]


def settle(model: Any) -> None:
    """Put the float32 values in the parameters' place, under their own names."""
    import torch
    from torch.nn.utils import parametrize

    settled: dict[Any, Any] = {}
    for module in list(model.modules()):
        # Not by getattr: peft's wrappers answer for the module inside.
        for name in list(module._modules.get("parametrizations", ())):
            master = module.parametrizations[name].original
            if master not in settled:
                settled[master] = torch.nn.Parameter(master.detach().clone())
            parametrize.remove_parametrizations(module, name, leave_parametrized=False)
            setattr(module, name, settled[master])
