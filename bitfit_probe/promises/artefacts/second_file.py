"""A second weight file under a name that loaders know: the same tensors in both."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.promises.case import Case
from bitfit_probe.records.promises import Promise
from bitfit_probe.wording import plural

__all__ = ["promises"]


def promises(case: Case) -> Iterator[Promise]:
    """Names and shapes of both; their values BP115 compares where there is a base."""
    ours = {name: tensor.shape for name, tensor in case.tuned.tensors.items()}
    for path in case.tuned.siblings:
        try:
            theirs = {name: tensor.shape for name, tensor in open_checkpoint(path).tensors.items()}
        except BitfitProbeError:
            continue  # an index whose shards are gone is none
        differ = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
        yield Promise(
            "files",
            path.name,
            f"the tensors of {case.tuned.files[0].path.name}, which is read",
            f"{plural(len(differ), 'tensor')} in one of them only or of another shape"
            if differ
            else "the same names and shapes (values not compared here)",
            "broken" if differ else "kept",
            loader="which model is served hangs on the loader",
            first="which of the two was saved last, and delete the other",
            severity="warning",
            subjects=tuple(differ),
        )
