"""Write whole modules of libraries that the tests do without, as torch.save does, and their state dicts.

    python make_modules.py

Run with torchvision 0.29.1, timm 1.0.31 and torch 2.13.0. The weights are random.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import timm
import torch
import torchvision
from safetensors.torch import save_file

OUT = Path(__file__).parent / "modules"
TINY = {"num_classes": 2, "depth": 1, "num_heads": 2}
MODULES: dict[str, Callable[[], torch.nn.Module]] = {
    "torchvision-vit": lambda: torchvision.models.VisionTransformer(8, 4, 1, 2, 8, 16, num_classes=2),
    "torchvision-convnext": lambda: torchvision.models.ConvNeXt(
        [
            torchvision.models.convnext.CNBlockConfig(8, 8, 1),
            torchvision.models.convnext.CNBlockConfig(8, None, 1),
        ],
        num_classes=2,
    ),
    "timm-vit": lambda: timm.models.VisionTransformer(8, 4, embed_dim=8, **TINY),
    "timm-efficientnet": lambda: timm.models.EfficientNet(
        timm.models._efficientnet_builder.decode_arch_def([["ds_r1_k3_s1_e1_c8"]]),
        num_classes=2,
        num_features=8,
        stem_size=8,
    ),
}


def main() -> None:
    OUT.mkdir(exist_ok=True)
    for name, make in MODULES.items():
        torch.manual_seed(0)
        module = make().eval()
        with torch.no_grad():
            for value in module.state_dict().values():
                if value.is_floating_point():
                    value.add_(0.1 * torch.randn_like(value))
        torch.save(module, OUT / f"{name}.pt")
        save_file(
            {key: value.clone() for key, value in module.state_dict().items()}, OUT / f"{name}.safetensors"
        )


if __name__ == "__main__":
    main()
