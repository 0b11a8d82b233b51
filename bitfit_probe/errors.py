"""What can stop the work, as one tree.

An error says that the work could not be done; a *finding* (``BPxxx``, see
``records.Finding``) says something about a checkpoint. A code never changes
its meaning.

::

    BitfitProbeError
    ├── RefusedError              BE001  the operating system refuses: a path, a disk, a limit
    ├── OutOfMemoryError          BE002  there is not enough memory
    ├── UnreadableError           BE1xx  the bytes are not what they should be
    │   ├── NotFoundError         BE101  no such file or directory
    │   ├── EmptyError            BE102  nothing to read in there
    │   ├── UnknownFormatError    BE103  the content is no checkpoint that we know
    │   ├── PointerError          BE104  a Git LFS pointer instead of the file
    │   ├── WebPageError          BE105  an HTML page instead of the file
    │   ├── TruncatedError        BE106  the file ends too early
    │   ├── CorruptError          BE107  lengths, offsets or counts contradict each other
    │   ├── UnsafeError           BE108  the file would run code when loaded
    │   ├── EscapesError          BE109  a path inside leaves its directory
    │   ├── MissingShardError     BE110  an index names a file or tensor that is absent
    │   ├── NoStateDictError      BE111  no state dict inside
    │   ├── AmbiguousError        BE112  several state dicts inside, none chosen
    │   ├── UnsupportedError      BE113  a known format that is not read directly
    │   ├── ChangedError          BE114  the file changed while it was read
    │   └── RemoteError           BE115  a server does not answer, or with nonsense
    │       ├── DeniedError       BE116  a server denies access
    │       └── NoRangesError     BE117  a server sends whole files only
    ├── AlignmentError            BE2xx
    │   ├── NothingAlignsError    BE201  no tensor of one side is a tensor of the other
    │   ├── ShapesError           BE202  names align, no shape does
    │   └── TargetsError          BE203  an adapter's targets are no tensors of the base
    ├── OutputError               BE3xx
    │   └── OverwriteError        BE301  the output would overwrite an input
    ├── DataError                 BE401  a table of examples can't be used
    ├── PatchError                BE6xx
    │   ├── WrongBaseError        BE601  the base is not the one that the patch was made for
    │   ├── DamagedPatchError     BE602  the patch is not what was written
    │   └── NotBiasOnlyError      BE603  more than biases and the head moved
    ├── FleetError                BE7xx  many checkpoints can't be judged together
    │   ├── WorkerError           BE701  a worker dies, lacks the package, or has another version
    │   ├── EngineError           BE702  what runs the workers does not answer
    │   └── ManifestError         BE703  a directory holds no fleet, or one that was judged otherwise
    └── ModelError                BE5xx  a model can't be loaded or run
        ├── MissingExtraError     BE501  an optional dependency is absent
        ├── NoBiasesError         BE502  BitFit was asked of a base without biases
        └── SettingsError         BE503  the settings of a run contradict each other or the model
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = [
    "AlignmentError",
    "AmbiguousError",
    "BitfitProbeError",
    "ChangedError",
    "CorruptError",
    "DamagedPatchError",
    "DataError",
    "DeniedError",
    "EmptyError",
    "EngineError",
    "EscapesError",
    "FleetError",
    "ManifestError",
    "MissingExtraError",
    "MissingShardError",
    "ModelError",
    "NoBiasesError",
    "NoRangesError",
    "NoStateDictError",
    "NotBiasOnlyError",
    "NotFoundError",
    "NothingAlignsError",
    "OutOfMemoryError",
    "OutputError",
    "OverwriteError",
    "PatchError",
    "PointerError",
    "QuantisedError",
    "RefusedError",
    "RemoteError",
    "SettingsError",
    "ShapesError",
    "TargetsError",
    "TruncatedError",
    "UnknownFormatError",
    "UnreadableError",
    "UnsafeError",
    "UnsupportedError",
    "WebPageError",
    "WorkerError",
    "WrongBaseError",
    "shown",
]


#: Characters of a message that a person still reads.
_LONGEST = 600


#: One slash is enough: pathlib folds the two of a URL into one.
_URL = re.compile(r"(https?|s3a?|gs|gcs|az|abfss?|hf|memory):/+(.*)", re.IGNORECASE | re.DOTALL)
#: User and password before an @, a host with a port, a path; what may follow is a query and no second @.
_PARTS = re.compile(
    r"(?:[^/?#@]*@)?((?:[^\s/?#@:\[\]]+|\[[0-9a-f:.]+\])(?::\d{1,5})?)((?:/[^?#]*)?)([?#].*)?",
    re.IGNORECASE | re.DOTALL,
)


def shown(path: Path | str) -> str:
    """`path` as it may be shown: a URL without what may be secret, which is user, password and query.

    >>> shown(Path("https://me:pw@example.org/model.safetensors?X-Amz-Signature=abc"))
    'https://example.org/model.safetensors'
    """
    url = _URL.fullmatch(str(path))
    if url is None:
        return str(path)
    parts = _PARTS.fullmatch(url[2])
    if parts is None or (not parts[2] and "@" in (parts[3] or "")):  # what is the password is a guess
        return f"{url[1]}://…"
    return f"{url[1]}://{parts[1]}{parts[2]}"


class BitfitProbeError(Exception):
    """The work could not be done.

    Parameters
    ----------
    what
        What is wrong, without the file's name.
    advice
        What to do about it.
    path
        The file or directory at fault, where there is one.
    """

    code = "BE000"

    def __init__(self, what: str, *, advice: str, path: Path | str | None = None) -> None:
        if len(what) > _LONGEST:  # it may quote what a file says
            what = f"{what[:_LONGEST]} …"
        self.what = what
        self.advice = advice
        self.path = path
        where = f"{shown(path)}: " if path is not None else ""
        super().__init__(f"{where}{what}; {advice}")


class RefusedError(BitfitProbeError):
    """The operating system refuses what has to be done: a path, a disk, a limit."""

    code = "BE001"


class OutOfMemoryError(BitfitProbeError):
    """There is not enough memory."""

    code = "BE002"


class UnreadableError(BitfitProbeError):
    """The bytes are not what they should be."""

    code = "BE100"


class NotFoundError(UnreadableError):
    """No such file or directory."""

    code = "BE101"


class EmptyError(UnreadableError):
    """An empty file, or a directory without a checkpoint."""

    code = "BE102"


class UnknownFormatError(UnreadableError):
    """The content is no checkpoint format that we know."""

    code = "BE103"


class PointerError(UnreadableError):
    """A Git LFS pointer stands where the file should be."""

    code = "BE104"


class WebPageError(UnreadableError):
    """An HTML page stands where the file should be."""

    code = "BE105"


class TruncatedError(UnreadableError):
    """The file ends before the data it announces."""

    code = "BE106"


class CorruptError(UnreadableError):
    """Lengths, offsets or counts inside the file contradict each other."""

    code = "BE107"


class UnsafeError(UnreadableError):
    """The file would run code when loaded; nothing of it was run."""

    code = "BE108"


class EscapesError(UnreadableError):
    """A path inside the checkpoint leaves the checkpoint's directory."""

    code = "BE109"


