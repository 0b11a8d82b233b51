"""The wheel in a clean environment: what it depends on is enough, and all its data came along."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What the package depends on, as found on a disk: no index is asked.
NEEDED = ("click", "numpy", "numpy.libs", "threadpoolctl.py")

pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    plain = [str(part) for part in command]
    done = subprocess.run(
        plain, cwd=cwd, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, its dependencies, and nothing else."""
    for needed in ("build", "hatchling", "pip"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = folder / "env" / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=folder,
    )
    target = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).stdout.strip()
    )
    for name in NEEDED:
        source = Path(sysconfig.get_path("purelib")) / name
        if source.exists():
            (target / name).symlink_to(source)
    return python


def test_the_demo_runs(python, tmp_path):
    command = python.with_name("bitfit-probe")
    assert run(command, "--version", cwd=tmp_path).stdout.startswith("bitfit-probe, version ")
    shown = run(command, "demo", "-o", "out", cwd=tmp_path).stdout
    assert "BitFit: 34 of 34 biases moved, nothing else; the head is new." in shown
    assert (tmp_path / "out" / "diff.json").stat().st_size > 10_000


def test_it_is_the_wheel_and_nothing_heavy_is_there(python, tmp_path):
    code = (
        "import bitfit_probe\nfrom importlib.util import find_spec\n"
        "print(bitfit_probe.__file__, find_spec('torch'), find_spec('seaborn'))"
    )
    where, torch, seaborn = run(python, "-c", code, cwd=tmp_path).stdout.split()
    assert str(python.parents[1]) in where
    assert (torch, seaborn) == ("None", "None")


def test_data_came_along(python, tmp_path):
    code = (
        "from importlib import resources as r\n"
        "home = r.files('bitfit_probe')\n"
        "for name in ('rendering/document/page.html.j2', 'rendering/document/page.css', 'py.typed',\n"
        "             'rendering/document/page.js',\n"
        "             'sample/base/model.safetensors', 'architectures/families/bert.toml',\n"
        "             'task_distance/reference_en.txt', 'task_distance/reference_tasks.csv'):\n"
        "    assert home.joinpath(name).is_file(), name\n"
    )
    run(python, "-c", code, cwd=tmp_path)


def test_what_is_missing_is_named(python, tmp_path):
    """Figures are an extra: one line, exit status 2, nothing written."""
    from bitfit_probe import sample

    command = [
        python.with_name("bitfit-probe"),
        "diff",
        sample.base_path(),
        sample.tuned_path(),
        "--plot",
        "f.svg",
    ]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error BE501: figures need ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
