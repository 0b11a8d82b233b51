"""Write docs/commands.md from the commands themselves.

python -m docs.commands
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from bitfit_probe.cli import cli

PAGE = Path(__file__).with_name("commands.md")
_START = """# Every command

Written by `make docs` from the commands themselves; a test holds it to them. Results go to stdout, progress
and errors to stderr. Exit status: 0 fine, 1 findings, 2 could not run.

`bitfit-probe COMMAND --help` says the same in a terminal.
"""
_COMPLETION = """
## Completion in the shell

```sh
eval "$(_BITFIT_PROBE_COMPLETE=bash_source bitfit-probe)"   # in ~/.bashrc
eval "$(_BITFIT_PROBE_COMPLETE=zsh_source bitfit-probe)"    # in ~/.zshrc
_BITFIT_PROBE_COMPLETE=fish_source bitfit-probe | source    # in ~/.config/fish/config.fish
```
"""


def page() -> str:
    """The page's text."""
    root = click.Context(cli, info_name="bitfit-probe", terminal_width=80, **cli.context_settings)
    return "\n".join([_START, *_commands(cli, root)]) + _COMPLETION


def _commands(group: click.Group, parent: click.Context, depth: int = 2) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        context = click.Context(command, parent=parent, info_name=name)
        yield f"{'#' * depth} {context.command_path}\n"
        yield f"```text\n{command.get_help(context)}\n```\n"
        if isinstance(command, click.Group):
            yield from _commands(command, context, depth + 1)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.name}", file=sys.stderr)
