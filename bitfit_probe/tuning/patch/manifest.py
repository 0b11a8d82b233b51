"""What a patch says about itself and about the base it belongs to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.errors import DamagedPatchError, WrongBaseError
from bitfit_probe.tuning.fingerprint import digest_of, fingerprint

__all__ = ["FORMAT_VERSION", "Entry", "Manifest", "entries_of"]

FORMAT_VERSION = 1
#: Entries of the safetensors metadata; there are no others beside them.
MANIFEST_KEY, HASH_KEY = "bitfit_probe.patch", "bitfit_probe.sha256"
_SHOWN = 3


@dataclass(frozen=True)
class Entry:
    """One tensor in short: element type (as torch names it), shape, SHA-256 of its bytes."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str

    @classmethod
    def of(cls, tensor: Tensor, sha256: str) -> Entry:
        """A tensor's entry, its hash being known."""
        return cls(tensor.dtype.name, tuple(tensor.shape), sha256)


def entries_of(checkpoint: Checkpoint) -> dict[str, Entry]:
    """Every tensor's entry by name."""
    return {name: Entry.of(checkpoint.tensors[name], sha) for name, sha in fingerprint(checkpoint).items()}


@dataclass(frozen=True)
class Manifest:
    """Everything in a patch but the values.

    Attributes
    ----------
    base_digest
        `bitfit_probe.tuning.fingerprint.digest_of` the base.
    base
        Every tensor of the base.
    tensors
        The tensors that the patch holds, under the tuned model's names.
    layout
        Every tensor of the tuned model, in its order, with the base's name of the tensor that it equals; None
        where the patch has it.
    replaced
        For tensors in the patch: the base's name of the one that moved; None where the base has none.
    roles
        Number of elements that moved or are new, by role.
    config
        The tuned model's config.json.
    card
        Its run_card.json, where it had one.
    made_by
        The version of bitfit-probe, where it is installed.
    """

    base_digest: str
    base: Mapping[str, Entry]
    tensors: Mapping[str, Entry]
    layout: Mapping[str, str | None]
    replaced: Mapping[str, str | None]
    roles: Mapping[str, int]
    config: Mapping[str, Any]
    card: Mapping[str, Any] | None
    made_by: str | None

    def to_metadata(self) -> dict[str, str]:
        """The manifest and its own hash, as safetensors metadata."""
        text = json.dumps({"format_version": FORMAT_VERSION} | asdict(self), separators=(",", ":"))
        return {"format": "pt", MANIFEST_KEY: text, HASH_KEY: hashlib.sha256(text.encode()).hexdigest()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: object) -> Manifest:
        """Read it back.

        Raises
        ------
        DamagedPatchError
            It is no patch, one of a later format, or not what was written.
        """
        if MANIFEST_KEY not in metadata:
            raise DamagedPatchError(
                "is no patch", advice="make one with `bitfit-probe patch extract`", path=str(path)
            )
        text = metadata[MANIFEST_KEY]
        known = {"format": "pt", MANIFEST_KEY: text, HASH_KEY: hashlib.sha256(text.encode()).hexdigest()}
        if dict(metadata) != known:
            raise DamagedPatchError(
                "its description is not what was written", advice="copy or download it again", path=str(path)
            )
        loaded = json.loads(text)
        if loaded.pop("format_version") != FORMAT_VERSION:
            raise DamagedPatchError(
                "was written by a later version", advice="upgrade bitfit-probe", path=str(path)
            )
        for part in ("base", "tensors"):
            loaded[part] = {
                name: Entry(entry["dtype"], tuple(entry["shape"]), entry["sha256"])
                for name, entry in loaded[part].items()
            }
        return cls(**loaded)

    def check_base(self, base: Checkpoint) -> None:
        """Raise WrongBaseError, naming what differs, unless `base` is the one the patch was made for."""
        found = entries_of(base)
        if digest_of(base, {name: entry.sha256 for name, entry in found.items()}) == self.base_digest:
            return
        absent = [name for name in self.base if name not in found]
        extra = [name for name in found if name not in self.base]
        differing = [name for name in self.base if name in found and found[name] != self.base[name]]
        said = [
            _some(differing, "differ"),
            _some(absent, "are absent"),
            _some(extra, "are not in that base"),
        ]
        raise WrongBaseError(
            f"is not the base of this patch: of {len(self.base)} tensors {'; '.join(filter(None, said))}",
            advice="give the base that the tuned model was made from",
            path=base.path,
        )


def _some(names: list[str], what: str) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{more})" if names else ""
