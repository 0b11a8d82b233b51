"""Real transformers models on the meta device, each bare and with a task's head."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

WORDS = {"vocab_size": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BERT = WORDS | {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
LLAMA = BERT | {"num_key_value_heads": 2, "head_dim": 4}
GPT2 = WORDS | {"n_embd": 16, "n_layer": 3, "n_head": 4, "n_positions": 32}
BART = WORDS | {
    "d_model": 16,
    "encoder_layers": 3,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 32,
}
T5 = WORDS | {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 3, "num_heads": 4}
IMAGE = {key: BERT[key] for key in BERT if key not in WORDS} | {"image_size": 8, "patch_size": 4}
CLIP = {"text_config": BERT, "vision_config": IMAGE, "projection_dim": 8}
SOUND = BERT | {
    "conv_dim": (8, 8, 8),
    "conv_stride": (2, 2, 2),
    "conv_kernel": (3, 3, 3),
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
DEBERTA = BERT | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
WHISPER = BART | {"num_mel_bins": 8, "max_source_positions": 16, "max_target_positions": 16}
LATENT = {
    "n_routed_experts": 4,
    "moe_intermediate_size": 8,
    "n_group": 1,
    "topk_group": 1,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 4,
    "head_dim": 4,
    "first_k_dense_replace": 1,
}
BIASED = {"attention_bias": True, "mlp_bias": True}


@dataclass(frozen=True)
class Row:
    """Which class to build, and what of the answer its names alone can't give.

    `heads` names the modules outside the body where transformers doesn't say which those are;
    `by_names` is the family that bare names show where two families share all of them.
    """

    model_type: str
    family: str
    bare: str
    task: str
    settings: dict[str, Any]
    heads: frozenset[str] | None = None
    bare_by_names: str | None = None
    task_by_names: str | None = None


def rows() -> Iterator[Row]:
    """List every model type, once for each kind of head that its family has."""

    def family(
        name: str, kind: str, stem: str, tasks: str, settings: dict[str, Any], **known: Any
    ) -> Iterator[Row]:
        for task in tasks.split():
            yield Row(kind, name, f"{stem}Model", f"{stem}{task}", settings, **known)

    text, words = "ForSequenceClassification", "ForMaskedLM"
    causal, image = "ForCausalLM", "ForImageClassification"
    yield from family("bert", "bert", "Bert", f"{text} {words} ForPreTraining", BERT)
    for kind, stem in {
        "roberta": "Roberta",
        "xlm-roberta": "XLMRoberta",
        "camembert": "Camembert",
        "data2vec-text": "Data2VecText",
    }.items():
        yield from family("roberta", kind, stem, f"{text} {words}", BERT, bare_by_names="bert")
    yield from family(
        "distilbert",
        "distilbert",
        "DistilBert",
        f"{text} {words}",
        {"dim": 16, "n_layers": 3, "n_heads": 4, "hidden_dim": 24, "vocab_size": 40},
    )
    narrow = BERT | {"embedding_size": 8}
    yield from family("electra", "electra", "Electra", f"{text} {words} ForPreTraining", narrow)
    yield from family("albert", "albert", "Albert", f"{text} {words} ForPreTraining", narrow)
    yield from family("mpnet", "mpnet", "MPNet", f"{text} {words}", BERT)
    yield from family("deberta", "deberta", "Deberta", f"{text} {words}", DEBERTA)
    conv = DEBERTA | {"norm_rel_ebd": "layer_norm", "conv_kernel_size": 3}
    yield from family("deberta_v2", "deberta-v2", "DebertaV2", f"{text} {words}", conv)
    crossed = GPT2 | {"add_cross_attention": True}
    yield from family("gpt2", "gpt2", "GPT2", f"LMHeadModel {text} DoubleHeadsModel", crossed)
    neo = WORDS | {
        "hidden_size": 16,
        "num_layers": 3,
        "num_heads": 4,
        "attention_types": [[["global", "local", "global"], 1]],
        "max_position_embeddings": 32,
    }
    yield from family("gpt_neo", "gpt_neo", "GPTNeo", f"{causal} {text}", neo)
    yield from family("gpt_neox", "gpt_neox", "GPTNeoX", f"{causal} {text}", BERT)
    yield from family("gptj", "gptj", "GPTJ", f"{causal} {text}", GPT2 | {"rotary_dim": 4})
    opt = BERT | {"ffn_dim": 24, "word_embed_proj_dim": 8}
    yield from family("opt", "opt", "OPT", f"{causal} {text}", opt)
    bloom = WORDS | {"hidden_size": 16, "n_layer": 3, "n_head": 4}
    yield from family("bloom", "bloom", "Bloom", f"{causal} {text} ForTokenClassification", bloom)
    yield from family("phi", "phi", "Phi", f"{causal} {text}", BERT | {"qk_layernorm": True})
    grouped = BERT | {"num_key_value_heads": 2}
    yield from family("phi3", "phi3", "Phi3", f"{causal} {text}", grouped)
    yield from family("qwen2", "qwen2", "Qwen2", f"{causal} {text}", grouped)
    yield from family("llama", "llama", "Llama", f"{causal} {text}", LLAMA)
    yield from family("llama", "llama", "Llama", causal, LLAMA | BIASED)
    yield from family("llama", "mistral", "Mistral", causal, LLAMA)
    yield from family("llama", "gemma", "Gemma", causal, LLAMA)
    yield from family("llama", "qwen3", "Qwen3", f"{causal} ForQuestionAnswering", LLAMA)
    yield from family("gemma2", "gemma2", "Gemma2", causal, LLAMA)
    yield Row("gemma3_text", "gemma2", "Gemma3TextModel", "Gemma3ForCausalLM", LLAMA)
    gated = T5 | {"feed_forward_proj": "gated-gelu"}
    lm = frozenset({"lm_head"})
    for kind, stem, settings in (
        ("t5", "T5", T5),
        ("t5", "T5", gated),
        ("mt5", "MT5", gated),
        ("umt5", "UMT5", gated),
    ):
        yield from family("t5", kind, stem, "ForConditionalGeneration", settings, heads=lm)
        yield from family("t5", kind, stem, text, settings)
    for settings in (
        {"new_decoder_architecture": True, "num_kv_heads": 2},
        {"new_decoder_architecture": False, "parallel_attn": False, "alibi": True},
    ):
        falcon = BERT | {"bias": True} | settings
        yield from family("falcon", "falcon", "Falcon", f"{causal} {text}", falcon)
    sound_heads = frozenset({"projector", "classifier"})
    yield from family("whisper", "whisper", "Whisper", "ForConditionalGeneration", WHISPER)
    yield from family("whisper", "whisper", "Whisper", "ForAudioClassification", WHISPER, heads=sound_heads)
    yield from family("vit", "vit", "ViT", f"{image} ForMaskedImageModeling", IMAGE)
    yield from family("vit", "deit", "DeiT", f"{image} {image}WithTeacher", IMAGE)
    for swiglu in (False, True):
        settings = IMAGE | {"use_swiglu_ffn": swiglu}
        yield from family("dinov2", "dinov2", "Dinov2", image, settings)
    yield from family(
        "clip",
        "clip",
        "CLIP",
        image,
        CLIP,
        heads=frozenset({"classifier"}),
        task_by_names="clip_vision",
    )
    none: frozenset[str] = frozenset()
    yield from family("clip_text", "clip_text_model", "CLIPText", "ModelWithProjection", BERT, heads=none)
    yield from family(
        "clip_vision", "clip_vision_model", "CLIPVision", "ModelWithProjection", IMAGE, heads=none
    )
    stable = SOUND | {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
    for kind, stem, tasks, settings in (
        ("wav2vec2", "Wav2Vec2", f"ForCTC {text} ForPreTraining", SOUND),
        ("hubert", "Hubert", f"ForCTC {text}", stable),
    ):
        yield from family("wav2vec2", kind, stem, tasks, settings)
    all_biases = BERT | BIASED | {"norm_bias": True, "classifier_bias": True}
    for settings in (BERT, all_biases):
        yield from family("modernbert", "modernbert", "ModernBert", f"{text} {words}", settings)
    for kind, stem in {"bart": "Bart", "mbart": "MBart"}.items():
        tasks = f"ForConditionalGeneration {text} {causal}"
        yield from family("bart", kind, stem, tasks, BART)
    experts = LLAMA | {"num_experts_per_tok": 2}
    listed, local = (
        experts | {"num_experts": 4, "moe_intermediate_size": 8},
        experts | {"num_local_experts": 4},
    )
    shared = listed | {"shared_expert_intermediate_size": 8}
    yield from family(
        "mixtral", "mixtral", "Mixtral", causal, local, bare_by_names="qwen_moe", task_by_names="qwen_moe"
    )
    yield from family("qwen_moe", "qwen2_moe", "Qwen2Moe", f"{causal} {text}", shared)
    yield from family("qwen_moe", "qwen3_moe", "Qwen3Moe", causal, listed)
    yield from family("qwen_moe", "olmoe", "Olmoe", causal, listed)
    yield from family("gpt_oss", "gpt_oss", "GptOss", f"{causal} {text}", local)
    yield from family("granitemoe", "granitemoe", "GraniteMoe", causal, local)
    yield from family("granitemoe", "granitemoeshared", "GraniteMoeShared", causal, local)
    latent = experts | LATENT
    yield from family("deepseek", "deepseek_v2", "DeepseekV2", causal, latent)
    yield from family("deepseek", "deepseek_v3", "DeepseekV3", f"{causal} {text}", latent)
    xlnet = {"d_model": 16, "n_layer": 3, "n_head": 4, "d_inner": 24, "vocab_size": 40}
    yield from family("xlnet", "xlnet", "XLNet", f"LMHeadModel {text}", xlnet)


@dataclass(frozen=True, eq=False)
class Stored:
    """A model's state dict without its values, and what its module tree says of it."""

    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    body: str
    heads: frozenset[str]
    tied: dict[str, str]
    buffers: frozenset[str]
    biases: frozenset[str]
    norms: frozenset[str]
    tables: frozenset[str]

    @property
    def parameters(self) -> list[str]:
        """Give all names but those of buffers."""
        return [name for name in self.shapes if name not in self.buffers]


