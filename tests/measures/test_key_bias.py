"""The key bias put back: no output changes where softmax cancels it, and outputs change where it does not."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from bitfit_probe.architectures import recognise

WORDS = {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BERT = WORDS | {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 32,
}
GPT2 = WORDS | {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 32}
BART = WORDS | {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 32,
    "decoder_start_token_id": 2,
}
IMAGE = {key: BERT[key] for key in BERT if key not in WORDS} | {"image_size": 8, "patch_size": 4}
DEBERTA = BERT | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
EXEMPT = {
    "BertForSequenceClassification": BERT,
    "RobertaForSequenceClassification": BERT | {"max_position_embeddings": 40},
    "ElectraForSequenceClassification": BERT | {"embedding_size": 32},
    "DistilBertForSequenceClassification": WORDS
    | {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 32},
    "GPT2LMHeadModel": GPT2,
    "OPTForCausalLM": BERT | {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "BloomForCausalLM": WORDS | {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "BartForConditionalGeneration": BART,
    "ViTForImageClassification": IMAGE,
}
NOT_EXEMPT = {
    "GPTNeoXForCausalLM": BERT,
    "PhiForCausalLM": BERT,
    "Qwen2ForCausalLM": BERT | {"num_key_value_heads": 2},
    "DebertaV2ForSequenceClassification": DEBERTA,
}
TOLERANCE = 1e-5


def build(name, settings):
    """A tiny model with noise on every parameter: fresh biases are 0, and attention is nearly flat."""
    import transformers

    cls = getattr(transformers, name)
    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = cls(cls.config_class(**settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def logits(model):
    draw = torch.Generator().manual_seed(2)
    if "image_size" in model.config.to_dict():
        inputs = {"pixel_values": torch.randn(3, 3, 8, 8, generator=draw)}
    else:
        inputs = {"input_ids": torch.randint(3, 64, (3, 12), generator=draw)}
    with torch.no_grad():
        return model(**inputs).logits.double()


def key_windows(model):
    """The key biases as views into the model's own parameters, found by bitfit_probe."""
    parameters = dict(model.named_parameters())
    known = recognise(parameters, model.config.to_dict())
    for name, parameter in parameters.items():
        if parameter.ndim == 1 and known.info(name, 1).kind == "bias":
            if known.info(name, 1).role in ("k", "xk"):
                yield parameter.data
            for part in known.parts(name, tuple(parameter.shape)):
                if part.role in ("k", "xk"):
                    whole = parameter.data.view(part.shape)
                    yield whole.narrow(part.axis, part.start, part.stop - part.start)


@pytest.mark.parametrize("name", [*EXEMPT, *NOT_EXEMPT])
def test_reverting_the_key_bias(name):
    settings = EXEMPT.get(name) or NOT_EXEMPT[name]
    base = build(name, settings)
    tuned = copy.deepcopy(base)
    draw = torch.Generator().manual_seed(4)
    moved = list(key_windows(tuned))
    assert moved
    for window in moved:
        window += 0.1 * torch.randn(window.shape, generator=draw)  # 100 steps at 1e-3
    change = (logits(tuned) - logits(base)).abs().max().item()
    cancels = recognise(base.state_dict(), base.config.to_dict()).key_bias_cancels
    assert cancels is (name in EXEMPT)
    assert (change < TOLERANCE) is (name in EXEMPT), change


def test_other_biases_of_the_same_size_do_change_the_logits():
    """The probe above sees changes: query biases moved by as much are far over its tolerance."""
    base = build("BertForSequenceClassification", BERT)
    tuned = copy.deepcopy(base)
    for name, parameter in tuned.named_parameters():
        if name.endswith("query.bias"):
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4))
    assert (logits(tuned) - logits(base)).abs().max() > 100 * TOLERANCE
