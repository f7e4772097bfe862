"""All tests and options that SECURITY.md and docs/security.md name exist, with their defaults."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from wsredis import Config

ROOT = Path(__file__).parent.parent
PROMISES = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
CLAUSES = dict(
    re.findall(
        r"^## (\d+)\. .*?\n(.*?)(?=^## |\Z)",
        (ROOT / "docs" / "security.md").read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
)
DEFAULTS = {field.name: repr(field.default) for field in fields(Config)}


@cache
def names_in(path: str) -> set[str]:
    """Return the names of the tests of a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return {name for name in found if name.startswith("test_")}


def test_the_clauses_are_in_order_and_none_is_missing() -> None:
    assert [int(number) for number in CLAUSES] == [*range(1, len(CLAUSES) + 1)]


@pytest.mark.parametrize("clause", CLAUSES)
def test_each_clause_names_its_servers_and_tests_that_exist(clause: str) -> None:
    named = re.findall(r"^- `(tests/[\w/]+\.py)::(\w+)`$", CLAUSES[clause], re.MULTILINE)
    assert named
    assert len(named) == CLAUSES[clause].count("\n- ")
    assert "Servers: " in CLAUSES[clause]
    for path, name in named:
        assert name in names_in(path), f"{path} has no {name}"


@pytest.mark.parametrize("clause", CLAUSES)
def test_each_option_of_a_clause_has_that_default(clause: str) -> None:
    for name, default in re.findall(r"`(\w+)=([^`]+)`", CLAUSES[clause]):
        assert DEFAULTS[name] == default, name


def test_the_defaults_of_the_promises_are_the_real_ones() -> None:
    named = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", PROMISES, re.MULTILINE))
    assert len(named) > 12
    assert named == {name: DEFAULTS[name] for name in named}
