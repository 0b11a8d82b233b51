"""`Frozen` beside what it stands for: the same class as ``dataclass(frozen=True)`` makes it."""

import copy
import dataclasses
import pickle
from dataclasses import dataclass, field

import pytest

from bitfit_probe.frozen import Frozen


class Point(Frozen):
    """A place."""

    x: int
    y: tuple[int, ...] = ()
    label: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Twin:
    """A place."""

    x: int
    y: tuple[int, ...] = ()
    label: str = field(default="", compare=False, repr=False)


class Other(Frozen, eq=False):
    x: int


PLACES = [(1,), (1, (2,)), (1, (2,), "a"), (2, (), "b")]


@pytest.mark.parametrize("given", PLACES)
def test_it_shows_and_hashes_as_a_dataclass_does(given):
    ours, theirs = Point(*given), Twin(*given)
    assert repr(ours).replace("Point", "Twin") == repr(theirs)
    assert hash(ours) == hash(theirs)
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert [item.name for item in dataclasses.fields(ours)] == ["x", "y", "label"]


@pytest.mark.parametrize("one", PLACES)
@pytest.mark.parametrize("two", PLACES)
def test_it_is_equal_where_a_dataclass_is(one, two):
    assert (Point(*one) == Point(*two)) == (Twin(*one) == Twin(*two))
    assert Point(*one) != Twin(*one)


def test_where_asked_only_one_object_equals_itself():
    one = Other(1)
    assert one == one
    assert one != Other(1)
    assert len({one, Other(1)}) == 2


@pytest.mark.parametrize("cls", [Point, Twin])
def test_nothing_is_changed_added_or_deleted(cls):
    point = cls(1)
    for name in ("x", "label", "new"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(point, name, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point.x
    assert dataclasses.asdict(point) == {"x": 1, "y": (), "label": ""}


def test_copies_are_equal():
    point = Point(1, (2,), "a")
    assert dataclasses.replace(point, x=3) == Point(3, (2,))
    for copied in (copy.copy(point), copy.deepcopy(point), pickle.loads(pickle.dumps(point))):
        assert copied == point
        assert copied.label == "a"


def test_it_matches_by_position():
    match Point(1, (2,)):
        case Point(x, y):
            assert (x, y) == (1, (2,))


def test_a_record_that_holds_itself_is_shown():
    point = Point(1, [])
    point.y.append(point)
    assert repr(point).endswith("y=[...])")
