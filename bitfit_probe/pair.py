"""One tuned checkpoint beside its base: opened once, compared once, and what else is known of the two."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bitfit_probe.align import Alignment
from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.checkpoint.trainer_state import TRAINER_STATE, TrainerState
from bitfit_probe.comparison import Progress, compare
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.frozen import Frozen
from bitfit_probe.records import Comparison, TensorDelta
from bitfit_probe.records.options import Expected

if TYPE_CHECKING:
    from bitfit_probe.data import TaskData
    from bitfit_probe.inference import LiveModel

__all__ = ["Memo", "Pair", "Reading", "Side", "open_pairs"]

#: Which of the two checkpoints.
Side = Literal["base", "tuned"]
T = TypeVar("T")


class Reading(Frozen):
    """How checkpoints are read and compared.

    Attributes
    ----------
    state_dict_key
        Which state dict to take where a file holds several, such as ``model`` or ``ema``.
    biases_only
        Read biases only; everything else counts as not checked.
    trust_checksums
        Take equal CRC-32 of two zip archives for equal bytes.
    expect
        The method that the caller expects of the tuned side.
    build
        Ask transformers which parameters the tuned side's class has.
    progress
        Told about bytes done and to do.
    """

    state_dict_key: str | None = None
    biases_only: bool = False
    trust_checksums: bool = False
    progress: Progress | None = field(default=None, repr=False)
    build: bool = False
    expect: Expected | None = None

    def open(self, path: str | Path) -> Checkpoint:
        """Open a checkpoint; raises as `open_checkpoint` does."""
        return open_checkpoint(path, self.state_dict_key, biases_only=self.biases_only)

    def compare(self, base: Checkpoint, tuned: Checkpoint) -> tuple[Comparison, Alignment]:
        """Say what moved; raises as `bitfit_probe.comparison.compare` does."""
        return compare(
            base,
            tuned,
            biases_only=self.biases_only,
            trust_checksums=self.trust_checksums,
            progress=self.progress,
        )


class Memo:
    """What was worked out once, by name."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, worked out the first time that `name` is asked for.

        An exception is kept too: what could not be had is not tried again.
        """
        if name not in self._known:
            try:
                self._known[name] = make()
            except Exception as reason:
                self._known[name] = _Failed(reason)
        found = self._known[name]
        if isinstance(found, _Failed):
            raise found.reason
        made: T = found
        return made

    def latest(self, kind: str, name: Hashable, make: Callable[[], T]) -> T:
        """As `once`, but of each kind only what was asked for last is kept."""
        for known in [key for key in self._known if isinstance(key, _Latest) and key.kind == kind]:
            if known.name != name:
                del self._known[known]
        return self.once(_Latest(kind, name), make)


class _Latest(Frozen):
    kind: str
    name: Hashable


class _Failed(Frozen):
    reason: Exception


class Pair(Frozen, eq=False):
    """A tuned checkpoint beside its base, with all that the files offer.

    It may be half there: where the tuned side can't be opened, or can't be laid beside its base, the `error`
    is kept, and raised where what is lacking is asked for.

    Attributes
    ----------
    base
        The base, open.
    path
        What the caller named as tuned.
    reading
        How the two are read and compared.
    data
        Labelled examples, where they were given.
    others
        Tuned checkpoints that were given after this one (epochs of a run, ranks of a job).
    """

    base: Checkpoint
    path: Path
    _opened: Checkpoint | BitfitProbeError = field(repr=False)
    reading: Reading = Reading()
    data: TaskData | None = None
    others: tuple[Checkpoint, ...] = ()
    _of_base: Memo = field(default_factory=Memo, repr=False)
    _of_both: Memo = field(default_factory=Memo, init=False, repr=False)

    @classmethod
    def open(
        cls,
        base: str | Path | Checkpoint,
        tuned: str | Path | Checkpoint,
        reading: Reading | None = None,
        *,
        data: TaskData | None = None,
    ) -> Pair:
        """Open both sides; of the tuned one it keeps why it can't be opened.

        Parameters
        ----------
        base, tuned
            As for `open_checkpoint`, or open already.
        reading
            How they are read and compared.
        data
            Labelled examples.

        Raises
        ------
        BitfitProbeError
            The base can't be opened.
        """
        return open_pairs(base, [tuned], reading, data=data)[0]

    def beside(self, tuned: str | Path | Checkpoint) -> Pair:
        """Another tuned checkpoint beside the same open base, with what is known of that."""
        return replace(self, path=_path(tuned), _opened=_open(tuned, self.reading), others=())

    @property
    def opened(self) -> bool:
        """Whether the tuned side could be opened."""
        return isinstance(self._opened, Checkpoint)

    @property
    def tuned(self) -> Checkpoint:
        """The tuned checkpoint.

        Raises
        ------
        BitfitProbeError
            It can't be opened.
        """
        return _there(self._opened)

    @property
    def error(self) -> BitfitProbeError | None:
        """Why the two can't be compared; None where they can. Asking compares them."""
        found = self._compared
        return found if isinstance(found, BitfitProbeError) else None

    @property
    def compared(self) -> bool:
        """Whether the two could be compared. Asking compares them."""
        return self.error is None

    @property
    def comparison(self) -> Comparison:
        """How far each tensor moved.

        Raises
        ------
        BitfitProbeError
            The tuned side can't be opened, or can't be laid beside the base.
        """
        return _there(self._compared)[0]

    @property
    def alignment(self) -> Alignment:
        """Which tensor is which; raises as `comparison` does."""
        return _there(self._compared)[1]

    @cached_property
    def _compared(self) -> tuple[Comparison, Alignment] | BitfitProbeError:
        if isinstance(self._opened, BitfitProbeError):
            return self._opened
        try:
            return self.reading.compare(self.base, self._opened)
        except BitfitProbeError as error:
            return error

    @cached_property
    def rows(self) -> dict[str, TensorDelta]:
        """Compared tensors by the tuned side's name; parts of fused ones are left out."""
        return {row.tuned_name: row for row in self.comparison.tensors if row.part is None}

    @property
    def folder(self) -> Path:
        """The directory in which the tuned checkpoint's config and tokenizer lie, if they do."""
        if isinstance(self._opened, Checkpoint):
            return self._opened.folder
        return self.path if self.path.is_dir() else self.path.parent

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON object that lies beside the tuned weights, whether or not these can be opened."""
        if isinstance(self._opened, Checkpoint):
            return self._opened.read_json(name)
        return read_json(self.folder / name)

    @property
    def trainer_state(self) -> TrainerState | None:
        """The log of the tuned side's run, also where its weights can't be opened; None without one."""
        if isinstance(self._opened, Checkpoint):
            return self._opened.trainer_state
        found = read_json(self.folder / TRAINER_STATE)
        return TrainerState.of(found) if found else None

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What one room worked out of this pair, for the others too; see `Memo.once`."""
        return self._of_both.once(name, make)

    def live(self, side: Side, model_dir: str | Path | None = None) -> LiveModel:
        """One of the two as a model that runs, made once; config and tokenizer may be the other side's.

        Of the pairs with one base, only the tuned model that was asked for last is kept: many would not fit
        into memory. Whoever changes its weights puts them back.

        Parameters
        ----------
        model_dir
            Where config.json and tokenizer are looked for first.

        Raises
        ------
        BitfitProbeError
            The tuned side can't be opened, or the model does not load.
        """
        from bitfit_probe.inference import LiveModel

        sides = (self.base, self.tuned) if side == "base" else (self.tuned, self.base)
        folders = [checkpoint.folder for checkpoint in sides]
        name = sides[0].path, str(model_dir)
        return self._of_base.latest(f"live {side}", name, lambda: LiveModel.of(sides[0], model_dir, *folders))

    def check_unchanged(self) -> None:
        """Raise ChangedError where a file of either side was rewritten or replaced meanwhile."""
        for checkpoint in (self.base, self.tuned):
            checkpoint.check_unchanged()


