"""The migration page lists all settings with their defaults, and all public names."""

from __future__ import annotations

import ast
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import ws4redis
from ws4redis import settings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "django-websocket-redis.md"
TEXT = PAGE.read_text(encoding="utf-8")
INSIDE = {
    "apps",
    "checks",
    "configuration",
    "connection",
    "endpoint",
    "groups",
    "identity",
    "names",
    "proxy",
}


def test_the_table_of_settings_is_the_real_one() -> None:
    rows = dict(re.findall(r"^\| `(W\w+)` \| `(.+?)` \|", TEXT, re.MULTILINE))
    del rows["WSREDIS"]
    assert {name: ast.literal_eval(value) for name, value in rows.items()} == settings.DEFAULTS


def test_every_public_name_of_that_library_stands_in_the_table() -> None:
    for module in pkgutil.iter_modules(ws4redis.__path__):
        if module.name in INSIDE:
            continue
        found = import_module(f"ws4redis.{module.name}")
        assert f"`ws4redis.{module.name}" in TEXT
        for name in found.__all__:
            if name not in ("DEFAULTS", "Fresh", "WebsocketRunServer"):
                assert f"{name}`" in TEXT, name


def test_what_the_table_names_can_be_imported() -> None:
    names = re.findall(r"^\| `ws4redis\.([\w.]+)` \|", TEXT, re.MULTILINE)
    assert len(names) > 10
    for name in names:
        module, _, attribute = name.partition(".")
        found = import_module(f"ws4redis.{module}")
        assert not attribute or hasattr(found, attribute)
