"""All roles that a tensor can have, and what a role makes of it for a training method."""

from __future__ import annotations

from bitfit_probe.architectures.names import is_bias
from bitfit_probe.records import Kind

__all__ = ["NORM_ROLES", "ROLES", "kind_of"]

#: Every role that a family or the heuristics may give, with its meaning.
ROLES: dict[str, str] = {
    "q": "query projection of self-attention",
    "k": "key projection of self-attention",
    "v": "value projection of self-attention",
    "qkv": "the three in one tensor",
    "m1": "output projection of self-attention",
    "LN1": "norm of self-attention: after it (BERT) or before it (pre-norm models)",
    "LN1post": "second norm of self-attention, after it (Gemma 2 and 3)",
    "qLN": "norm of the queries inside attention",
    "kLN": "norm of the keys inside attention",
    "q_a": "projection to the width of the latent queries (DeepSeek)",
    "q_b": "projection from there to the queries",
    "kv_a": "projection to the width of latent keys and values (DeepSeek)",
    "kv_b": "projection from there to keys and values",
    "kvLN": "norm of latent keys and values",
    "mtp": "projection into a layer that predicts a token after the next",
    "mtpLN": "norm of what goes into it",
    "pos_q": "query-side projection of relative positions (DeBERTa)",
    "pos_k": "key-side projection of relative positions (DeBERTa, XLNet)",
    "talking": "talking-heads projection (DeBERTa)",
    "xq": "query projection of cross-attention",
    "xk": "key projection of cross-attention",
    "xv": "value projection of cross-attention",
    "xkv": "the last two in one tensor",
    "xqkv": "all three in one tensor",
    "xm1": "output projection of cross-attention",
    "LNx": "norm of cross-attention",
    "m2": "MLP, first projection (the linear branch where the MLP is gated)",
    "gate": "MLP, the branch that goes through the activation of a gated MLP",
    "gate_m2": "the two in one tensor",
    "m3": "MLP, last projection",
    "egate": "gate of one of several expert MLPs, or of all in one tensor",
    "em2": "first projection of an expert MLP, or of all",
    "egate_m2": "the two in one tensor",
    "em3": "last projection of an expert MLP, or of all",
    "sgate": "gate of an expert MLP that every token goes through",
    "sm2": "first projection of such an expert",
    "sgate_m2": "the two in one tensor",
    "sm3": "last projection of such an expert",
    "router": "what sends each token to its experts",
    "sink": "learned logit that takes attention from all keys (gpt-oss)",
    "LN2": "norm of the MLP: after it (BERT) or before it (pre-norm models)",
    "LN2post": "second norm of the MLP, after it (Gemma 2 and 3)",
    "scale": "learned scale that is no norm: layer scale, logit scale",
    "modulation": "projection that gives the scales and shifts of an adaptive norm (diffusion transformers)",
    "embedding": "a table or vector that is looked up: words, positions, types, special tokens",
    "embLN": "norm of the embeddings or of the input features",
    "emb_proj": "projection from the width of the embeddings or features to that of the layers",
    "out_proj": "projection from the width of the layers back to that of the embeddings (OPT)",
    "patch": "patch embedding of an image",
    "conv": "convolution over the input features or beside the first layer",
    "convLN": "norm of such a convolution",
    "pos_conv": "convolution that stands for positions (wav2vec 2.0)",
    "LNf": "norm after the last layer",
    "LN": "norm whose place the names don't tell",
    "pooler": "pooler of the body",
    "projection": "projection into the space that two towers share (CLIP)",
    "projector": "what carries the features of one part of a model to another (LLaVA)",
    "head": "task or language-model head",
}

NORM_ROLES = frozenset(role for role in ROLES if "LN" in role)


def kind_of(role: str | None, leaf: str) -> Kind:
    """Tell what a parameter is to a training method.

    Parameters
    ----------
    role
        The parameter's role.
    leaf
        Last component of its name (``weight``, ``bias``, ``q_bias``, …).

    Returns
    -------
    Kind
        Never ``buffer``, which roles can't tell.
    """
    if role == "head":
        return "head"
    # The beta of an activation (Snake's) scales.
    if is_bias(leaf) and (leaf != "beta" or role != "scale"):
        return "bias"
    if role in NORM_ROLES:
        return "norm"
    return "embedding" if role == "embedding" else "weight"
