"""``bitfit-probe patch extract | apply | verify``."""

from __future__ import annotations

from pathlib import Path

import click

from bitfit_probe.cli.options import PATH, out_option
from bitfit_probe.cli.streams import say

__all__ = ["patch"]


@click.group(no_args_is_help=True)
def patch() -> None:
    """Ship a bias-only fine-tune as a file of a few hundred kilobytes."""


@patch.command()
@click.argument("base", type=PATH)
@click.argument("tuned", type=PATH)
@out_option("The .safetensors file to write.", required=True)
@click.option("--allow-matrices", is_flag=True, help="Take matrices that moved as well, instead of refusing.")
def extract(base: Path, tuned: Path, out: Path, allow_matrices: bool) -> None:
    """Write what TUNED has and BASE has not: biases that moved, and a new head."""
    from bitfit_probe.rendering import patch_to_text
    from bitfit_probe.tuning.patch import extract_patch

    done = extract_patch(base, tuned, out, allow_matrices=allow_matrices)
    say(patch_to_text(done.manifest, str(out), done.size))


@patch.command()
@click.argument("base", type=PATH)
@click.argument("patch_file", metavar="PATCH", type=PATH)
@out_option("Directory to make, or a .safetensors file for the weights alone.", required=True)
def apply(base: Path, patch_file: Path, out: Path) -> None:
    """Write the tuned model that PATCH makes of BASE, bit for bit."""
    from bitfit_probe.rendering import printable
    from bitfit_probe.tuning.patch import apply_patch

    done = apply_patch(base, patch_file, out)
    manifest = done.manifest
    text = (
        f"Wrote {out}: {len(manifest.layout)} tensors, {len(manifest.tensors)} of them from the patch, "
        f"the others from {base}."
    )
    say(f"{printable(text)}\n")


@patch.command()
@click.argument("base", type=PATH)
@click.argument("patch_file", metavar="PATCH", type=PATH)
def verify(base: Path, patch_file: Path) -> None:
    """Check that PATCH is whole, and that BASE is the one it was made for."""
    from bitfit_probe.rendering import patch_to_text
    from bitfit_probe.tuning.patch import verify_patch

    done = verify_patch(base, patch_file)
    say(patch_to_text(done.manifest, str(patch_file), done.size))
    say("Every byte is what was written, and the base is the right one.\n")
