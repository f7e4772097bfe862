"""Suggestions for unknown names."""

from __future__ import annotations

import pytest

from wsredis.config.names import closest, suggestion
from wsredis.config.options import option_names

KNOWN = ["origins", "expire", "max_connections", "max_connections_per_user"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("orgins", "origins"),
        ("expires", "expire"),
        ("max_connection", "max_connections"),
        ("max_connections_per_usr", "max_connections_per_user"),
        ("origins", "origins"),
        ("zzz", None),
        ("", None),
    ],
)
def test_the_closest_name_is_found_if_one_is_close(written: str, meant: str | None) -> None:
    assert closest(written, KNOWN) == meant


def test_how_close_it_must_be_can_be_said() -> None:
    assert closest("max_con", KNOWN) == "max_connections"
    assert closest("max_con", KNOWN, 0.8) is None
    assert closest("orgins", KNOWN, 0.9) == "origins"
    assert closest("orgins", KNOWN, 1.0) is None


def test_where_there_is_nothing_nothing_is_close() -> None:
    assert closest("origins", []) is None


def test_what_is_close_is_suggested() -> None:
    assert suggestion("orgins", KNOWN) == "did you mean 'origins'?"
    assert suggestion("orgins", KNOWN, str.upper) == "did you mean ORIGINS?"


def test_where_nothing_is_close_all_there_are_are_told() -> None:
    told = "write one of origins, expire, max_connections, max_connections_per_user."
    assert suggestion("zzz", KNOWN) == told
    assert suggestion("zzz", KNOWN, str.upper) == told


@pytest.mark.parametrize("name", option_names())
def test_an_option_without_one_of_its_letters_is_recognised(name: str) -> None:
    assert closest(name[:-2] + name[-1], option_names()) == name
