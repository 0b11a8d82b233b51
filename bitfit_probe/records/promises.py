"""What the files of a checkpoint say must be true of its weights, and whether it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bitfit_probe.frozen import Frozen

if TYPE_CHECKING:
    from bitfit_probe.records.severity import Severity

__all__ = ["STATES", "Promise", "Promises", "State", "Topic"]

#: ``untold`` where the files say too little to judge it.
State = Literal["kept", "broken", "untold"]
STATES: tuple[State, ...] = ("broken", "untold", "kept")
#: What it is about; a broken one is the finding of a rule of that topic.
Topic = Literal[
    "layers", "parameters", "ends", "shapes", "class", "settings", "type", "quantisation", "index",
    "adapter", "tokenizer", "labels", "files", "facts", "values",
]  # fmt: skip


class Promise(Frozen):
    """One expectation that an artefact raises, and what was found.

    Attributes
    ----------
    topic
        What it is about.
    source
        Where it was read: a file and the entry in it.
    expected, found
        What must be so, and what is, in a few words.
    state
        Whether it is kept.
    loader
        What a loader does about a broken one.
    first
        What to look at first where it is broken.
    severity
        Of a broken one, by what happens to a user.
    subjects
        Tensors or entries that break it, or whose case can't be told.
    """

    topic: Topic
    source: str
    expected: str
    found: str
    state: State
    loader: str = ""
    first: str = ""
    severity: Severity = "error"
    subjects: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        """All of it in plain sentences."""
        parts = [f"{self.source} promises {self.expected}; found: {self.found}"]
        parts += [self.loader] if self.loader else []
        parts += [f"Look first at {self.first}"] if self.first else []
        return f"{'. '.join(map(_begun, parts))}."


def _begun(sentence: str) -> str:
    """With a capital, unless it begins with the name of a file."""
    is_file = "." in sentence.partition(" ")[0]
    return sentence if is_file else sentence[:1].upper() + sentence[1:]


class Promises(Frozen):
    """All that the files of one checkpoint promise.

    Attributes
    ----------
    path
        The checkpoint's.
    items
        The broken ones first.
    """

    path: str
    items: tuple[Promise, ...] = ()

    def of(self, state: State) -> tuple[Promise, ...]:
        """Those that are kept, broken or untold."""
        return tuple(item for item in self.items if item.state == state)