@dataclass(frozen=True)
class Pair:
    """The same architecture bare and with a head."""

    row: Row
    bare: Stored
    task: Stored

    @property
    def both(self) -> tuple[Stored, Stored]:
        """Give both models."""
        return self.bare, self.task


def build(name: str, settings: dict[str, Any]) -> Any:
    """Build a model of a named class, without memory for its weights."""
    import torch
    import transformers

    cls = getattr(transformers, name)
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        return cls(cls.config_class(**settings))


def store(model: Any, heads: frozenset[str] | None) -> Stored:
    """Read from a model's module tree what its names should mean."""
    import torch
    from transformers.pytorch_utils import Conv1D

    linear = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, Conv1D)
    norm_ends = ("LayerNorm", "GroupNorm", "RMSNorm")
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    biases, norms, tables = set(), set(), set()
    for path, module in model.named_modules():
        is_norm = type(module).__name__.endswith(norm_ends)
        own = {f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)}
        if is_norm or isinstance(module, linear):
            biases |= own & {f"{path}.bias"}
        if is_norm:
            norms |= own & {f"{path}.weight"}
        if isinstance(module, torch.nn.Embedding):
            tables |= own
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    base = model.base_model
    body = "" if base is model else f"{model.base_model_prefix}."
    if heads is None:
        outside = frozenset(n for n in shapes if n in parameters and not n.startswith(body))
    else:
        outside = frozenset(n for n in shapes if n.partition(".")[0] in heads)
    return Stored(
        config=model.config.to_dict(),
        shapes=shapes,
        body=body,
        heads=outside,
        tied=dict(model._tied_weights_keys or {}),
        buffers=frozenset(shapes.keys() - parameters),
        biases=frozenset(biases),
        norms=frozenset(norms),
        tables=frozenset(tables),
    )


ROWS = list(rows())


@cache
def pair_of(row: int) -> Pair:
    """Build the two models of one row."""
    known = ROWS[row]
    bare = store(build(known.bare, known.settings), frozenset())
    return Pair(known, bare, store(build(known.task, known.settings), known.heads))


@pytest.fixture(
    scope="session",
    params=range(len(ROWS)),
    ids=[f"{index}-{row.task}" for index, row in enumerate(ROWS)],
)
def pair(request: pytest.FixtureRequest) -> Pair:
    """Give every architecture bare and with a head."""
    return pair_of(request.param)


@pytest.fixture(scope="session")
def pairs() -> dict[str, Pair]:
    """Give a few architectures by the class of their task model."""
    wanted = {
        "BertForSequenceClassification",
        "GPT2LMHeadModel",
        "LlamaForCausalLM",
        "T5ForConditionalGeneration",
        "ViTForImageClassification",
        "Wav2Vec2ForCTC",
    }
    return {row.task: pair_of(index) for index, row in enumerate(ROWS) if row.task in wanted}


@pytest.fixture(scope="session")
def model_types() -> set[str]:
    """Give the model types that :func:`pair` builds."""
    return {row.model_type for row in ROWS}
