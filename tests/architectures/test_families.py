"""The family files themselves: what a new one must keep to."""

from __future__ import annotations

import ast
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest
from architectures.tables import COMPILED, compiled, tables

from bitfit_probe.architectures import ROLES, families
from bitfit_probe.architectures import family as family_module
from bitfit_probe.architectures.family import load_families, load_generic

TABLES = {name: table for name, table in tables().items() if name != "generic"}
#: Roles that arise from others by rule, in heuristics.py.
BY_RULE = {"xqkv", "LN"}


def test_the_families_are_those_of_the_folder():
    assert COMPILED.read_text("utf-8") == compiled(), "run `make families`"
    assert families() == tuple(TABLES)


@pytest.mark.parametrize("name", families())
def test_entries_are_documented(name):
    documented = {
        word.strip(",")
        for line in (family_module.__doc__ or "").splitlines()
        if line.startswith("    ")
        for word in line[4:22].replace("[", " ").replace("]", " ").split()
    }
    documented.add("key_bias_unless")
    assert set(TABLES[name]) <= documented


@pytest.mark.parametrize("key", ["model_types", "classes"])
def test_nothing_names_two_families(key):
    counts = Counter(kind for table in TABLES.values() for kind in table.get(key, ()))
    assert [kind for kind, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("name", families())
def test_roles_are_documented(name):
    family = load_families()[name]
    entries = [entry for same in family.entries.values() for entry in same]
    assert {entry.role for entry in entries if not entry.is_buffer} <= set(ROLES)
    parts = {role for layouts in family.fused.values() for f in layouts for role, _ in f.parts}
    assert parts <= set(ROLES)


def test_no_role_is_left_over():
    used = {
        entry.role
        for family in load_families().values()
        for same in family.entries.values()
        for entry in same
    }
    used |= {part.role for family in load_families().values() for part in family.model_parts if part.role}
    used |= set(load_generic()["roles"])
    assert set(ROLES) - used == BY_RULE - used


@pytest.mark.parametrize("name", families())
def test_references_lead_somewhere(name):
    """Layouts, ties and split forms speak of modules that the family has."""
    family = load_families()[name]
    templates = {entry.template for same in family.entries.values() for entry in same}
    assert set(family.fused) <= templates
    for layouts in family.fused.values():
        for layout in layouts:
            assert set((layout.split or {}).values()) <= templates
            figures = {layout.groups, *(count for _, count in layout.parts)}
            assert {figure for figure in figures if isinstance(figure, str)} <= set(family.figures)
    for tied, target in family.tied.items():
        assert target.rpartition(".")[0] in templates or target.partition(".")[0] in family.heads
        assert tied != target


#: Files that may name a family, and why.
MAY_NAME = {
    "checkpoint/formats/gguf.py": "llama.cpp's own names, and what its converter does to tensors",
    "promises/artefacts/settings_beside.py": "names of files that sentence-transformers once wrote",
}


def test_no_module_names_a_family():
    """What is known of a family is in its file: a new one takes no change of code."""
    names = set(families()) | {kind for table in TABLES.values() for kind in table["model_types"]}
    root = Path(str(files("bitfit_probe")))
    found = {}
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        if strings & names:
            found[path.relative_to(root).as_posix()] = strings & names
    assert set(found) == set(MAY_NAME), found


def test_every_family_that_classifies_texts_says_how():
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

    known = set(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)
    expected = {name for name, table in TABLES.items() if known & set(table["model_types"])}
    assert {name for name, table in TABLES.items() if "classifier" in table} == expected
