"""Real transformers models of several parts, small and without memory, and what their parts are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

TEXT = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
IMAGE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
SOUND = {
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "num_mel_bins": 8,
}
BERT = {key: TEXT[key] for key in TEXT if key not in ("num_key_value_heads", "head_dim")}
ROTARY = {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}}
BLOCKS = {"depth": 2, "hidden_size": 32, "out_hidden_size": 64, "intermediate_size": 48, "num_heads": 2}
QWEN25 = {**BLOCKS, "patch_size": 14, "fullatt_block_indexes": [1]}
QWEN3 = {**BLOCKS, "patch_size": 14, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]}

_GENERATES = "ForConditionalGeneration"
#: Parts and their families, as most have them.
CLIP_LLAMA = {"language_model": "llama", "vision_tower": "clip_vision", "projector": "generic"}


@dataclass(frozen=True)
class Composed:
    """Which class, from which settings, and the family of each part."""

    cls: str
    family: str
    parts: dict[str, str]
    settings: dict[str, Any]


def _settings(text: str, image: str = "clip_vision_model", **more: Any) -> dict[str, Any]:
    return {
        "text_config": {**TEXT, "model_type": text},
        "vision_config": {**IMAGE, "model_type": image},
        **more,
    }


def composed() -> list[Composed]:
    """One row a model type."""
    siglip, qwen2 = "siglip_vision_model", {"language_model": "qwen2"}
    one = {
        "Llava": _settings("llama"),
        "LlavaNext": _settings("llama"),
        "LlavaNextVideo": _settings("llama"),
        "VipLlava": _settings("llama", vision_feature_layers=[-2, -1]),
        "PaliGemma": _settings("gemma", siglip),
        "AyaVision": _settings("cohere2", siglip),
    }
    rows = [Composed(f"{stem}{_GENERATES}", "llava", CLIP_LLAMA, own) for stem, own in one.items()]
    voxtral = {key: IMAGE[key] for key in ("hidden_size", "intermediate_size")} | {"num_mel_bins": 8}
    sound = {"audio_tower": "qwen2_audio_encoder", "projector": "generic"}
    visual = {"vision_tower": "qwen2_vl_vision", "projector": "generic"}
    others: list[tuple[str, str, dict[str, str], dict[str, Any]]] = [
        ("LlavaOnevision", "llava", CLIP_LLAMA | qwen2, _settings("qwen2", siglip)),
        ("Gemma3", "llava", CLIP_LLAMA | {"language_model": "gemma2"}, _settings("gemma3_text", siglip)),
        ("Mistral3", "llava", CLIP_LLAMA | {"vision_tower": "pixtral"}, _settings("mistral", "pixtral")),
        (
            "InternVL",
            "llava",
            CLIP_LLAMA | qwen2 | {"vision_tower": "internvl_vision"},
            _settings("qwen2", "internvl_vision"),
        ),
        (
            "Qwen2Audio",
            "llava",
            sound | qwen2,
            {"text_config": {**TEXT, "model_type": "qwen2"}, "audio_config": SOUND},
        ),
        (
            "Voxtral",
            "llava",
            sound | {"language_model": "llama"},
            {
                "text_config": {**TEXT, "model_type": "llama"},
                "audio_config": voxtral | {"num_hidden_layers": 2, "num_attention_heads": 2},
            },
        ),
        (
            "Qwen2VL",
            "qwen2_vl",
            visual | qwen2,
            {
                "text_config": TEXT | ROTARY,
                "vision_config": {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2},
            },
        ),
        ("Qwen2_5_VL", "qwen2_vl", visual | qwen2, {"text_config": TEXT | ROTARY, "vision_config": QWEN25}),
        (
            "Qwen3VL",
            "qwen3_vl",
            visual | {"language_model": "llama"},
            {"text_config": TEXT | ROTARY, "vision_config": QWEN3},
        ),
        (
            "Qwen3VLMoe",
            "qwen3_vl",
            visual | {"language_model": "qwen_moe"},
            {
                "text_config": {**TEXT, **ROTARY, "num_experts": 4, "moe_intermediate_size": 32},
                "vision_config": QWEN3,
            },
        ),
        (
            "Idefics2",
            "idefics3",
            CLIP_LLAMA | {"resampler": "llama"},
            _settings(
                "mistral",
                "idefics2_vision",
                perceiver_config={
                    "hidden_size": 64,
                    "resampler_n_latents": 4,
                    "resampler_depth": 1,
                    "resampler_n_heads": 2,
                    "num_key_value_heads": 1,
                    "resampler_head_dim": 8,
                },
            ),
        ),
        ("Idefics3", "idefics3", CLIP_LLAMA, _settings("llama", "idefics3_vision")),
        ("SmolVLM", "idefics3", CLIP_LLAMA, _settings("llama", "smolvlm_vision")),
    ]
    rows += [Composed(f"{stem}{_GENERATES}", *rest) for stem, *rest in others]
    towers = {"text": "clip_text", "vision": "clip_vision", "scale": "generic"}
    tower_settings = {"text_config": TEXT, "vision_config": IMAGE}
    return [
        *rows,
        Composed("SiglipModel", "siglip", towers, tower_settings),
        Composed("Siglip2Model", "siglip", towers, tower_settings),
        Composed(
            "Phi4MultimodalForCausalLM",
            "phi4_multimodal",
            CLIP_LLAMA | {"language_model": "phi3", "audio_tower": "phi4_audio"},
            {
                **TEXT,
                "vision_config": {**IMAGE, "crop_size": 28},
                "audio_config": {
                    "hidden_size": 32,
                    "intermediate_size": 48,
                    "num_blocks": 2,
                    "num_attention_heads": 2,
                    "ext_pw_out_channel": 32,
                    "nemo_conv_channels": 16,
                    "depthwise_separable_out_channel": 32,
                },
            },
        ),
        Composed(
            "IdeficsForVisionText2Text",
            "idefics",
            {
                "language_model": "llama",
                "cross_attention": "idefics_cross",
                "vision_tower": "clip_vision",
                "resampler": "idefics_perceiver",
            },
            {
                **TEXT,
                "vision_config": {**IMAGE, "embed_dim": 32},
                "perceiver_config": {"resampler_n_latents": 4, "resampler_depth": 1, "resampler_head_dim": 8},
                "use_resampler": True,
                "cross_layer_interval": 1,
                "qk_layer_norms": True,
            },
        ),
        Composed(
            "Qwen2_5OmniForConditionalGeneration",
            "qwen2_5_omni",
            visual
            | sound
            | {"language_model": "qwen2", "talker": "qwen2", "vocoder": "qwen2_5_omni_token2wav"},
            {
                "thinker_config": {
                    "text_config": TEXT | ROTARY,
                    "vision_config": QWEN25,
                    "audio_config": SOUND | {"output_dim": 64},
                },
                "talker_config": {**TEXT, **ROTARY, "embedding_size": 64},
                "token2wav_config": {
                    "dit_config": {
                        "hidden_size": 64,
                        "num_hidden_layers": 2,
                        "num_attention_heads": 4,
                        "head_dim": 16,
                        "emb_dim": 16,
                        "enc_dim": 16,
                        "enc_emb_dim": 16,
                        "enc_channels": [16, 16, 16, 16, 48],
                        "num_embeds": 40,
                        "mel_dim": 8,
                        "enc_attention_channels": 8,
                        "enc_se_channels": 8,
                    },
                    "bigvgan_config": {
                        "mel_dim": 8,
                        "upsample_initial_channel": 32,
                        "resblock_kernel_sizes": [3],
                        "resblock_dilation_sizes": [[1, 3, 5]],
                        "upsample_rates": [2],
                        "upsample_kernel_sizes": [4],
                    },
                },
                "enable_audio_output": True,
            },
        ),
    ]


def model_types() -> set[str]:
    """The model types of all parts of all rows."""
    return {kind for index in range(len(composed())) for kind in _types_in(names_of(index).config)}


def _types_in(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        if isinstance(config.get("model_type"), str):
            yield config["model_type"]
        for inner in config.values():
            yield from _types_in(inner)


@dataclass(frozen=True, eq=False)
class Names:
    """What the class calls its tensors in memory and in its file, and what its module tree says of them."""

    row: Composed
    config: dict[str, Any]
    module: dict[str, tuple[int, ...]]
    file: dict[str, tuple[int, ...]]
    parameters: frozenset[str]
    biases: frozenset[str]
    norms: frozenset[str]


def on_meta(cls: Any, config: Any) -> Any:
    """A model without memory for its weights."""
    import torch

    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        return cls(config)


@cache
def names_of(index: int) -> Names:
    """Build the model of one row."""
    import transformers
    from transformers.core_model_loading import revert_weight_conversion

    row = composed()[index]
    cls = getattr(transformers, row.cls)
    model = on_meta(cls, cls.config_class(**row.settings))
    state = model.state_dict()
    file = revert_weight_conversion(model, dict(state))
    return Names(
        row,
        model.config.to_dict(),
        {name: tuple(tensor.shape) for name, tensor in state.items()},
        {name: tuple(tensor.shape) for name, tensor in file.items()},
        frozenset(name for name, _ in model.named_parameters(remove_duplicate=False)),
        frozenset(_leaves(model, "bias", lambda module: hasattr(module, "weight"))),
        frozenset(_leaves(model, "weight", lambda module: type(module).__name__.endswith("Norm"))),
    )


def _leaves(model: Any, leaf: str, holds: Callable[[Any], bool]) -> list[str]:
    own = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return [
        f"{path}.{leaf}"
        for path, module in model.named_modules()
        if holds(module) and f"{path}.{leaf}" in own
    ]
