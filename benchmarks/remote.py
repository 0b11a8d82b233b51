"""How many bytes and requests a diff of biases takes from afar, by the server's own log.

    python -m benchmarks.remote [--write FILE]

The pair has BERT-large's names and shapes, 1.3 GB a file. The files are sparse: only headers and biases are
written, so they cost no disk, and no reader could tell. A server on the loopback interface plays the Hub.
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

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
from server import Server, hub

from benchmarks.speed import shapes
from bitfit_probe.checkpoint import open_checkpoint

MARKS = "<!-- measured -->", "<!-- end -->"
CONFIG = {"model_type": "bert", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}


def sparse_model(folder: Path, fill: float, tensors: dict[str, tuple[int, ...]]) -> Path:
    """A model directory whose biases are `fill` and whose other values take no room on the disk."""
    folder.mkdir(parents=True)
    header, at = {}, 0
    for name, shape in sorted(tensors.items()):
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
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


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


def measure(scratch: Path) -> tuple[list[str], dict[str, dict[str, float]]]:
    """Lines of the table, and the figures behind them by the kind of server."""
    models = {f"org/{name}": sparse_model(scratch / name, fill, shapes()) for name, fill in PAIR}
    total = sum((folder / "model.safetensors").stat().st_size for folder in models.values())
    biases = 2 * sum(
        tensor.nbytes
        for name, tensor in open_checkpoint(models["org/base"]).tensors.items()
        if name.endswith(".bias")
    )
    lines = [
        f"The pair: {total:,} bytes in two files, of which {biases:,} are biases.",
        "",
        "| server | requests | bytes sent | share of the pair |",
        "|---|---:|---:|---:|",
    ]
    figures = {}
    for kind, words in KINDS.items():
        with hub(models, ranges=kind) as server:
            found = figures[kind] = run(server, scratch / f"cache-{kind}")
        found["share"] = found["bytes"] / total
        lines.append(
            f"| {words} | {found['requests']:,} | {found['bytes']:,} | {100 * found['share']:.3f} % |"
        )
    return lines, figures


PAIR = (("base", 0.0), ("tuned", 0.25))
KINDS = {
    "several": "honours several ranges in a request",
    "one": "honours one range in a request",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="also put the table into this page, between its marks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        lines, _ = measure(Path(scratch))
    print("\n".join(lines))
    if options.write:
        page = options.write.read_text()
        begin, end = MARKS
        found = re.sub(f"{begin}.*{end}", "\n".join([begin, *lines, end]), page, flags=re.DOTALL)
        options.write.write_text(found)


if __name__ == "__main__":
    main()
