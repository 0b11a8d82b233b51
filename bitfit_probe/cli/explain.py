"""``bitfit-probe explain``."""

from __future__ import annotations

import click

from bitfit_probe.cli.output import terminal_width
from bitfit_probe.cli.streams import say

__all__ = ["explain"]


@click.command()
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Say what the finding CODE means and what to do; without a code, list all."""
    from bitfit_probe.api.check import explanations
    from bitfit_probe.rendering import explanation_to_text

    known = {item.code: item for item in explanations()}
    if code is None:
        for item in known.values():
            say(f"{item.code}  {item.severity:<8} {item.name}\n")
        return
    wanted = code.upper()
    if wanted not in known:
        raise click.BadParameter(f"no finding has the code {code!r}; `bitfit-probe explain` lists all")
    say(explanation_to_text(known[wanted], width=terminal_width()))
