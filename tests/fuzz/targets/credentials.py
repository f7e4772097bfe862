"""A credential is read from the allowed places, once, and is never taken for a subprotocol."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_plus

from hypothesis import strategies as st

from wsredis.exceptions import PermissionDenied
from wsredis.identity.credentials import presented
from wsredis.protocol.http import CHECKED_ORIGIN, MARKERS, TICKET, TOKEN, split_offers

from ._requests import environ, requests

WAYS: tuple[dict[str, Any], ...] = (
    {"marker": TICKET},
    {"marker": TOKEN},
    {"query": "ticket"},
    {"header": True},
    {"cookie": "token"},
)


def check(data: bytes) -> None:
    """Hold that any request has one credential, none, or is refused with `PermissionDenied`.

    What is found stands where it was looked for. Two are never one: with every way open the answer
    is that of the only way that has one. A cookie counts only with an origin that was let in. No
    marker and nothing behind one is left among the subprotocols that may be chosen.
    """
    request = environ(data)
    names, marker, credential = split_offers(request)
    offered = [offer.strip() for offer in request.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(",")]
    assert not set(names) & set(MARKERS)
    assert names == offered if marker is None else [*names, marker] == offered[: len(names) + 1]
    assert credential == ",".join(offered[len(names) + 1 :])
    check_ways(request)
    check_ways({**request, CHECKED_ORIGIN: "https://a.example"})


def check_ways(request: dict[str, Any]) -> None:
    """Look in each place alone, and in all that one resolver may look into."""
    found = [look(request, way) for way in WAYS]
    for way, value in zip(WAYS, found, strict=True):
        if isinstance(value, str):
            check_place(request, way, value)
    if not request.get(CHECKED_ORIGIN):
        assert not isinstance(found[-1], str)
    for index, marker in enumerate((TICKET, TOKEN)):
        every = {key: value for way in WAYS for key, value in way.items()} | {"marker": marker}
        used = [found[index], *found[2:]]
        there = [value for value in used if value is not None]
        expected = None if not there else there[0] if len(there) == 1 else PermissionDenied
        assert look(request, every) == expected


def look(request: dict[str, Any], ways: dict[str, Any]) -> str | type[PermissionDenied] | None:
    """Return what is found, or the refusal."""
    try:
        return presented(request, **ways)
    except PermissionDenied:
        return PermissionDenied


def check_place(request: dict[str, Any], way: dict[str, Any], value: str) -> None:
    """Find a credential again where it was said to stand."""
    if "query" in way:
        assert value in unquote_plus(request["QUERY_STRING"])
    elif "header" in way:
        assert value in request["HTTP_AUTHORIZATION"]
    elif "cookie" in way:
        assert value in request.get("HTTP_COOKIE", "")
    else:
        assert split_offers(request)[1:] == (way["marker"], value)


_QUERIES = st.lists(
    st.sampled_from(["ticket=abc", "ticket", "%74icket=a%2Bb", "subscribe-user", "ticket=%ff+"])
    | st.text("ticket=&%+;a", max_size=12),
    max_size=3,
).map("&".join)
INPUTS = requests(
    _QUERIES.map("GET /ws/?".__add__),
    Sec_WebSocket_Protocol=["wsredis.ticket, abc", "chat.v1,wsredis.token,d", "chat.v1"],
    Authorization=["Bearer abc", "bearer", "Basic YTpi"],
    Cookie=["token=abc", 'a=b; token="d"', "token=a;token=b"],
)
