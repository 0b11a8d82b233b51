"""From a base and its tuned model to the patch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bitfit_probe.align import align
from bitfit_probe.architectures import ROLES
from bitfit_probe.checkpoint import Checkpoint, Tensor, open_checkpoint
from bitfit_probe.errors import DamagedPatchError, NotBiasOnlyError, PatchError
from bitfit_probe.outputs import refuse_overlap, write_files
from bitfit_probe.records import TensorInfo
from bitfit_probe.tuning.fingerprint import digest_of
from bitfit_probe.tuning.patch.manifest import Manifest, entries_of
from bitfit_probe.tuning.patch.reading import Patch, open_patch
from bitfit_probe.tuning.patch.schema import Entry
from bitfit_probe.tuning.patch.writing import header_of, safetensors_content
from bitfit_probe.tuning.versions import versions

__all__ = ["extract_patch"]

_SHOWN = 3


@dataclass(frozen=True)
class _Row:
    """A tuned tensor, the base's of the same place, and the elements of each role."""

    name: str
    base: str | None
    info: TensorInfo
    roles: dict[str, int]


def extract_patch(
    base: str | Path, tuned: str | Path, out: str | Path, *, allow_matrices: bool = False
) -> Patch:
    """Write what `tuned` has and `base` has not: biases that moved, a new head, and nothing else.

    Parameters
    ----------
    base, tuned
        Checkpoints in any format that is read.
    out
        The safetensors file to write.
    allow_matrices
        Take matrices and embeddings that moved as well; the patch may then be as large as the model.

    Raises
    ------
    NotBiasOnlyError
        Matrices or embeddings moved, and that was not allowed.
    BitfitProbeError
        A checkpoint can't be read, the two don't align, or `out` can't be written.
    """
    # Packed weights are taken by their parts: equal bytes are equal values, whatever they stand for.
    out, ours, theirs = Path(out), open_checkpoint(base).as_stored, open_checkpoint(tuned).as_stored
    inputs = [path for side in (ours, theirs) for path in side.infos]
    refuse_overlap([out], inputs)
    before, after = entries_of(ours), entries_of(theirs)
    rows = _rows(ours, theirs)
    moved = [row for row in rows if row.base is None or before[row.base] != after[row.name]]
    if not allow_matrices:
        _refuse_matrices(moved, before, after, theirs)
    stored = {row.name for row in moved}
    manifest = Manifest(
        base_digest=digest_of(ours, {name: entry.sha256 for name, entry in before.items()}),
        base=before,
        tensors={name: after[name] for name in theirs.tensors if name in stored},
        layout={row.name: None if row.name in stored else row.base for row in rows},
        replaced={row.name: row.base for row in moved},
        roles=_roles(moved),
        config=theirs.config,
        card=theirs.read_json("run_card.json"),
        made_by=versions().get("bitfit-probe"),
    )
    tensors = {name: tensor for name, tensor in theirs.tensors.items() if name in stored}
    header = _header(manifest, tensors, theirs)

    def unchanged() -> None:
        for checkpoint in (ours, theirs):
            checkpoint.check_unchanged()

    hashes = {name: entry.sha256 for name, entry in manifest.tensors.items()}
    content = safetensors_content(header, tensors, hashes, theirs.path)
    write_files([(out, content)], inputs, check=unchanged)
    return open_patch(out)


def _header(manifest: Manifest, tensors: dict[str, Tensor], tuned: Checkpoint) -> bytes:
    """The patch's header, once it is known that the patch will be accepted, and can be applied."""
    metadata = manifest.to_metadata()
    try:
        Manifest.from_metadata(metadata, tuned.path)
    except DamagedPatchError as error:
        what = f"can't be told in a patch ({error.what})"
        raise PatchError(what, advice="ship the whole model instead", path=tuned.path) from error
    header_of(tuned.tensors, {"format": "pt"}, tuned.path)
    return header_of(tensors, metadata, tuned.path)


def _rows(base: Checkpoint, tuned: Checkpoint) -> list[_Row]:
    """Every tuned tensor in its order, beside what it was."""
    alignment = align(base, tuned)
    partners: dict[str, str] = {}
    infos: dict[str, TensorInfo] = {}
    roles: dict[str, Counter[str]] = {}
    for pair in alignment.pairs:
        name = pair.tuned.name
        # Parts of fused tensors and resized vocabularies are windows; only whole tensors are the same.
        if pair.base.name in base.tensors:
            partners.setdefault(name, pair.base.name)
        infos.setdefault(name, pair.info)
        roles.setdefault(name, Counter())[pair.info.role or "other"] += pair.tuned.size
    for item in alignment.unmatched_tuned:
        infos.setdefault(item.name, item.info)
    out = []
    for name, tensor in tuned.tensors.items():
        info = infos.get(name, TensorInfo(None, None, None, "weight"))
        counted = roles.get(name, Counter({info.role or "other": tensor.size}))
        out.append(_Row(name, partners.get(name), info, dict(counted)))
    return out


def _refuse_matrices(
    moved: list[_Row], before: dict[str, Entry], after: dict[str, Entry], tuned: Checkpoint
) -> None:
    # A pooler that the base lacks is new with the head; without it the head could not be used.
    offenders = [
        row.name
        for row in moved
        if row.info.kind in ("weight", "embedding") and not (row.base is None and row.info.role == "pooler")
    ]
    if not offenders:
        return
    cast = {
        (before[row.base].dtype, after[row.name].dtype)
        for row in moved
        if row.base is not None and before[row.base].dtype != after[row.name].dtype
    }
    why = f"; the base is {min(cast)[0]} and the tuned one {min(cast)[1]}" if cast else ""
    raise NotBiasOnlyError(
        f"{len(offenders)} matrices or embeddings are not the base's "
        f"({', '.join(offenders[:_SHOWN])}{', …' if len(offenders) > _SHOWN else ''}){why}",
        advice="a patch is meant for BitFit; add --allow-matrices to take them all the same",
        path=tuned.path,
    )


def _roles(moved: list[_Row]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for row in moved:
        counts.update(row.roles)
    ranks = {role: rank for rank, role in enumerate(ROLES)}
    return {role: counts[role] for role in sorted(counts, key=lambda role: ranks.get(role, len(ranks)))}
