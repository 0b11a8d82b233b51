"""A broken production fine-tune, made from the embedded sample by one mistake that happens every week.

    python -m benchmarks.broken DIR

The BitFit model was trained well. Then a script loaded it with a class whose head has another name, so the
trained head was dropped, a fresh one was drawn (bias 0, weights normal with the configuration's
``initializer_range``), and the result was saved with generic labels for production. Every bias of the body is
still the trained one, so a look at what moved says that all is well.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

from bitfit_probe import sample


def write(folder: Path) -> tuple[Path, Path]:
    """Write ``base`` and ``production`` into `folder`; their paths."""
    from safetensors.numpy import load_file, save_file

    base, production = folder / "base", folder / "production"
    for source, target in ((sample.base_path(), base), (sample.tuned_path(), production)):
        shutil.copytree(source, target, dirs_exist_ok=True)
    tensors = load_file(production / "model.safetensors")
    spread = json.loads((production / "config.json").read_text("utf-8"))["initializer_range"]
    random = np.random.default_rng(20)
    shape = tensors["classifier.weight"].shape
    tensors["classifier.weight"] = random.normal(0, spread, shape).astype(np.float32)
    tensors["classifier.bias"] = np.zeros(shape[0], np.float32)
    save_file(tensors, production / "model.safetensors", metadata={"format": "pt"})
    _generic_labels(production / "config.json", shape[0])
    return base, production


def _generic_labels(path: Path, count: int) -> None:
    config = json.loads(path.read_text("utf-8"))
    config["id2label"] = {str(number): f"LABEL_{number}" for number in range(count)}
    config["label2id"] = {f"LABEL_{number}": number for number in range(count)}
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    print(*write(parser.parse_args().folder))
