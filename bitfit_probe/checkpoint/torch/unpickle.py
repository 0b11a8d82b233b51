"""Read what a pickle describes without ever running what it names.

A pickle is a program for a small stack machine. `describe` walks that program, with the argument readers
of `pickletools`, and builds plain Python values only: a global is a `Global` record, a call
of one is an `Inert` record that keeps its arguments, and nothing is imported or called. The few
globals that a state dict needs are understood by name (`_CALLS`); everything else stays inert.
A program that names something whose only use in a pickle is to run code is refused outright.

References
----------
The machine: `pickletools` in the standard library. What ``torch.save`` writes:
``torch/_utils.py`` (``_rebuild_*``) and ``torch/serialization.py`` (persistent ids).
"""

from __future__ import annotations

import io
import pickle
import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitfit_probe.errors import CorruptError, TruncatedError, UnsafeError
from bitfit_probe.frozen import Frozen

__all__ = [
    "Described",
    "Global",
    "Inert",
    "StorageRef",
    "TensorRef",
    "attributes_of",
    "describe",
    "is_rebuilt",
]


@dataclass(frozen=True, slots=True)
class Global:
    """A name that the pickle would import; here it is a name only."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Inert:
    """An object of a class that is not understood, with what was given to it.

    `args` are those of its construction, `state` what it was restored from, `entries` what was put into it
    as into a dict.
    """

    __slots__ = ("args", "entries", "state", "what")

    def __init__(self, what: Global, args: Any) -> None:
        self.what = what
        self.args = args
        self.state: Any = None
        self.entries: dict[Any, Any] = {}


def attributes_of(value: Inert) -> dict[Any, Any]:
    """What an object's ``__dict__`` was restored from; empty where its class keeps its state otherwise."""
    state = value.state
    if isinstance(state, tuple) and len(state) == 2:  # with __slots__: the dict, then the slots
        state = state[0]
    return state if isinstance(state, dict) else {}


