"""pandas, where a record is asked for as a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitfit_probe.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas

__all__ = ["frame_class"]


def frame_class() -> type[pandas.DataFrame]:
    """What makes a frame of rows.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError(
            "a frame needs pandas", advice='install it with: pip install "bitfit-probe[frames]"'
        ) from error
    return pandas.DataFrame
