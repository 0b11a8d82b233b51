"""Write docs/findings.md from the docstrings of the rules: `make docs`. A test fails where it is stale."""

from __future__ import annotations

from pathlib import Path

from bitfit_probe.api.check import explanations
from bitfit_probe.records import Explanation

PAGE = Path(__file__).with_name("findings.md")
_FAMILIES = {
    "BP1": "Files and pairing",
    "BP2": "Training",
    "BP3": "Movement and numbers",
    "BP4": "Heads, labels, vocabulary and tokenizer",
    "BP5": "Adapters and merges",
    "BP6": "Limits of the method",
    "BP7": "What the files promise",
}


def page() -> str:
    """All findings in Markdown, in the order of their codes."""
    known = explanations()
    lines = [
        "# Findings",
        "",
        "Written by `make docs` from the rules themselves; `bitfit-probe explain CODE` prints the same.",
        "The severity is the usual one: a finding may be milder where there is less behind it.",
        "",
        "| code | name | severity | |",
        "|---|---|---|---|",
    ]
    lines += [f"| [{i.code}](#{i.code.lower()}) | {i.name} | {i.severity} | {i.title} |" for i in known]
    for family, title in _FAMILIES.items():
        lines += ["", f"## {family}xx: {title}"]
        for item in known:
            if item.code.startswith(family):
                lines += _entry(item)
    return "\n".join(lines) + "\n"


def _entry(item: Explanation) -> list[str]:
    lines = ["", f'<a id="{item.code.lower()}"></a>', f"### {item.code} {item.name} ({item.severity})", ""]
    lines += [item.title]
    for heading, body in item.sections:
        paragraphs = [" ".join(part.split()) for part in body.split("\n\n")]
        lines += ["", f"**{heading}.** {paragraphs[0]}"]
        for paragraph in paragraphs[1:]:
            lines += ["", paragraph]
    if item.explains:
        links = ", ".join(f"[{code}](#{code.lower()})" for code in item.explains)
        lines += ["", f"Takes the place of {links}."]
    return lines


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
