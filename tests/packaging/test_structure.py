"""The counts of `python -m benchmarks.structure`, on a planted package."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.structure import cycles, functions, imports


def _plant(root: Path) -> Path:
    package = root / "planted"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text(
        "from planted.two import narrow\n\n\ndef wide(a, b, c, d, e, f, *, g):\n"
        '    """Two\n    lines."""\n    return narrow(a)\n'
    )
    (package / "two.py").write_text(
        "class Thing:\n    def method(self, a):\n        return a\n\n\n"
        "def narrow(a):\n    from planted.one import wide\n\n    return wide\n"
    )
    return package


def test_functions_are_counted_without_docstring_and_self(tmp_path: Path) -> None:
    found = {item.name: item for item in functions(_plant(tmp_path))}
    assert (found["wide"].parameters, found["wide"].lines, found["wide"].lines_with_docstring) == (7, 2, 4)
    assert found["Thing.method"].parameters == 1


def test_a_circle_through_a_late_import_counts_only_where_late_imports_do(tmp_path: Path) -> None:
    root = _plant(tmp_path)
    assert cycles(imports(root, at_start_only=True)) == []
    assert cycles(imports(root)) == [["planted.one", "planted.two"]]


@pytest.mark.parametrize("root", ["bitfit_probe", "benchmarks"])
def test_no_modules_import_each_other_in_a_circle_not_even_later(root: str) -> None:
    assert cycles(imports(Path(__file__).parents[2] / root)) == []
