"""A second interpreter of a process, into which gevent cannot be loaded."""

from __future__ import annotations

import importlib
import sys
from importlib.abc import MetaPathFinder

import pytest

import wsredis.runtime


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("Interpreter change detected - this module can only be loaded", "--single-interpreter"),
        ("module _gevent does not support loading in subinterpreters", "--single-interpreter"),
        ("No module named 'gevent'", "^No module named 'gevent'$"),
    ],
)
def test_the_error_names_the_option_of_uwsgi(
    error: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(MetaPathFinder):
        def find_spec(self, name: str, *args: object) -> None:
            if name == "gevent":
                raise ImportError(error)

    monkeypatch.setattr(sys, "meta_path", [Failing(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "gevent")
    with pytest.raises(ImportError, match=says):
        importlib.reload(wsredis.runtime)
