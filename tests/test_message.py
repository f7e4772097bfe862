from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.local import LocalProxy

from wsredis.message import Data, Message, decode, dump, encode

# Any text that has a UTF-8 form, and any bytes.
DATA = st.text(st.characters(exclude_categories=["Cs"])) | st.binary()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


@given(DATA)
def test_what_is_encoded_comes_back(data: Data) -> None:
    message = decode("ws:broadcast:news", encode(data))
    assert message.channel == "ws:broadcast:news"
    assert message.data == data
    assert message.binary is isinstance(data, bytes)


@given(st.binary() | st.binary().map(b"\xff".__add__) | st.binary().map(b"\xffB".__add__))
def test_every_byte_string_stands_for_a_message(raw: bytes) -> None:
    message = decode("ws:broadcast:news", raw)
    assert isinstance(message.data, bytes if message.binary else str)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_travels_as_it_is(text: str) -> None:
    assert encode(text) == text.encode()


def test_no_text_begins_with_the_envelope_of_binary_messages() -> None:
    assert encode(b"\x00") == b"\xffB\x00"
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode()


@pytest.mark.parametrize("raw", [b"\xff", b"\xffA", b"\xff\xffB", b"\x80", b"caf\xe9", b"a\xffB"])
def test_what_others_publish_as_no_text_is_binary_as_it_stands(raw: bytes) -> None:
    assert decode("c", raw) == Message("c", raw, True)


@given(DATA)
def test_without_the_envelope_everything_travels_as_it_is(data: Data) -> None:
    raw = encode(data, envelope=False)
    assert raw == (data.encode() if isinstance(data, str) else data)
    message = decode("c", raw, envelope=False)
    assert message.payload == raw
    try:
        raw.decode()
    except UnicodeDecodeError:
        assert message.binary
    else:
        assert not message.binary


def test_without_the_envelope_its_bytes_mean_nothing() -> None:
    assert decode("c", b"\xffBx", envelope=False) == Message("c", b"\xffBx", True)


def test_text_without_utf8_form_cannot_be_encoded() -> None:
    with pytest.raises(
        ValueError, match=r"^the text cannot be encoded as UTF-8, because it contains surrogates"
    ):
        encode("\ud800")


@pytest.mark.parametrize(
    ("value", "dumped"),
    [
        ("hello", "hello"),
        ("", ""),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        ({"name": "Zoë", "n": [1, 2]}, '{"name":"Zoë","n":[1,2]}'),
        (None, "null"),
        (5, "5"),
        ([], "[]"),
    ],
)
def test_str_and_bytes_stay_and_all_else_becomes_json(value: Any, dumped: Data) -> None:
    assert dump(value) == dumped
    assert type(dump(value)) is type(dumped)


@given(JSON)
def test_json_comes_back_from_its_text(value: Any) -> None:
    dumped = dump(value)
    assert isinstance(dumped, str)
    assert json.loads(dumped) == value


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), [float("inf")], {(1, 2): 3}])
def test_what_json_does_not_know_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match=r"as it is not JSON-serializable: write str, bytes"):
        dump(value)


def test_a_value_that_contains_itself_is_a_type_error() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TypeError):
        dump(endless)


def test_the_value_without_a_json_form_is_named() -> None:
    for value in ({"at": datetime(2026, 1, 31)}, [{"n": [datetime(2026, 1, 31)]}]):
        kind = type(value).__name__
        says = f"cannot publish this {kind}, as a value in it of type datetime is not JSON-serial"
        with pytest.raises(TypeError, match=says):
            dump(value)
    says = "cannot publish this datetime, as it is not .* override the method to_json of Publisher"
    with pytest.raises(TypeError, match=says):
        dump(datetime(2026, 1, 31))


def test_an_encoder_may_be_given() -> None:
    at = datetime(2026, 1, 31)
    assert dump({"at": at}, lambda value: json.dumps(value, default=str)) == (
        '{"at": "2026-01-31 00:00:00"}'
    )
    for text in ("text", b"bytes"):
        assert dump(text, json.dumps) == text


def test_the_string_behind_a_proxy_is_text() -> None:
    proxy: Any = LocalProxy(lambda: "hello")
    assert dump(proxy) == "hello"
    assert type(dump(proxy)) is str
