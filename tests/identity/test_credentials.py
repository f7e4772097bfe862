from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsredis.exceptions import PermissionDenied
from wsredis.identity.credentials import presented
from wsredis.protocol.http import MARKERS, TICKET, TOKEN, is_token, split_offers

ORIGIN = {"wsredis.origin": "https://a.example"}


def offering(text: str) -> dict[str, Any]:
    return {"HTTP_SEC_WEBSOCKET_PROTOCOL": text}


@pytest.mark.parametrize(
    ("offers", "names", "marker", "credential"),
    [
        ("", [""], None, ""),
        ("chat.v1, chat.v2", ["chat.v1", "chat.v2"], None, ""),
        ("wsredis.ticket, abc", [], TICKET, "abc"),
        ("chat.v1,wsredis.token,abc", ["chat.v1"], TOKEN, "abc"),
        ("chat.v1, wsredis.ticket", ["chat.v1"], TICKET, ""),
        # What follows is one credential, and so is worth nothing if it is several.
        ("wsredis.ticket, abc, chat.v1", [], TICKET, "abc,chat.v1"),
        ("wsredis.ticket, abc, wsredis.token, def", [], TICKET, "abc,wsredis.token,def"),
        ("WSREDIS.TICKET, abc", ["WSREDIS.TICKET", "abc"], None, ""),
    ],
)
def test_a_credential_stands_behind_its_marker(
    offers: str, names: list[str], marker: str | None, credential: str
) -> None:
    assert split_offers(offering(offers)) == (names, marker, credential)


@given(st.lists(st.sampled_from([*MARKERS, "chat.v1", "abc", "", " "]) | st.text(max_size=9)))
def test_no_credential_is_among_the_names_that_may_be_chosen(offers: list[str]) -> None:
    names, marker, _ = split_offers(offering(",".join(offers)))
    assert not set(names) & set(MARKERS)
    assert marker is None or (marker in MARKERS and is_token(marker))


def test_each_way_is_looked_at_only_if_it_is_asked_for() -> None:
    ways: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"marker": TICKET}, offering("chat.v1, wsredis.ticket, abc")),
        ({"query": "ticket"}, {"QUERY_STRING": "subscribe-user&ticket=abc"}),
        ({"header": True}, {"HTTP_AUTHORIZATION": "BEARER abc"}),
        ({"cookie": "c"}, {"HTTP_COOKIE": 'a=b;c="abc"; cc=d', **ORIGIN}),
    ]
    for asked, _ in ways:
        for other, environ in ways:
            assert presented(environ, **asked) == ("abc" if asked == other else None)
    for _, environ in ways:
        assert presented(environ) is None


def test_another_marker_is_none() -> None:
    assert presented(offering("wsredis.token, abc"), marker=TICKET) is None


def test_an_empty_one_is_one() -> None:
    assert presented({"QUERY_STRING": "ticket"}, query="ticket") == ""
    assert presented({"HTTP_AUTHORIZATION": "Bearer"}, header=True) == ""
    assert presented(offering("wsredis.ticket"), marker=TICKET) == ""


@pytest.mark.parametrize(
    "environ",
    [
        {"QUERY_STRING": "ticket=abc&ticket=abc"},
        {"QUERY_STRING": "ticket=abc&%74icket=def"},
        {"QUERY_STRING": "ticket=abc", **offering("wsredis.ticket, abc")},
        {"QUERY_STRING": "ticket", "HTTP_AUTHORIZATION": "Bearer abc"},
        {"HTTP_COOKIE": "c=abc; c=def", **ORIGIN},
    ],
)
def test_several_are_refused(environ: dict[str, Any]) -> None:
    with pytest.raises(PermissionDenied, match="one way only"):
        presented(environ, marker=TICKET, query="ticket", header=True, cookie="c")


@pytest.mark.parametrize(
    "origin", [{}, {"wsredis.origin": ""}, {"HTTP_ORIGIN": "https://a.example"}]
)
def test_a_cookie_counts_only_with_an_origin_that_was_let_in(origin: dict[str, str]) -> None:
    with pytest.raises(PermissionDenied, match="needs an Origin header"):
        presented({"HTTP_COOKIE": "c=abc", **origin}, cookie="c")
    assert presented({"HTTP_COOKIE": "d=abc", **origin}, cookie="c") is None
