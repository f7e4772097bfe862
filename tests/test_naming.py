from __future__ import annotations

import gc
import re
import unicodedata
import weakref
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsredis.config import Config
from wsredis.identity.revocation import control_channel
from wsredis.naming import (
    RESERVED_PREFIXES,
    Audience,
    channel_name,
    encode_name,
    loggable,
    printable,
)
from wsredis.tickets import _Stamp

# Characters that could make two names meet come often; lone surrogates come too.
TEXT = st.lists(
    st.sampled_from("ab:%2053A*?[]\\/ \n\0\x85\u2028\ud800é") | st.characters(categories=None)
).map("".join)
NAMED = [Audience.USER, Audience.GROUP, Audience.SESSION]
PLACES = st.tuples(st.just(Audience.BROADCAST), st.just(""), TEXT) | st.tuples(
    st.sampled_from(NAMED), TEXT.filter(bool), TEXT
)


def channel(place: tuple[Audience, str, str], prefix: str = "ws") -> str:
    audience, name, facility = place
    return channel_name(prefix, audience, facility, name)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("ws", Audience.BROADCAST, "news"), "ws:broadcast:news"),
        (("ws", Audience.USER, "news", "alice"), "ws:user:alice:news"),
        (("ws", Audience.GROUP, "news", "editors"), "ws:group:editors:news"),
        (("ws", Audience.SESSION, "news", "key-1"), "ws:session:key-1:news"),
        (("", Audience.BROADCAST, "news"), "broadcast:news"),
        (("", Audience.USER, "news", "alice"), "user:alice:news"),
        (("ws", Audience.BROADCAST, ""), "ws:broadcast:"),
        (("ws", Audience.USER, "a/b", "alice@example.com"), "ws:user:alice@example.com:a/b"),
        (("ws", Audience.USER, "a:b", "c:d"), "ws:user:c%3Ad:a%3Ab"),
    ],
)
def test_a_channel_is_named_after_prefix_audience_name_and_facility(
    arguments: tuple[str, Audience, str], name: str
) -> None:
    assert channel_name(*arguments) == name


@pytest.mark.parametrize("audience", NAMED)
def test_a_channel_of_somebody_needs_a_name(audience: Audience) -> None:
    with pytest.raises(ValueError, match=f"a {audience} channel needs the name of its {audience}"):
        channel_name("ws", audience, "news")


def test_a_broadcast_takes_no_name() -> None:
    with pytest.raises(ValueError, match="a broadcast channel has no name: leave out 'alice'"):
        channel_name("ws", Audience.BROADCAST, "news", "alice")


@given(PLACES, PLACES)
def test_no_two_identities_meet_in_one_channel(
    one: tuple[Audience, str, str], other: tuple[Audience, str, str]
) -> None:
    assert (channel(one) == channel(other)) is (one == other)
    assert (channel(one, "") == channel(other, "")) is (one == other)


@given(TEXT)
def test_an_encoded_name_is_another_one_for_each_name(name: str) -> None:
    assert unquote(encode_name(name), errors="surrogatepass") == name


@given(TEXT)
def test_an_encoded_name_holds_nothing_that_redis_or_a_log_could_misread(name: str) -> None:
    encoded = encode_name(name)
    assert not re.search(r"[\s:*?\[\]\\]|%(?![0-9A-F]{2})", encoded)
    assert all(ord(c) > 32 and not 127 <= ord(c) <= 160 for c in encoded)
    encoded.encode()


@pytest.mark.parametrize(
    "name", ["alice", "alice@example.com", "a/b", "..", "x-1_2.3~", "Zoë", "名"]
)
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert encode_name(name) == name


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("a:b", "a%3Ab"),
        ("100%", "100%25"),
        ("a b", "a%20b"),
        ("\0\r\n", "%00%0D%0A"),
        ("*?[]\\", "%2A%3F%5B%5D%5C"),
        ("\u2028", "%E2%80%A8"),
        ("\x85", "%C2%85"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_what_must_not_stand_in_a_channel_is_percent_encoded(name: str, encoded: str) -> None:
    assert encode_name(name) == encoded


@pytest.mark.parametrize(
    ("channel", "shown"),
    [
        ("ws:session:k1:news", "ws:session:***:news"),
        ("session:k1:", "session:***:"),
        ("a.b:session:k%3A1:a/b", "a.b:session:***:a/b"),
        ("ws:broadcast:news", "ws:broadcast:news"),
        ("ws:user:session:news", "ws:user:session:news"),
        ("session:user:alice:news", "session:user:alice:news"),
        ("ws:group:editors:session", "ws:group:editors:session"),
        ("of_somebodys_own", "of_somebodys_own"),
        ("ws:user:ali\u202eecil:news", "ws:user:ali%E2%80%AEecil:news"),
    ],
)
def test_a_log_shows_no_key_of_a_session(channel: str, shown: str) -> None:
    assert loggable(channel) == shown


def test_nothing_turns_a_line_of_a_log_around() -> None:
    # Unicode Standard Annex 9, table 4; the three marks have the class of a letter.
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for character in map(chr, range(0x110000)):
        turns = unicodedata.bidirectional(character) in turning or character in "\u200e\u200f\u061c"
        assert (loggable(character) != character) == turns, hex(ord(character))


def test_no_name_stays_behind_as_a_session_key_is_secret() -> None:
    class Key(str):
        pass

    key = Key("k3y")
    alive = weakref.ref(key)
    assert channel_name("ws", Audience.SESSION, "news", key) == "ws:session:k3y:news"
    del key
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("https://a.example:8443", "https://a.example:8443"),
        ("a b\r\n\x00\x7f\u00e4\ud800", "a%20b%0D%0A%00%7F%C3%A4%ED%A0%80"),
        ("a" * 100, "a" * 100),
        ("a" * 101, "a" * 97 + "..."),
        ("\u00e4" * 10_000, ("%C3%A4" * 17)[:97] + "..."),
    ],
)
def test_what_a_client_sent_is_quoted_short_and_in_printable_ascii(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(PLACES, st.sampled_from(["ws", "users", "a.b"]), PLACES)
def test_no_channel_with_a_prefix_equals_one_without_a_prefix(
    place: tuple[Audience, str, str], prefix: str, other: tuple[Audience, str, str]
) -> None:
    assert channel(place, "").partition(":")[0] in RESERVED_PREFIXES
    assert channel(other, prefix).partition(":")[0] not in RESERVED_PREFIXES


def test_neither_a_ticket_nor_the_control_channel_begins_with_another_word() -> None:
    assert control_channel("").partition(":")[0] in RESERVED_PREFIXES
    key = _Stamp(Config(key_prefix="", secret="x" * 32, redis="memory://")).key(b"")
    assert key.partition(":")[0] in RESERVED_PREFIXES
