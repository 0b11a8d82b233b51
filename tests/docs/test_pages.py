"""The documentation is what the program does: commands, outputs, links, and Python that runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import bitfit_probe
from bitfit_probe.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
_PYTHON = re.compile(r"```python\n(?P<code>.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")
_IMPORT = re.compile(r"^\s*(?:from (bitfit_probe\S*) import (.+)|import (bitfit_probe.*))$", re.MULTILINE)
_COMMAND = re.compile(r"^\s*(?:\$ )?bitfit-probe (?P<name>[a-z]+)", re.MULTILINE)


def blocks(pattern: re.Pattern[str]) -> list[pytest.ParameterSet]:
    return [
        pytest.param(found, id=f"{page.name}-{number}")
        for page in PAGES
        if page.name == "python.md"  # other pages' snippets name files that nobody has
        for number, found in enumerate(pattern.finditer(page.read_text("utf-8")), 1)
    ]


def test_every_command_is_documented():
    from docs.commands import PAGE, page

    assert PAGE.read_text("utf-8") == page()  # else: make docs
    for name in cli.commands:
        assert f"## bitfit-probe {name}\n" in page()


def test_outputs_are_the_programs():
    from docs.outputs import BLOCK, folder, printed

    shown = [found for page in PAGES for found in BLOCK.finditer(page.read_text("utf-8"))]
    assert len(shown) >= 3
    with folder():
        for found in shown:
            assert printed(found["command"]) == found["output"], found["command"]  # else: make docs


@pytest.mark.parametrize("block", blocks(_PYTHON))
def test_python_runs(block, tmp_path):
    """As written, from the repository's root."""
    code = block["code"].replace('"report.html"', repr(str(tmp_path / "report.html")))
    done = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for found in _LINK.finditer(page.read_text("utf-8")):
        if not found["target"].startswith(("http:", "https:")):
            assert (page.parent / found["target"]).exists(), found["target"]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_pages_show_public_names_only(page):
    """Those of `__all__`, and the two modules that docs/python.md calls public."""
    text = page.read_text("utf-8")
    imported = {" ".join(filter(None, found.groups())) for found in _IMPORT.finditer(text)}
    assert imported <= {"bitfit_probe as bp", "bitfit_probe sample", "bitfit_probe.rendering charts"}
    assert set(re.findall(r"\bbp\.([A-Za-z_]+)", text)) <= set(bitfit_probe.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_pages_show_exist(page):
    shown = {found["name"] for found in _COMMAND.finditer(page.read_text("utf-8"))}
    assert shown <= set(cli.commands)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell, monkeypatch, capsys):
    monkeypatch.setenv("_BITFIT_PROBE_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit) as end:
        cli.main([], prog_name="bitfit-probe", standalone_mode=False)
    assert end.value.code == 0
    assert "bitfit-probe" in capsys.readouterr().out


def test_completion_offers_the_commands(monkeypatch, capsys):
    monkeypatch.setenv("_BITFIT_PROBE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "bitfit-probe d")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit):
        cli.main([], prog_name="bitfit-probe", standalone_mode=False)
    assert {"plain,diff", "plain,demo"} <= set(capsys.readouterr().out.split())


def test_completion_offers_codes_and_names(monkeypatch, capsys):
    monkeypatch.setenv("_BITFIT_PROBE_COMPLETE", "bash_complete")
    for typed, offered in (("BP40", "plain,BP403"), ("head-u", "plain,head-untrained")):
        monkeypatch.setenv("COMP_WORDS", f"bitfit-probe explain {typed}")
        monkeypatch.setenv("COMP_CWORD", "2")
        with pytest.raises(SystemExit):
            cli.main([], prog_name="bitfit-probe", standalone_mode=False)
        assert offered in capsys.readouterr().out.split()


def test_every_test_that_a_promise_names_is_there():
    """docs/trust.md promises only what a test shows, so the tests that it names must exist."""
    text = (ROOT / "docs" / "trust.md").read_text("utf-8")
    named = set(re.findall(r"\btests/[\w/]+\.py", text))
    assert len(named) > 20
    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    functions = set(re.findall(r"\btest_\w+(?!\w*\.py)\b", re.sub(r"tests/[\w/]+\.py", "", text)))
    files = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert [name for name in sorted(functions - files) if f"def {name}(" not in sources] == []