class MissingShardError(UnreadableError):
    """An index names a file that is absent, or a tensor that its file lacks."""

    code = "BE110"


class NoStateDictError(UnreadableError):
    """No mapping from names to tensors inside."""

    code = "BE111"


class AmbiguousError(UnreadableError):
    """Several state dicts inside, and nothing says which is meant; `choices` are their keys, if known."""

    code = "BE112"
    choices: tuple[str, ...] = ()


class UnsupportedError(UnreadableError):
    """A format or an object that is known, but not read directly."""

    code = "BE113"


class QuantisedError(UnsupportedError):
    """Weights that are stored as codes with scales beside them; `tensors` of them."""

    def __init__(self, what: str, *, advice: str, path: Path | str | None = None, tensors: int) -> None:
        super().__init__(what, advice=advice, path=path)
        self.tensors = tensors


class ChangedError(UnreadableError):
    """The file was replaced or rewritten while it was read."""

    code = "BE114"


class RemoteError(UnreadableError):
    """A server does not answer, or with what is no answer."""

    code = "BE115"


class DeniedError(RemoteError):
    """A server denies access: a token is absent, wrong, or lacks the right."""

    code = "BE116"


class NoRangesError(RemoteError):
    """A server sends the whole file whatever byte range it is asked for."""

    code = "BE117"


class AlignmentError(BitfitProbeError):
    """The two checkpoints can't be laid side by side."""

    code = "BE200"


class NothingAlignsError(AlignmentError):
    """No tensor of one side is a tensor of the other."""

    code = "BE201"


class ShapesError(AlignmentError):
    """Names align, but no shape does."""

    code = "BE202"


class TargetsError(AlignmentError):
    """An adapter's targets are no tensors of the base."""

    code = "BE203"


class OutputError(BitfitProbeError):
    """A result could not be written."""

    code = "BE300"


class OverwriteError(OutputError):
    """The output would overwrite an input."""

    code = "BE301"


class DataError(BitfitProbeError):
    """A table of examples can't be read, or not used for what was asked."""

    code = "BE401"


class ModelError(BitfitProbeError):
    """A model can't be loaded or run."""

    code = "BE500"


class MissingExtraError(ModelError):
    """What was asked for needs a package that is not installed."""

    code = "BE501"


class NoBiasesError(ModelError):
    """BitFit was asked for, and the architecture has no bias to train."""

    code = "BE502"


class SettingsError(ModelError):
    """The settings of a training run contradict each other, or ask for what the model lacks."""

    code = "BE503"


class PatchError(BitfitProbeError):
    """A patch can't be made, read or applied."""

    code = "BE600"


class WrongBaseError(PatchError):
    """The base is not the one that the patch was made for."""

    code = "BE601"


class DamagedPatchError(PatchError):
    """The patch is not what was written: cut short, or some of its bytes differ."""

    code = "BE602"


class NotBiasOnlyError(PatchError):
    """More than biases and the head moved, and that was not allowed."""

    code = "BE603"


class FleetError(BitfitProbeError):
    """Many checkpoints can't be judged together."""

    code = "BE700"


class WorkerError(FleetError):
    """A worker died again and again over a checkpoint, lacks the package, or has another version of it."""

    code = "BE701"


class EngineError(FleetError):
    """What runs the workers, such as a Dask scheduler, does not answer, or ended."""

    code = "BE702"


class ManifestError(FleetError):
    """A directory holds no fleet, or fleets that don't belong together."""

    code = "BE703"
