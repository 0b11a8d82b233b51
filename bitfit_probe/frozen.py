"""Frozen records whose classes cost little to define.

For each class, ``dataclass(frozen=True)`` writes six functions and compiles them. All but ``__init__`` can be
the same for every class: a hundred classes then take a quarter of the time, which was half of what the
command line took to start. What is made by the thousand, one a tensor, stays a dataclass, whose objects are
made faster.
"""

from __future__ import annotations

from dataclasses import Field, FrozenInstanceError, dataclass, field
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from typing import dataclass_transform
else:  # Python 3.10 lacks it, and it does nothing at run time

    def dataclass_transform(**_: object) -> Any:
        return lambda cls: cls


__all__ = ["Frozen"]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Frozen:
    """A base whose subclasses are what ``dataclass(frozen=True)`` makes of a class.

    Parameters
    ----------
    eq
        Whether two are equal where their fields are; else only where they are one object.
    """

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls, *, eq: bool = True) -> None:
        super().__init_subclass__()
        cls.__doc__ = cls.__doc__ or cls.__name__  # else dataclass puts a signature together
        dataclass(repr=False, eq=False)(cls)
        if not eq:
            cls.__eq__, cls.__hash__ = object.__eq__, object.__hash__  # type: ignore[method-assign]

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dict__ or name not in self.__dataclass_fields__:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return _compared(self) == _compared(other)

    def __hash__(self) -> int:
        return hash(_compared(self))

    @recursive_repr()
    def __repr__(self) -> str:
        shown = (name for name, field in self.__dataclass_fields__.items() if field.repr)
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def _compared(record: Any) -> tuple[object, ...]:
    fields = record.__dataclass_fields__
    return tuple(getattr(record, name) for name, field in fields.items() if field.compare)
