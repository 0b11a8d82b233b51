"""Makes the shared builders importable (pytest's importlib mode puts nothing on the path)."""

from __future__ import annotations

from tuning.tiny import bases, task  # noqa: F401
