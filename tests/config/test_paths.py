"""Paths of Python objects: both ways of writing, everywhere an option takes a path."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest

from wsredis.config.paths import import_path, split_path


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("collections.OrderedDict", OrderedDict),
        ("collections:OrderedDict", OrderedDict),
        ("os.path.join", __import__("os").path.join),
        ("os.path:join", __import__("os").path.join),
        ("pathlib:Path.cwd", Path.cwd),
    ],
)
def test_both_ways_of_writing(path: str, found: object) -> None:
    assert import_path(path) == found


@pytest.mark.parametrize(
    "path", ["", "name", ".name", ":name", "module:", "module.", "a/b.c", "a b.c", "a:b:c", "a..b"]
)
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match=r"neither 'module\.name' nor 'module:name'"):
        split_path(path)


@pytest.mark.parametrize("path", ["pathlib.Path.cwd", "no_such_module.x", "no_such_module:x"])
def test_a_module_that_does_not_exist(path: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        import_path(path)


@pytest.mark.parametrize("path", ["pathlib.no_such", "pathlib:no_such", "pathlib:Path.no_such"])
def test_a_name_that_does_not_exist(path: str) -> None:
    with pytest.raises(AttributeError):
        import_path(path)
