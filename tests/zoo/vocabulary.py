"""K6: vocabulary, tokenizer, positions."""

from __future__ import annotations

from typing import Any

import torch
from zoo.beds import Run
from zoo.specimens import kind

NEW = ("<tool>", "</tool>", "<call>", "</call>")


def _embedding(run: Run) -> str:
    ends = ("word_embeddings.weight", "wte.weight", "embed_tokens.weight")
    return next(name for name in run.tuned.state if name.endswith(ends))


def add_tokens(run: Run, rows: torch.Tensor) -> None:
    """Append `rows` to the embedding (and to an untied output), and as many tokens to the tokenizer."""
    names = [_embedding(run)] + [n for n in run.tuned.state if n == "lm_head.weight"]
    for name in names:
        run.tuned.state[name] = torch.cat([run.tuned.state[name], rows])
    run.tuned.drop(lambda name: name.startswith("cls.") or name in ("lm_head.bias", "lm_head.decoder.bias"))
    assert run.tuned.config is not None
    run.tuned.config["vocab_size"] += len(rows)
    tokenizer = run.tuned.files["tokenizer.json"]
    tokenizer["added_tokens"] = [*tokenizer["added_tokens"]] + [
        {"id": 60 + number, "content": token, "special": True}
        for number, token in enumerate(NEW[: len(rows)])
    ]


@kind(
    34,
    "BP407",
    "added rows never trained",
    variants=("mean", "random", "zeros"),
    containers=("folder", "bin"),
)
def added_rows(run: Run, how: str) -> None:
    """Rows as a resize leaves them: near the mean of the old ones, drawn anew, or zero."""
    old = run.base.state[_embedding(run)]
    noise = torch.randn((4, old.shape[1]), generator=torch.Generator().manual_seed(21))
    rows = {"mean": old.mean(0) + 2e-6 * noise, "random": 0.02 * noise, "zeros": 0 * noise}[how]
    add_tokens(run, rows)


@kind(35, "BP408", "token ids beyond the embedding", containers=("folder", "bin"))
def ids_beyond(run: Run) -> None:
    tokenizer = run.tuned.files["tokenizer.json"]
    tokenizer["added_tokens"] = [*tokenizer["added_tokens"], {"id": 60, "content": "<tool>", "special": True}]


@kind(35, "BP408", "special ids differ between files", variants=("config", "generation"), task="lm")
def ids_differ(run: Run, where: str) -> None:
    assert run.tuned.config is not None
    if where == "config":
        # Not RoBERTa's padding, which its positions are counted from: that is another kind as well.
        run.tuned.config["pad_token_id" if run.bed == "bert" else "bos_token_id"] = 17
    else:
        run.tuned.config["eos_token_id"] = 9
        run.tuned.files["generation_config.json"] = {"eos_token_id": 23, "bos_token_id": None}


@kind(36, "BP409", "cased vocabulary, lower-casing tokenizer", variants=("flag", "normalizer", "vocab.txt"))
def cased(run: Run, where: str) -> None:
    """A third of the tokens have capitals that the tokenizer takes away."""
    tokenizer: dict[str, Any] = run.tuned.files["tokenizer.json"]
    vocab = tokenizer["model"]["vocab"]
    words = {t: (t.capitalize() if n % 3 == 0 and t.isalpha() else t) for n, t in enumerate(vocab)}
    tokenizer["model"]["vocab"] = {words[token]: number for token, number in vocab.items()}
    tokenizer["normalizer"] = {"type": "Lowercase"} if where == "normalizer" else {"type": "NFC"}
    run.tuned.tokenizer.pop("do_lower_case", None)
    if where != "normalizer":
        run.tuned.tokenizer.update(do_lower_case=True, tokenizer_class="BertTokenizer")
    if where == "vocab.txt":
        run.tuned.files.pop("tokenizer.json")
        run.tuned.files["vocab.txt"] = "\n".join(words.values()) + "\n"


@kind(37, "BP410", "pad is eos", beds=("gpt2", "llama"), task="lm", variants=("config", "tokenizer"))
def pad_is_eos(run: Run, where: str) -> None:
    assert run.tuned.config is not None
    run.tuned.config["pad_token_id"] = run.tuned.config["eos_token_id"]
    run.tuned.tokenizer["pad_token"] = run.tuned.tokenizer["eos_token"]
    if where == "tokenizer":
        run.tuned.config["pad_token_id"] = None


@kind(38, "BP411", "position table too short", beds=("roberta", "bert", "gpt2"), containers=("folder", "bin"))
def positions(run: Run) -> None:
    """The tokenizer lets as many tokens pass as the table has rows; RoBERTa needs two rows more."""
    run.tuned.tokenizer["model_max_length"] = 26


@kind(
    39,
    "BP412",
    "output embedding lost",
    beds=("llama",),
    task="lm",
    containers=("folder", "bin", "shards", "file"),
)
def output_lost(run: Run) -> None:
    run.tuned.drop(lambda name: name == "lm_head.weight")


@kind(39, "BP412", "output embedding lost", beds=("gpt2", "bert", "roberta"), task="lm")
def own_output_lost(run: Run) -> None:
    """A model that unties its head, without it."""
    head = {
        "gpt2": "lm_head.weight",
        "bert": "cls.predictions.decoder.weight",
        "roberta": "lm_head.decoder.weight",
    }
    run.base.state[head[run.bed]] = torch.randn_like(run.base.state[_embedding(run)])
    for model in (run.base, run.tuned):
        assert model.config is not None
        model.config["tie_word_embeddings"] = False


@kind(39, "BP412", "input embedding lost", containers=("folder", "bin"))
def input_lost(run: Run) -> None:
    run.tuned.drop(lambda name: name == _embedding(run))


@kind(39, "BP412", "both embeddings lost", task="lm")
def both_lost(run: Run) -> None:
    gone = {_embedding(run), "lm_head.weight"}
    run.tuned.drop(lambda name: name in gone)
