"""How many bytes and requests a diff of biases takes from afar, by the server's own log.

    python -m benchmarks.remote [--write FILE]

The pairs have the names and shapes of BERT-large, 1.3 GB a file, and of the multilingual BERT-base, 0.7 GB
a file. The files are sparse: only headers and biases are written, so they cost no disk, and no reader could
tell. A server on the loopback interface plays the Hub.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from support.server import Server, hub

from benchmarks.speed import Bert, shapes
from bitfit_probe.checkpoint import open_checkpoint

MARKS = "<!-- measured -->", "<!-- end -->"
#: The second is the shape of google-bert/bert-base-multilingual-cased.
BERTS = {"BERT-large": Bert(), "multilingual BERT-base": Bert(layers=12, hidden=768, vocabulary=119_547)}
PAIR = (("base", 0.0), ("tuned", 0.25))
#: How many ranges the server honours in a request.
KINDS = ("several", "one")
HEAD = (
    "| pair | bytes in two files | of which biases | ranges in a request | requests | bytes sent | share |",
    "|---|---:|---:|---|---:|---:|---:|",
)


def sparse_model(folder: Path, fill: float, bert: Bert) -> Path:
    """A model directory whose biases are `fill` and whose other values take no room on the disk."""
    folder.mkdir(parents=True)
    header, at = {}, 0
    for name, shape in sorted(shapes(bert).items()):
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        os.truncate(stream.fileno(), 8 + len(text) + at)
        for name, entry in header.items():
            if name.endswith(".bias"):
                stream.seek(8 + len(text) + entry["data_offsets"][0])
                stream.write(np.full(entry["shape"], fill, "<f4").tobytes())
    (folder / "config.json").write_text(json.dumps(config_of(bert)))
    return folder


def config_of(bert: Bert) -> dict[str, object]:
    """What its config.json says; each of its heads has 64 values."""
    sizes = {"hidden_size": bert.hidden, "num_hidden_layers": bert.layers}
    return {"model_type": "bert", **sizes, "num_attention_heads": bert.hidden // 64}


def run(server: Server, cache: Path) -> dict[str, float]:
    """Diff the pair once with an empty cache; what the server's log says of it."""
    from huggingface_hub import constants

    import bitfit_probe as bp

    constants.HF_HUB_CACHE, constants.ENDPOINT = str(cache), server.url
    constants.HUGGINGFACE_CO_URL_TEMPLATE = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    result = bp.diff("org/base", "org/tuned", biases_only=True)
    summary = result.comparisons[0].summary
    assert summary.changed_bias_parameters == summary.bias_parameters > 0
    return {"requests": len(server.log), "bytes": server.sent}


def measure(scratch: Path, name: str) -> tuple[list[str], dict[str, dict[str, float]]]:
    """Lines of the table about one pair, and the figures behind them by the kind of server."""
    models = {f"org/{side}": sparse_model(scratch / side, fill, BERTS[name]) for side, fill in PAIR}
    total = sum((folder / "model.safetensors").stat().st_size for folder in models.values())
    tensors = open_checkpoint(models["org/base"]).tensors
    biases = 2 * sum(tensor.nbytes for key, tensor in tensors.items() if key.endswith(".bias"))
    lines, figures = [], {}
    for kind in KINDS:
        with hub(models, ranges=kind) as server:
            found = figures[kind] = run(server, scratch / f"cache-{kind}")
        found["share"] = found["bytes"] / total
        lines.append(
            f"| {name} | {total:,} | {biases:,} | {kind} "
            f"| {found['requests']:,} | {found['bytes']:,} | {100 * found['share']:.3f} % |"
        )
    return lines, figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="also put the table into this page, between its marks")
    options = parser.parse_args()
    lines = list(HEAD)
    for name in BERTS:
        with tempfile.TemporaryDirectory() as scratch:
            lines += measure(Path(scratch), name)[0]
    print("\n".join(lines))
    if options.write:
        put_between(options.write, MARKS, lines)


def put_between(path: Path, marks: tuple[str, str], lines: list[str]) -> None:
    """Replace what stands between two marks of a page."""
    begin, end = marks
    text = "\n".join([begin, *lines, end])
    path.write_text(re.sub(f"{begin}.*{end}", lambda _: text, path.read_text(), flags=re.DOTALL))


if __name__ == "__main__":
    main()
