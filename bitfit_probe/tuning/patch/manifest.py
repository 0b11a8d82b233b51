"""What a patch says about itself and about the base it belongs to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.checkpoint.parsing.bounded_json import parse
from bitfit_probe.errors import DamagedPatchError, WrongBaseError
from bitfit_probe.tuning.fingerprint import fingerprint
from bitfit_probe.tuning.patch.schema import Entry, checked

__all__ = ["FORMAT_VERSION", "Entry", "Manifest", "entries_of"]

FORMAT_VERSION = 1
#: Entries of the safetensors metadata; there are no others beside them.
MANIFEST_KEY, HASH_KEY = "bitfit_probe.patch", "bitfit_probe.sha256"
_SHOWN = 3


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
        try:
            return cls(**checked(_description(metadata, path)))
        except ValueError as error:
            raise DamagedPatchError(
                f"its description is not one that `extract` writes: {error}",
                advice="make it again",
                path=str(path),
            ) from error

    @property
    def result(self) -> dict[str, Entry]:
        """Every tensor of the tuned model, in its order."""
        return {
            name: self.tensors[name] if source is None else self.base[source]
            for name, source in self.layout.items()
        }

    def check_base(self, base: Checkpoint) -> None:
        """Raise WrongBaseError, naming what differs, unless `base` is the one the patch was made for."""
        found = entries_of(base)
        if found == self.base:
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


def _description(metadata: Mapping[str, str], path: object) -> dict[str, Any]:
    """The manifest's JSON, its hash and version being right, without the version."""
    text = metadata[MANIFEST_KEY]
    raw = text.encode()
    known = {"format": "pt", MANIFEST_KEY: text, HASH_KEY: hashlib.sha256(raw).hexdigest()}
    if dict(metadata) != known:
        raise DamagedPatchError(
            "its description is not what was written", advice="copy or download it again", path=str(path)
        )
    loaded = parse(raw, unique=True)
    if not isinstance(loaded, dict):
        raise ValueError("it is no object")
    version = loaded.pop("format_version", None)
    if type(version) is not int or version < FORMAT_VERSION:
        raise ValueError("format_version is none")
    if version > FORMAT_VERSION:
        raise DamagedPatchError(
            "was written by a later version", advice="upgrade bitfit-probe", path=str(path)
        )
    return loaded


def _some(names: list[str], what: str) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{more})" if names else ""
