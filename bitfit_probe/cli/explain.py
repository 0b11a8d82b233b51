"""``bitfit-probe explain``."""

from __future__ import annotations

import click

from bitfit_probe.cli.output import terminal_width
from bitfit_probe.cli.streams import say

__all__ = ["explain"]


def _offered(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Codes and names that begin so."""
    from bitfit_probe.api.check import explanations

    words = [word for item in explanations() for word in (item.code, item.name)]
    return [word for word in words if word.lower().startswith(incomplete.lower())]


@click.command()
@click.argument("code", required=False, shell_complete=_offered)
def explain(code: str | None) -> None:
    """Say what the finding CODE (BP403 or head-untrained) means and what to do; without one, list all."""
    from bitfit_probe.api.check import explanations
    from bitfit_probe.rendering import explanation_to_text

    known = {item.code: item for item in explanations()}
    if code is None:
        for item in known.values():
            say(f"{item.code}  {item.severity:<8} {item.name}\n")
        return
    named = {item.name: item for item in known.values()}
    found = known.get(code.upper()) or named.get(code.lower())
    if found is None:
        raise click.BadParameter(f"no finding is called {code!r}; `bitfit-probe explain` lists all")
    say(explanation_to_text(found, width=terminal_width()))