def open_pairs(
    base: str | Path | Checkpoint,
    tuned: Sequence[str | Path | Checkpoint],
    reading: Reading | None = None,
    *,
    data: TaskData | None = None,
) -> tuple[Pair, ...]:
    """A `Pair` for each tuned checkpoint, all with one base; each knows those that were given after it.

    Parameters
    ----------
    base, reading, data
        As for `Pair.open`.
    tuned
        At least one.

    Raises
    ------
    BitfitProbeError
        The base can't be opened.
    """
    if not tuned:
        raise ValueError("give at least one tuned checkpoint")
    reading, of_base = reading or Reading(), Memo()
    ours = base if isinstance(base, Checkpoint) else reading.open(base)
    opened = [_open(path, reading) for path in tuned]
    return tuple(
        Pair(
            ours,
            _path(path),
            side,
            reading,
            data,
            tuple(other for other in opened[number:] if isinstance(other, Checkpoint)),
            of_base,
        )
        for number, (path, side) in enumerate(zip(tuned, opened, strict=True), 1)
    )


def _path(tuned: str | Path | Checkpoint) -> Path:
    return tuned.path if isinstance(tuned, Checkpoint) else Path(str(tuned))


def _open(path: str | Path | Checkpoint, reading: Reading) -> Checkpoint | BitfitProbeError:
    if isinstance(path, Checkpoint):
        return path
    try:
        return reading.open(path)
    except BitfitProbeError as error:
        return error


def _there(found: T | BitfitProbeError) -> T:
    if isinstance(found, BitfitProbeError):
        raise found
    return found