def is_rebuilt(value: Any) -> bool:
    """Whether it is a tensor of a kind (sparse, quantised, a subclass) that only torch can rebuild."""
    return isinstance(value, Inert) and value.what.name.startswith("_rebuild")


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A storage that the pickle points to by its persistent id.

    Attributes
    ----------
    kind
        Name of its class without ``Storage``: ``Float``, ``BFloat16``, ``Untyped`` …
    key
        Name of its bytes in the container.
    count
        Number of elements (of bytes for ``Untyped``).
    offset
        First element within the bytes of `key`; legacy files know views of storages.
    """

    kind: str
    key: str
    count: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A strided window on a storage, in elements; `dtype` only where the storage has none."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str | None = None


class Described(Frozen):
    """What a pickle describes: its root object, and every storage that it points to, by key."""

    root: Any
    storages: dict[str, StorageRef]


#: Axes that every version of numpy can hold.
_MAX_AXES = 32
#: More than any of torch's own calls takes.
_MAX_ARGUMENTS = 16
#: About fifty a tensor: 19,000 for BERT-large. Each may make an object a hundred times its own size.
_MAX_OPCODES = 1 << 21
#: Different classes and functions that one pickle names; a whole training state names some dozens.
_MAX_GLOBALS = 1 << 14
#: Modules that have no business in a checkpoint but to run code when it is loaded.
_RUNS_CODE = frozenset(
    "asyncio bdb cProfile cgitb code codeop commands ctypes distutils doctest ensurepip ftplib http httplib "  # noqa: SIM905
    "idlelib imp importlib lib2to3 linecache marshal multiprocessing nt os pdb pickle _pickle pip pkgutil "
    "platform posix profile pty pydoc requests runpy shutil signal site smtplib socket socketserver ssl "
    "subprocess sys telnetlib threading timeit trace urllib urllib2 venv webbrowser xmlrpc zipimport "
    "_posixsubprocess".split()
)
#: Without getattr and functools.partial: enums of Python 3.11 and saved hyperparameters need them, and
#: they can do harm only with another global, which is then refused itself.
_RUNS_CODE_NAMES = frozenset(
    {
        *(("builtins", name) for name in ("eval", "exec", "compile", "open", "setattr")),
        *(("builtins", name) for name in ("__import__", "apply", "execfile", "input", "breakpoint")),
        ("operator", "attrgetter"),
        ("operator", "methodcaller"),
        ("operator", "itemgetter"),
        ("functools", "reduce"),
        ("types", "FunctionType"),
        ("types", "CodeType"),
        ("torch", "load"),
        ("torch.serialization", "load"),
        ("numpy", "load"),
        ("torch.hub", "load"),
        ("torch.utils.cpp_extension", "load"),
    }
)


def _refuse_code(what: Global, path: Path) -> None:
    module = "builtins" if what.module == "__builtin__" else what.module
    if module.split(".")[0] in _RUNS_CODE or (module, what.name) in _RUNS_CODE_NAMES:
        raise UnsafeError(
            f"the pickle inside would run {what} when loaded (nothing was run)",
            advice="don't load this file; get the weights as .safetensors from a source you trust",
            path=path,
        )


def _integers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or len(value) > _MAX_AXES:
        raise ValueError("a shape or stride is not a short sequence")
    if not all(type(item) is int and item.bit_length() < 64 for item in value):
        raise ValueError("a shape or stride is not made of whole numbers of 64 bits")
    return tuple(value)


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> TensorRef:
    if not isinstance(storage, StorageRef) or type(offset) is not int:
        raise ValueError("a tensor without a storage")
    return TensorRef(storage, offset, _integers(shape), _integers(strides))


def _rebuild_v2(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any = None, hooks: Any = None, view: Any = None
) -> TensorRef | Inert:
    if view:  # a lazily negated or conjugated view: its bytes are not its values
        return Inert(Global("torch._utils", "_rebuild_tensor_v2"), (storage, offset, shape, strides, view))
    return _rebuild(storage, offset, shape, strides)


def _rebuild_v3(
    storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, dtype: Any, view: Any = None
) -> TensorRef | Inert:
    ref = _rebuild_v2(storage, offset, shape, strides, view=view)
    if isinstance(ref, Inert):
        return ref
    if not isinstance(dtype, Global):
        raise ValueError("a tensor without a dtype")
    return TensorRef(ref.storage, ref.offset, ref.shape, ref.strides, dtype.name)


def _rebuild_from_type(function: Any, _type: Any, args: Any, *_: Any) -> Any:
    # A tensor with attributes of its own: the tensor is what matters here.
    return _call(function, args)


def _mapping(*args: Any) -> dict[Any, Any]:
    # OrderedDict() or OrderedDict([(key, value), …]); defaultdict(factory) starts empty as well.
    out: dict[Any, Any] = {}
    if args and isinstance(args[-1], list):
        for key, value in args[-1]:
            out[_key(key)] = value
        args[-1].clear()  # the pairs move: a list shared by a million calls must not fill the memory
    return out


_CALLS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _mapping,
    ("collections", "defaultdict"): _mapping,
    ("torch._utils", "_rebuild_tensor"): _rebuild,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_v3,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *_: data,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
    # Sets are lists here; the very list, as a set of it may be called for a million times.
    **dict.fromkeys(
        [(module, name) for module in ("builtins", "__builtin__") for name in ("set", "frozenset")],
        lambda *args: args[0] if args and isinstance(args[0], list) else [],
    ),
    ("torch", "Size"): lambda *args: _integers(args[0]) if args else (),
    ("torch.nn.parameter", "Parameter"): lambda *args: args[0] if args else None,
}


def _call(function: Any, args: Any) -> Any:
    arguments = args if isinstance(args, tuple) else ()
    if not isinstance(function, Global):
        return Inert(Global("?", "?"), arguments)
    known = _CALLS.get((function.module, function.name))
    if known is None:
        return Inert(function, arguments)
    if len(arguments) > _MAX_ARGUMENTS:  # each call would copy them, and a million calls may share them
        raise ValueError(f"{function} is called with {len(arguments):,} arguments")
    return known(*arguments)


def _key(value: Any) -> Any:
    """A dict key that is safe to hash: names and numbers as they are, the rest by identity."""
    return value if isinstance(value, (str, int, float, bytes, type(None), Inert)) else f"<{id(value)}>"


def _persistent(pid: Any) -> StorageRef | Global:
    if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module" and isinstance(pid[1], Global):
        return pid[1]  # a class of modules, of which legacy files keep the source code
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
        raise ValueError("an unknown kind of persistent id")
    kind, key, count = pid[1], pid[2], pid[4]
    if not isinstance(kind, Global) or not isinstance(key, str) or type(count) is not int:
        raise ValueError("a malformed storage")
    name = kind.name.removesuffix("Storage")
    view = pid[5] if len(pid) > 5 else None
    if view is None:
        return StorageRef(name, key, count)
    _, offset, size = view
    if type(offset) is not int or type(size) is not int:
        raise ValueError("a malformed view of a storage")
    return StorageRef(name, key, size, offset)


class _Machine:
    """The pickle machine's stack, marks and memo; one method an opcode that needs one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, StorageRef] = {}
        self.globals: dict[tuple[str, str], Global] = {}

    def run(self, data: io.BytesIO) -> Any:
        read = data.read
        for _ in range(_MAX_OPCODES):
            code = read(1)
            if code == pickle.STOP:
                return self.stack.pop()
            known = _OPCODES.get(code)
            if known is None:
                raise ValueError(f"opcode {code!r} has no place in a checkpoint" if code else _NO_STOP)
            argument, act = known
            act(self, argument(data) if argument is not None else None)
        raise ValueError(f"more than {_MAX_OPCODES:,} opcodes")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def _since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def op_mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def op_pop(self, _: Any) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def op_pop_mark(self, _: Any) -> None:
        self._since_mark()

    def op_dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    # Memo -------------------------------------------------------------------------------------
    def op_put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    op_binput = op_long_binput = op_put

    def op_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    op_binget = op_long_binget = op_get

    # Containers -------------------------------------------------------------------------------
    def op_tuple1(self, _: Any) -> None:
        self.stack[-1:] = [tuple(self.stack[-1:])]

    def op_tuple2(self, _: Any) -> None:
        self.stack[-2:] = [tuple(self.stack[-2:])]

    def op_tuple3(self, _: Any) -> None:
        self.stack[-3:] = [tuple(self.stack[-3:])]

    def op_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def op_list(self, _: Any) -> None:
        self.stack.append(self._since_mark())

    op_frozenset = op_list

    def op_dict(self, _: Any) -> None:
        items = self._since_mark()
        self.stack.append({_key(k): v for k, v in zip(items[::2], items[1::2], strict=True)})

    def op_append(self, _: Any) -> None:
        item = self.stack.pop()
        self._extend([item])

    def op_appends(self, _: Any) -> None:
        self._extend(self._since_mark())

    op_additems = op_appends

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)

    def op_setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def op_setitems(self, _: Any) -> None:
        self._update(self._since_mark())

    def _update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Inert):
            target = target.entries
        if isinstance(target, dict):
            target.update((_key(k), v) for k, v in zip(items[::2], items[1::2], strict=True))

    # Globals and calls ------------------------------------------------------------------------
    def _push_global(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a global whose name is no text")
        what = self.globals.get((module, name))
        if what is None:
            what = self.globals[module, name] = Global(module, name)
            _refuse_code(what, self.path)
            if len(self.globals) > _MAX_GLOBALS:
                raise ValueError(f"more than {_MAX_GLOBALS:,} classes and functions are named")
        self.stack.append(what)

    def op_global(self, arg: str) -> None:
        module, _, name = arg.partition(" ")
        self._push_global(module, name)

    def op_stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._push_global(module, name)

    def op_reduce(self, _: Any) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        self.stack.append(_call(function, args))

    op_newobj = op_reduce

    def op_newobj_ex(self, _: Any) -> None:
        _kwargs = self.stack.pop()
        self.op_reduce(None)

    def op_inst(self, arg: str) -> None:
        args = self._since_mark()
        self.op_global(arg)
        self.stack.append(_call(self.stack.pop(), tuple(args)))

    def op_obj(self, _: Any) -> None:
        function, *args = self._since_mark()
        self.stack.append(_call(function, tuple(args)))

    def op_build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Inert):
            self.stack[-1].state = state

    def op_binpersid(self, _: Any) -> None:
        found = _persistent(self.stack.pop())
        if isinstance(found, StorageRef):
            self.storages[found.key] = found
        self.stack.append(found)


