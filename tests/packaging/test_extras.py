"""What lacks an extra says which to install, in one line and with BE501; nothing shows a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_BLOCKED = """
import sys
for name in {missing}:
    sys.modules[name] = None
from bitfit_probe.__main__ import main
import bitfit_probe as bp
from bitfit_probe import sample
"""
MODELS, FRAMES, REPORT = "models", "frames", "report"
PAIR = "sample.base_path(), sample.tuned_path()"
TUNE = "main(['tune', str(sample.base_path()), '--data', 'q.csv', '-o', 'out'])"
PAGE = f"main(['report', *map(str, ({PAIR})), '-o', 'page.html'])"


def blocked(code: str, missing: tuple[str, ...], folder: Path) -> subprocess.CompletedProcess[str]:
    """A process in which these modules can't be imported."""
    start = _BLOCKED.format(missing=missing)
    return subprocess.run(
        [sys.executable, "-c", start + code], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("code", "missing", "extra"),
    [
        (TUNE, ("torch",), MODELS),
        (TUNE, ("transformers",), MODELS),
        (PAGE, ("jinja2",), REPORT),
    ],
)
def test_commands(code, missing, extra, tmp_path):
    (tmp_path / "q.csv").write_text("text,label\n" + "word,a\nother,b\n" * 20)
    done = blocked(code, missing, tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error BE501: ")
    assert f"bitfit-probe[{extra}]" in line
    assert {path.name for path in tmp_path.iterdir()} == {"q.csv"}


@pytest.mark.parametrize(
    ("code", "missing", "extra"),
    [
        ("bp.tune(sample.base_path(), 'q.csv', out='out')", ("transformers",), MODELS),
        ("bp.BitFitProbeCallback()", ("transformers",), MODELS),
        ("bp.BitFitProbeCallback()", ("torch",), MODELS),
        (f"bp.diff({PAIR}).frame()", ("pandas",), FRAMES),
        (
            "bp.report(sample.base_path(), sample.tuned_path()).measured[0].rankings[0].frame()",
            ("pandas",),
            FRAMES,
        ),
    ],
)
def test_calls(code, missing, extra, tmp_path):
    done = blocked(code, missing, tmp_path)
    assert done.stderr.splitlines()[-1].startswith("bitfit_probe.errors.MissingExtraError: ")
    assert f"bitfit-probe[{extra}]" in done.stderr.splitlines()[-1]
