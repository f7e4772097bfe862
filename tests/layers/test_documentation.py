"""docs/layers.md lists the methods and options that there are, with their defaults."""

from __future__ import annotations

import inspect
import re

import pytest

import wsredis.layers
from wsredis.layers import InMemoryChannelLayer, RedisChannelLayer
from wsredis.layers.base import METHODS

from .support import ROOT

PAGE = (ROOT / "docs" / "layers.md").read_text(encoding="utf-8")


def test_every_option_is_documented_with_its_default() -> None:
    documented = {}
    for names, default in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.+?) \|", PAGE, re.MULTILINE):
        for name in re.findall(r"\w+", names):
            documented[name] = default.strip("`")
    real = inspect.signature(RedisChannelLayer).parameters
    assert documented.pop("hosts") == "the option `redis"
    assert documented == {
        name: "none" if option.default is None else repr(option.default).replace("'", '"')
        for name, option in real.items()
        if name != "hosts"
    }


def test_the_options_of_the_memory_layer_are_documented() -> None:
    options = [f"`{name}`" for name in inspect.signature(InMemoryChannelLayer).parameters]
    listed = f"{', '.join(options[:-1])} and {options[-1]}"
    assert f"`InMemoryChannelLayer` has {listed}." in PAGE


@pytest.mark.parametrize("kind", [InMemoryChannelLayer, RedisChannelLayer])
def test_every_method_is_documented_with_its_arguments(kind: type) -> None:
    documented = dict(re.findall(r"^\| `(\w+)\((.*?)\)` \|", PAGE, re.MULTILINE))
    assert set(documented) == set(METHODS)
    for name, arguments in documented.items():
        signature = inspect.signature(getattr(kind, name))
        real = [str(each.replace(annotation=each.empty)) for each in signature.parameters.values()]
        assert arguments.replace('"', "'") == ", ".join(real[1:]).replace(" = ", "=")


def test_the_exceptions_are_documented() -> None:
    for name in wsredis.layers.__all__:
        assert name in PAGE