_NO_STOP = "pickle exhausted before seeing STOP"
_PUSHES = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES "  # noqa: SIM905
    "BINBYTES8 BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT BINFLOAT".split()
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_MAKERS: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list}
_NOTHING = frozenset(("PROTO", "FRAME"))
_Act = Callable[[_Machine, Any], None]


def _act(name: str) -> _Act | None:
    """What the machine does at the opcode `name`; None where it has no place in a checkpoint."""
    if name in _PUSHES:
        return _Machine.push
    if name in _NOTHING:
        return lambda machine, _: None
    if name in _CONSTANTS:
        value = _CONSTANTS[name]
        return lambda machine, _: machine.stack.append(value)
    if name in _MAKERS:
        make = _MAKERS[name]
        return lambda machine, _: machine.stack.append(make())
    return getattr(_Machine, f"op_{name.lower()}", None)


#: By its byte, how an opcode's argument is read and what is done with it.
_OPCODES: dict[bytes, tuple[Callable[[Any], Any] | None, _Act]] = {
    opcode.code.encode("latin-1"): (opcode.arg.reader if opcode.arg else None, act)
    for opcode in pickletools.opcodes
    if (act := _act(opcode.name)) is not None
}
#: How `pickletools` says that its input ended within an opcode or between two.
_ENDS_TOO_EARLY = ("exhausted before", "not enough data", "remain", "no newline found")


def describe(data: io.BytesIO, path: Path) -> Described:
    """What the pickle at the position of `data` describes.

    Parameters
    ----------
    data
        The bytes; afterwards its position is behind the pickle's STOP.
    path
        The file that they came from, for messages.

    Returns
    -------
    Described
        Its root is made of dict, list, tuple, str, numbers, bytes, `TensorRef`, `StorageRef`, `Global`
        and `Inert`.

    Raises
    ------
    UnsafeError
        The pickle names something that would run code.
    TruncatedError
        The pickle ends too early.
    CorruptError
        The bytes are no well-formed pickle.
    """
    try:
        machine = _Machine(path)
        with warnings.catch_warnings():  # texts of old protocols may hold escapes that Python deprecates
            warnings.simplefilter("ignore")
            return Described(machine.run(data), machine.storages)
    except (ValueError, IndexError, KeyError, TypeError, RecursionError, OverflowError) as error:
        if any(phrase in str(error) for phrase in _ENDS_TOO_EARLY):
            raise TruncatedError(
                "the pickle inside ends too early", advice="copy or download it again", path=path
            ) from error
        raise CorruptError(
            f"the pickle inside is malformed ({error})",
            advice="save it again with torch.save or as .safetensors",
            path=path,
        ) from error
