"""Write tiny adapters with mlx-lm itself, and what its fuse makes of them.

    python make_adapters.py

Run on a CPU with mlx-lm 0.32.2 and MLX 0.32.4. The weights are random. `mlx-base.safetensors` is the model,
`mlx-NAME` its adapter as `mlx_lm.lora` saves it, `mlx-NAME-fused.safetensors` the fused model.
"""

from __future__ import annotations

import json
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map, tree_unflatten
from mlx_lm.models.llama import Model, ModelArgs
from mlx_lm.tuner.utils import linear_to_lora_layers

OUT = Path(__file__).parent / "adapters"
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 24, "num_attention_heads": 2}
KEYS = {
    "lora": ["self_attn.q_proj", "mlp.down_proj"],
    "dora": ["self_attn.v_proj", "mlp.up_proj"],
    "tables": ["self_attn.q_proj", "embed_tokens"],
}


def model() -> Model:
    mx.random.seed(3)
    made = Model(ModelArgs("llama", **SIZES, rms_norm_eps=1e-6, vocab_size=32, num_key_value_heads=1))
    return noisy(made, made.parameters())


def noisy(made: Model, parameters: dict) -> Model:
    made.update(tree_map(lambda x: x + 0.1 * mx.random.normal(x.shape), parameters))
    return made


def save(path: Path, parameters: dict) -> None:
    mx.save_safetensors(str(path), dict(tree_flatten(parameters)))


def main() -> None:
    OUT.mkdir(exist_ok=True)
    save(OUT / "mlx-base.safetensors", model().parameters())
    for name, keys in KEYS.items():
        tuned, settings = model(), {"rank": 4, "scale": 20.0, "dropout": 0.0, "keys": keys}
        tuned.freeze()
        linear_to_lora_layers(tuned, 2, settings, use_dora=name == "dora")
        noisy(tuned, tuned.trainable_parameters())
        folder = OUT / f"mlx-{name}"
        folder.mkdir(exist_ok=True)
        save(folder / "adapters.safetensors", tuned.trainable_parameters())
        config = {
            "fine_tune_type": "dora" if name == "dora" else "lora",
            "num_layers": 2,
            "lora_parameters": settings,
        }
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=1))
        fused = [(at, module.fuse()) for at, module in tuned.named_modules() if hasattr(module, "fuse")]
        tuned.update_modules(tree_unflatten(fused))
        save(OUT / f"mlx-{name}-fused.safetensors", tuned.parameters())


if __name__ == "__main__":
    main()
