"""A family that is added on a copy of the package: one file, and everything that is told of it is right."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

from architectures.tables import compiled

import bitfit_probe

#: ERNIE's body is BERT's with a table of tasks; so are its classifier and its positions.
CHANGES = (
    ('["bert"]', '["ernie"]'),
    ('["Bert"]', '["Ernie"]'),
    (
        '"embeddings.LayerNorm" = "embLN"',
        '"embeddings.task_type_embeddings" = "embedding"\n"embeddings.LayerNorm" = "embLN"',
    ),
)
COUNT = """
import json, sys
from bitfit_probe.architectures import recognise
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.recommendation.costs import costs
base = open_checkpoint(sys.argv[1])
found = {item.method: item.trainable for item in costs(base, 3, 2)}
print(json.dumps([recognise(base.tensors, base.config).family, found]))
"""


def told(code: Path, base: Path) -> tuple[str, dict[str, int]]:
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(base)],
        env={"PYTHONPATH": str(code)},
        cwd=base,
        capture_output=True,
        text=True,
        check=True,
    )
    family, counts = json.loads(done.stdout)
    return family, counts


def test_one_file_adds_a_family(tmp_path: Path) -> None:
    from transformers import ErnieConfig, ErnieForSequenceClassification, ErnieModel

    settings = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 16,
        "use_task_id": True,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Without the pooler, which the classifier reads: 16·16 + 16 parameters that are trained as well.
        ErnieModel(ErnieConfig(**settings), add_pooling_layer=False).save_pretrained(tmp_path / "base")
        model = ErnieForSequenceClassification(ErnieConfig(**settings, num_labels=3))
    parameters = dict(model.named_parameters())
    full = sum(parameter.numel() for parameter in parameters.values())
    trained = [
        name for name in parameters if name.endswith("bias") or "pooler" in name or "classifier" in name
    ]

    shutil.copytree(Path(bitfit_probe.__path__[0]), tmp_path / "code" / "bitfit_probe")
    families = tmp_path / "code" / "bitfit_probe" / "architectures" / "families"
    assert told(tmp_path / "code", tmp_path / "base")[0] == "bert"
    text = (families / "bert.toml").read_text("utf-8")
    for before, after in CHANGES:
        assert before in text
        text = text.replace(before, after)
    (families / "ernie.toml").write_text(text.replace('bodies = ["bert"]', 'bodies = ["ernie"]'), "utf-8")
    (families.parent / "families.json").write_text(compiled(families.parent), "utf-8")
    family, counts = told(tmp_path / "code", tmp_path / "base")
    assert family == "ernie"
    assert counts["full"] == full
    assert counts["bitfit"] == sum(parameters[name].numel() for name in trained)
