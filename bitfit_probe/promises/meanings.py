"""What settings of config.json do to what is computed, by their names; which ones do nothing to it."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from bitfit_probe.records import Severity

__all__ = ["Meaning", "is_harmless", "meaning"]


class Meaning(NamedTuple):
    """What a setting that differs from the base's does, and how bad that is."""

    does: str
    severity: Severity = "error"


#: The first that matches a setting's name counts.
_MEANINGS = {
    r"rope_theta|rotary_emb_base|rope_local_base_freq|rope_type|rotary_pct|partial_rotary_factor|(rope_)?factor"
    r"|(low|high)_freq_factor|beta_(fast|slow)|mscale.*|attention_factor|(long|short)_factor"
    r"|original_max_position_embeddings": Meaning(
        "turns queries and keys by other angles, so that positions are misread"
    ),
    r"((encoder|decoder)_)?(num_)?(attention_)?heads|n_heads?|num_(key_value|kv)_heads|head_dim|d_kv"
    r"|multi_query|num_(key_value|kv)_groups|num_attention_groups": Meaning(
        "cuts the same matrices into other heads"
    ),
    r"hidden_act(ivation)?|activation(_function)?|(dense_)?act_fn|feed_forward_proj|ffn_activation": Meaning(
        "puts another function between the matrices of each MLP"
    ),
    r".*(_eps|epsilon)": Meaning("adds another number to the variance in each norm", "warning"),
    r"(use_)?sliding_window.*|max_window_layers|layer_types|attention_(types|layers|window|chunk_size)"
    r"|(global|local)_attn.*|local_attention|global_attn_every_n_layers": Meaning(
        "lets attention see other tokens"
    ),
    r".*soft_?cap(ping)?": Meaning("caps scores or logits at another value"),
    r".*(multiplier|scaling|_scale)|logits?_scal(e|ing)|scale_.*|query_pre_attn_scalar": Meaning(
        "multiplies activations by another number"
    ),
    r"num_experts.*|num_local_experts|n_routed_experts|norm_topk_prob|n_group|topk_.*|scoring_func|moe_.*"
    r"|decoder_sparse_step": Meaning("sends tokens to other experts"),
    r"position_embedding_type|use_parallel_residual|parallel_attn|alibi|relative_attention.*|pos_att_type"
    r"|max_relative_positions|position_biased_input|position_buckets|share_att_key|norm_rel_ebd": Meaning(
        "places tokens in another way"
    ),
    r"is_decoder|is_causal|use_bidirectional_attention|add_cross_attention|is_encoder_decoder": Meaning(
        "masks other tokens in attention"
    ),
    r"(attention|mlp|qkv|use)_bias|bias|new_decoder_architecture|do_layer_norm_before": Meaning(
        "builds other layers than the file holds"
    ),
    r"(hidden|intermediate|embedding)_size|d_model|n_embd|dim|n_inner|d_ff|ffn_dim|hidden_dim": Meaning(
        "builds matrices of another size"
    ),
    r"vision_feature_(layer|select_strategy)|select_layer|image_size|patch_size|downsample_ratio": Meaning(
        "reads other features of an image"
    ),
    r"(image|video|audio|speech|vision(_start|_end)?|[be]o[iav])_token_(id|index)": Meaning(
        "looks for the place of an image or a sound at another token"
    ),
    r"((forced_)?[be]os|decoder_start|pad|sep|cls|mask|unk)_token_id": Meaning(
        "makes other tokens special: where answers end, or what is padding", "info"
    ),
    r"max_position_embeddings|n_positions|n_ctx|max_(sequence_length|seq_len)|seq_length": Meaning(
        "allows texts of another length", "info"
    ),
}
#: Settings that computing an answer does not ask for (notes, dropout, initial values, labels, generation),
#: and those that are held against the tensors themselves (layers, ties, vocabulary).
_HARMLESS = (
    r"_.*|transformers_version|architectures|(torch_)?dtype|use_cache|.*drop(out)?(_.*)?|.*pdrop|.*layerdrop",
    r"id2label|label2id|num_labels|problem_type|finetuning_task|task_specific_params|gradient_checkpointing",
    r"attn_implementation|init(ializer)?_.*|.*_init(ializer)?_?.*|use_bfloat16|torchscript|return_dict.*|output_.*",
    r"auto_map|tokenizer_class|model_type|name_or_path|pretraining_tp|chunk_size_feed_forward|pruned_heads",
    r"summary_.*|classifier_.*|(max|min)_length|do_sample|temperature|top_[kp]|num_beam.*|.*_penalty|prefix",
    r"early_stopping|.*no_repeat_ngram_size|bad_words_ids|num_return_sequences|typical_p|remove_invalid_values",
    r"(begin_)?suppress_tokens|tf_legacy_loss|unsloth.*|quantization_config|mask_(time|feature)_.*|repad_.*",
    r"apply_spec_augment|use_mems_.*|mem_len|reuse_len|ctc_.*|gradient_.*|onnx_.*|generation_config|sparse_.*",
    r"reference_compile|vocab_size|tie_word_embeddings|num_hidden_layers|n_layers?|num_(decoder_)?layers",
    r"(encoder|decoder)_layers|num_hidden_groups",
)
#: No setting's name is longer.
_LONGEST = 64


@cache
def _known() -> re.Pattern[str]:
    return re.compile("|".join(_HARMLESS))


def is_harmless(key: str) -> bool:
    """Whether a setting may differ without changing what is computed from the tensors."""
    return len(key) <= _LONGEST and _known().fullmatch(key) is not None


def meaning(key: str) -> Meaning | None:
    """What a setting does where it differs, by the last part of its name; None where that is not known."""
    if len(key) > _LONGEST or is_harmless(key):
        return None
    return next((means for pattern, means in _MEANINGS.items() if re.fullmatch(pattern, key)), None)
