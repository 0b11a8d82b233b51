"""Regular expressions from strangers, matched in linear time.

``re`` tries one way after the other, which takes for ever with ``(a|.)*`` thirty times over. Here all ways
are followed at once, a character at a time (Thompson 1968): at most as many steps as the expression has
parts, for each character. What has no such machine (look-arounds, backreferences) is refused by name.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

__all__ = ["MOST_PARTS", "MOST_STEPS", "Expression", "UnreadExpressionError"]

#: Characters of an expression, and of a name that it is held against.
_LONGEST = 1000
#: Parts of an expression after its counted repetitions are written out.
MOST_PARTS = 1000
_DEEPEST = 40
#: Steps that one expression may take for all names together: a few seconds.
MOST_STEPS = 4_000_000
#: States that are remembered; beyond, they are worked out again.
_MOST_HELD = 100_000

_COUNTS = re.compile(r"\{(\d*)(?:(,)(\d*))?\}", re.ASCII)
_OPENING = re.compile(r"\((?:\?(?::|P<\w+>))?")
_UNREAD = {
    "(?=": "a look-ahead",
    "(?!": "a look-ahead",
    "(?<": "a look-behind",
    "(?P": "a backreference",
    "(?(": "a condition",
    "(?>": "an atomic group",
    "(?#": "a comment",
}

Test: TypeAlias = Callable[[str], bool]


class UnreadExpressionError(ValueError):
    """An expression that is not matched: what of it, and the expression."""


class Char(NamedTuple):
    """One character that passes the test."""

    test: Test


class Edge(NamedTuple):
    """A place between two characters: ``^``, ``$`` or ``b`` for the edge of a word."""

    kind: str


class Both(NamedTuple):
    """One part after the other."""

    parts: tuple[Part, ...]


class Either(NamedTuple):
    """One of several parts."""

    parts: tuple[Part, ...]


class Repeat(NamedTuple):
    """A part several times; no upper bound where `most` is None."""

    part: Part
    least: int
    most: int | None


Part: TypeAlias = Char | Edge | Both | Either | Repeat


class Jump(NamedTuple):
    """Go on at any of these steps."""

    to: tuple[int, ...]


#: A program's steps; a character or an edge leads to the step behind it. None is the end.
Step: TypeAlias = Char | Edge | Jump | None
States: TypeAlias = frozenset[int]


class Expression:
    """An expression as a machine that never goes back.

    Parameters
    ----------
    text
        In the syntax of ``re``.

    Attributes
    ----------
    steps
        What matching took so far, in steps of the machine; no more than `MOST_STEPS`.
    size
        The number of its parts; a match takes at most ``2 * (size + 1) * (len(name) + 1)`` steps.

    Raises
    ------
    UnreadExpressionError
        No expression, one that is too long, or one that no such machine matches.
    """

    def __init__(self, text: str) -> None:
        self._program = _compiled(text)
        self._text = text
        self.size = len(self._program)
        self.steps = 0
        self._held = 0
        self._closed: dict[tuple[States, str], States] = {}
        self._moved: dict[tuple[States, str], States] = {}

    def begins(self, name: str) -> bool:
        """Whether `name` begins with a match, as ``re.match`` tells."""
        return self._run(name, whole=False)

    def is_all_of(self, name: str) -> bool:
        """Whether `name` as a whole is a match, as ``re.fullmatch`` tells."""
        return self._run(name, whole=True)

    def _run(self, name: str, *, whole: bool) -> bool:
        if len(name) > _LONGEST:
            raise _unread(f"a name of {len(name):,} characters to match", self._text)
        end = self.size - 1
        states: States = frozenset({0})
        for at in range(len(name) + 1):
            here = self._close(states, _edges(name, at))
            if end in here and (at == len(name) or not whole):
                return True
            if not here or at == len(name):
                return False
            if self.steps > MOST_STEPS:
                raise _unread(f"more than {MOST_STEPS:,} steps to match", self._text)
            states = self._move(here, name[at])
        return False

    def _close(self, states: States, edges: str) -> States:
        """The characters and the end that can be reached from `states` without going on in the name."""
        self.steps += 1
        found = self._closed.get((states, edges))
        if found is None:
            found = self._closed[states, edges] = self._kept(self._reached(states, edges))
        return found

    def _reached(self, states: States, edges: str) -> States:
        seen, todo, out = set(states), list(states), []
        while todo:
            at = todo.pop()
            self.steps += 1
            step = self._program[at]
            if step is None or isinstance(step, Char):
                out.append(at)
                continue
            after = step.to if isinstance(step, Jump) else (at + 1,) if step.kind in edges else ()
            todo += [following for following in after if following not in seen]
            seen.update(after)
        return frozenset(out)

    def _move(self, here: States, char: str) -> States:
        found = self._moved.get((here, char))
        if found is None:
            self.steps += len(here)
            tests = ((at, self._program[at]) for at in here)
            passed = (at + 1 for at, step in tests if isinstance(step, Char) and step.test(char))
            found = self._moved[here, char] = self._kept(frozenset(passed))
        return found

    def _kept(self, states: States) -> States:
        self._held += len(states) + 1
        if self._held > _MOST_HELD:
            self._held = 0
            self._closed.clear()
            self._moved.clear()
        return states


def _edges(name: str, at: int) -> str:
    """Which edges lie before the character `at`; ``$`` also lies before a last line break."""
    left = at > 0 and _is_word(name[at - 1])
    right = at < len(name) and _is_word(name[at])
    is_end = at == len(name) or (at == len(name) - 1 and name[at] == "\n")
    return ("^" if at == 0 else "") + ("$" if is_end else "") + ("b" if left != right else "")


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _unread(what: str, text: str) -> UnreadExpressionError:
    shown = text if len(text) <= 100 else f"{text[:100]} …"
    return UnreadExpressionError(f"{what} in {shown!r}")


def _compiled(text: str) -> list[Step]:
    if len(text) > _LONGEST:
        raise _unread(f"{len(text):,} characters", text)
    part = _Parser(text).all()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(text)  # only to learn whether it is one; that takes no longer than it is
    except (re.error, OverflowError, RecursionError) as error:
        raise _unread("no regular expression", text) from error
    program: list[Step] = []
    try:
        _write(part, program)
    except OverflowError as error:
        raise _unread(f"more than {MOST_PARTS} parts", text) from error
    return [*program, None]


def _write(part: Part, out: list[Step]) -> None:
    """Append the steps of `part`; control leaves them at the end."""
    if len(out) > MOST_PARTS:
        raise OverflowError
    if isinstance(part, Both):
        for each in part.parts:
            _write(each, out)
    elif isinstance(part, Either):
        _write_either(part, out)
    elif isinstance(part, Repeat):
        _write_repeat(part, out)
    else:
        out.append(part)


def _write_either(part: Either, out: list[Step]) -> None:
    fork = len(out)
    out.append(None)
    starts, leaps = [], []
    for each in part.parts:
        starts.append(len(out))
        _write(each, out)
        leaps.append(len(out))
        out.append(None)
    out[fork] = Jump(tuple(starts))
    for leap in leaps:
        out[leap] = Jump((len(out),))


def _write_repeat(part: Repeat, out: list[Step]) -> None:
    if max(part.least, part.most or 0) > MOST_PARTS:
        raise OverflowError
    for _ in range(part.least):
        _write(part.part, out)
    if part.most is None:
        fork = len(out)
        out.append(None)
        _write(part.part, out)
        out.append(Jump((fork,)))
        out[fork] = Jump((fork + 1, len(out)))
        return
    forks = []
    for _ in range(part.most - part.least):
        forks.append(len(out))
        out.append(None)
        _write(part.part, out)
    for fork in forks:
        out[fork] = Jump((fork + 1, len(out)))


class _Parser:
    """Takes an expression apart; what `re` itself would refuse may pass, `re` is asked later."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def all(self) -> Part:
        part = self._either()
        if self._at < len(self._text):
            raise _unread("no regular expression", self._text)
        return part

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _either(self) -> Part:
        parts = [self._both()]
        while self._next() == "|":
            self._at += 1
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _both(self) -> Part:
        parts: list[Part] = []
        while self._next() not in ("", "|", ")"):
            parts.append(self._repeated(self._one()))
        return Both(tuple(parts))

    def _repeated(self, part: Part) -> Part:
        counts = _COUNTS.match(self._text, self._at)
        if self._next() in ("*", "+", "?"):
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[self._next()]
            self._at += 1
        elif counts and counts[0] != "{}":
            least, most = self._counted(counts)
            self._at = counts.end()
        else:
            return part
        if self._next() == "?":  # the shortest match first: of whether there is one it says nothing
            self._at += 1
        elif self._next() == "+":
            raise _unread("a possessive repetition", self._text)
        return Repeat(part, least, most)

    def _counted(self, counts: re.Match[str]) -> tuple[int, int | None]:
        least, comma, most = counts.groups()
        if len(least or "") > 4 or len(most or "") > 4:
            raise _unread(f"more than {MOST_PARTS} parts", self._text)
        if not comma:
            return int(least), int(least)
        return int(least or 0), int(most) if most else None

    def _one(self) -> Part:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return self._set()
        self._at += 1
        if char == "\\":
            return self._escaped()
        if char in "^$":
            return Edge(char)
        return Char(_is_no_break if char == "." else char.__eq__)

    def _group(self) -> Part:
        opening = _OPENING.match(self._text, self._at)
        assert opening is not None
        if opening[0] == "(" and self._text[opening.end() : opening.end() + 1] == "?":
            raise _unread(_UNREAD.get(self._text[self._at : self._at + 3], "flags"), self._text)
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _unread(f"more than {_DEEPEST} groups in each other", self._text)
        self._at = opening.end()
        part = self._either()
        if self._next() != ")":
            raise _unread("no regular expression", self._text)
        self._at += 1
        self._depth -= 1
        return part

    def _set(self) -> Part:
        start, text = self._at, self._text
        stop = start + (2 if text.startswith("[^", start) else 1)
        stop += text.startswith("]", stop)  # the first one is a character of the set
        while text[stop : stop + 1] not in ("", "]"):
            stop += 2 if text[stop] == "\\" else 1
        self._at = stop + 1
        return Char(self._test(text[start : stop + 1]))

    def _escaped(self) -> Part:
        char = self._next()
        self._at += 1
        if char == "b":
            return Edge("b")
        if char.isdecimal():
            raise _unread("a backreference", self._text)
        if char.isalpha() and char not in "dDwWsSnrtfv":
            raise _unread(f"\\{char}", self._text)
        return Char(self._test(f"\\{char}"))

    def _test(self, text: str) -> Test:
        """Of one character, `re` may be asked: it has no ways to try."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = re.compile(text).fullmatch
        except re.error as error:
            raise _unread("no regular expression", self._text) from error
        return lambda char: found(char) is not None


def _is_no_break(char: str) -> bool:
    return char != "\n"
