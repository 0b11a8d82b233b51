"""``python -m bitfit_probe`` and the ``bitfit-probe`` command."""

from __future__ import annotations

from bitfit_probe.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
