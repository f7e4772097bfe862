"""The requested channels in a query string."""

from __future__ import annotations

import pytest

from wsredis.access.requests import ChannelRequest, parse_channel_request


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ChannelRequest(())),
        ("subscribe-broadcast", ChannelRequest(("subscribe-broadcast",))),
        (
            "publish-user&subscribe-group&echo",
            ChannelRequest(("publish-user", "subscribe-group"), echo=True),
        ),
        (
            "subscribe-user&Heartbeat=1&echo",
            ChannelRequest(("subscribe-user",), echo=True, heartbeat=True),
        ),
        ("subscribe-user&x=heartbeat", ChannelRequest(("subscribe-user",))),
        ("subscribe-user&subscribe-user=", ChannelRequest(("subscribe-user",))),
        ("Subscribe-Broadcast=no&ECHO=0", ChannelRequest(("subscribe-broadcast",), echo=True)),
        ("%20subscribe%2Dsession%0A", ChannelRequest(("subscribe-session",))),
        ("token=secret&utm_source=x&&=", ChannelRequest(())),
        ("x=subscribe-broadcast", ChannelRequest(())),
        ("%ff&%", ChannelRequest(())),
    ],
)
def test_a_request_is_read_from_the_keys_of_a_query(query: str, expected: ChannelRequest) -> None:
    assert parse_channel_request(query) == expected


@pytest.mark.parametrize("key", ["subscribe-", "subscribe-all", "publish-users", "publish-%00"])
def test_a_misspelt_key_is_refused_with_what_to_write(key: str) -> None:
    with pytest.raises(ValueError, match="write subscribe- or publish- followed by one of broad"):
        parse_channel_request(f"subscribe-broadcast&{key}")


def test_a_refused_key_is_shown_short_and_on_one_line() -> None:
    with pytest.raises(ValueError, match="Unknown query key") as refused:
        parse_channel_request("publish-%0d%0a" + "x" * 5000)
    assert len(str(refused.value)) < 250
    assert str(refused.value).isprintable()


def test_of_a_long_key_the_beginning_is_quoted_and_what_to_write_stands_behind_it() -> None:
    with pytest.raises(ValueError, match="Unknown") as refused:
        parse_channel_request("subscribe-" + "x" * 1000)
    assert str(refused.value) == (
        f"Unknown query key 'subscribe-{'x' * 54}': write subscribe- or publish- followed by one of"
        " broadcast, user, group, session."
    )


def test_requests_are_shared_and_so_cannot_be_changed() -> None:
    request = parse_channel_request("subscribe-user")
    for name in ("requested", "echo", "anything"):
        with pytest.raises((AttributeError, TypeError)):
            setattr(request, name, ())
    assert not hasattr(request, "__dict__")
    assert parse_channel_request("subscribe-user").requested == ("subscribe-user",)
