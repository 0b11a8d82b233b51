"""How the code is built, counted: ``python -m benchmarks.structure [ROOT] [--long] [--wide]``.

Prints modules and their lengths, functions over 40 lines, public functions over six parameters outside the
command line, and import cycles. ROOT is a package's folder: an older checkout can be put beside this one.
"""

from __future__ import annotations

import argparse
import ast
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Function", "cycles", "functions", "imports", "main"]

_HERE = Path(__file__).parents[1] / "bitfit_probe"
#: From which on a function counts as long (lines), and as wide (parameters).
LONG, WIDE = 40, 6


@dataclass(frozen=True)
class Function:
    """A function or method: where it stands, its lines without the docstring, and its parameters."""

    module: str
    name: str
    lines: int
    lines_with_docstring: int
    parameters: int
    public: bool


def functions(root: Path) -> Iterator[Function]:
    """Every function of the package in `root`; methods count without ``self``."""
    for path, module in _modules(root):
        tree = ast.parse(path.read_text("utf-8"))
        hidden = any(part.startswith("_") and part != "__init__" for part in module.split("."))
        for owner, node in _definitions(tree):
            whole = (node.end_lineno or node.lineno) - node.lineno + 1
            text = ast.get_docstring(node, clean=False)
            names = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([name for name in names if name.arg not in ("self", "cls")])
            public = not hidden and not node.name.startswith("_") and not (owner or "").startswith("_")
            name = f"{owner}.{node.name}" if owner else node.name
            without = whole - (text.count("\n") + 1 if text is not None else 0)
            yield Function(module, name, without, whole, count, public)


def _modules(root: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        yield path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _definitions(tree: ast.Module) -> Iterator[tuple[str | None, ast.FunctionDef | ast.AsyncFunctionDef]]:
    def inside(node: ast.AST, owner: str | None) -> Iterator[tuple[str | None, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            yield owner, child
            yield from inside(child, child.name if isinstance(child, ast.ClassDef) else owner)

    for owner, node in inside(tree, None):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield owner, node


def imports(root: Path, *, at_start_only: bool = False) -> dict[str, set[str]]:
    """Which module of the package imports which, also inside functions unless `at_start_only`.

    Imports for annotations (``if TYPE_CHECKING``) do not count, and ``from room import part`` is an import of
    the part alone where that is a module.
    """
    known = {module for _, module in _modules(root)}

    def imported(path: Path) -> Iterator[str]:
        for room, part in _imported(ast.parse(path.read_text("utf-8")), at_start_only):
            yield f"{room}.{part}" if f"{room}.{part}" in known else room

    return {module: (set(imported(path)) & known) - {module} for path, module in _modules(root)}


def _imported(tree: ast.AST, at_start_only: bool) -> Iterator[tuple[str, str]]:
    """What is imported from where; the name is empty where a module is imported as a whole."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and at_start_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.module, alias.name) for alias in node.names)
        else:
            yield from _imported(node, at_start_only)


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected parts with more than one module (Tarjan 1972), sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            part = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(part) > 1:
                found.append(sorted(part))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return sorted(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("root", nargs="?", type=Path, default=_HERE)
    parser.add_argument("--long", action="store_true", help="name the functions over 40 lines")
    parser.add_argument("--wide", action="store_true", help="name the public functions over six parameters")
    given = parser.parse_args(arguments)
    lengths = sorted(path.read_text("utf-8").count("\n") for path, _ in _modules(given.root))
    every = list(functions(given.root))
    lines = sorted(function.lines_with_docstring for function in every)
    print(f"modules {len(lengths)}: lines {sum(lengths)}, median {statistics.median(lengths):.0f}, ", end="")
    print(f"90 % up to {lengths[int(0.9 * len(lengths))]}, longest {lengths[-1]}")
    print(f"functions {len(every)}: median {statistics.median(lines):.0f} lines, ", end="")
    print(f"90 % up to {lines[int(0.9 * len(lines))]}")
    long = [function for function in every if function.lines > LONG]
    print(f"over {LONG} lines without the docstring: {len(long)}")
    _name(long if given.long else [], lambda item: item.lines)
    outside = [f for f in every if f.public and f.parameters > WIDE and ".cli" not in f.module]
    print(f"public functions over {WIDE} parameters, outside the command line: {len(outside)}")
    _name(outside if given.wide else [], lambda item: item.parameters)
    for label, at_start in (("at import", True), ("at import or later", False)):
        circles = cycles(imports(given.root, at_start_only=at_start))
        print(
            f"import cycles, {label}: {len(circles)}", *(f"  {' '.join(part)}" for part in circles), sep="\n"
        )


def _name(chosen: Sequence[Function], size: object) -> None:
    for item in sorted(chosen, key=size, reverse=True):  # type: ignore[arg-type]
        print(f"  {size(item):4d} {item.module}:{item.name}")  # type: ignore[operator]


if __name__ == "__main__":
    main()
