"""Requests as bytes: the inputs of targets that read an environ."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from hypothesis import strategies as st

__all__ = ["environ", "requests"]

# What a server says itself, written here like a header.
_SERVERS_OWN = {
    "REMOTE_ADDR": "REMOTE_ADDR",
    "SERVER_PROTOCOL": "SERVER_PROTOCOL",
    "URL_SCHEME": "wsgi.url_scheme",
}


def environ(data: bytes) -> dict[str, Any]:
    """Return the environ of a request that is written as in HTTP (RFC 9112), with bare newlines.

    It is as careless as the worst server (PEP 3333 leaves that open): a carriage return stays in
    its value, a folded line brings a newline into one, and doubled headers are joined.
    """
    first, *lines = data.decode("latin-1").split("\n")
    method, _, address = first.partition(" ")
    path, _, query = address.partition("?")
    found: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": unquote(path, "latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "a.example",
        "SERVER_PORT": "8000",
    }
    key = ""
    for line in lines:
        if line[:1] in (" ", "\t") and key:
            found[key] += f"\n{line}"
            continue
        name, _, value = line.partition(":")
        name = name.upper().replace("-", "_")
        key = _SERVERS_OWN.get(name, f"HTTP_{name}")
        value = value.strip(" \t")
        found[key] = f"{found[key]},{value}" if key in found else value
    found.setdefault("SERVER_PROTOCOL", "HTTP/1.1")
    found.setdefault("wsgi.url_scheme", "http")
    return found


def requests(first: st.SearchStrategy[str], **headers: list[str]) -> st.SearchStrategy[bytes]:
    """Return requests with some of these headers, and values that are at least similar to these."""
    anything = st.text(st.characters(max_codepoint=255), max_size=12)

    def similar(value: str) -> st.SearchStrategy[str]:
        at = st.integers(0, len(value))
        return st.builds(lambda i, j, new: value[:i] + new + value[j:], at, at, anything)

    lines = [
        st.tuples(
            st.just(name.replace("_", "-")),
            st.lists(
                st.sampled_from(values) | st.sampled_from(values).flatmap(similar) | anything,
                min_size=1,
                max_size=2,
            ).map(", ".join),
        ).map(": ".join)
        for name, values in headers.items()
    ]
    some = st.lists(st.one_of(lines), max_size=3)
    # Mostly what is good, in the order given, and then something more.
    good = st.lists(st.booleans(), min_size=len(headers), max_size=len(headers)).map(
        lambda wanted: [
            f"{name.replace('_', '-')}: {values[0]}"
            for (name, values), kept in zip(headers.items(), wanted, strict=True)
            if kept
        ]
    )
    return st.builds(
        lambda start, usual, more: "\n".join([start, *usual, *more]).encode("latin-1"),
        first,
        good,
        some,
    )
