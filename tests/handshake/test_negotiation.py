"""The negotiation of the subprotocol and of permessage-deflate."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from wsredis.config import Config
from wsredis.handshake import negotiation

from .support import refused, shake


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("chat.v2", "chat.v2"),
        ("other, chat.v2,chat.v1", "chat.v2"),
        ("chat.v1", "chat.v1"),
        ("CHAT.v1", None),
        ("other", None),
        ("", None),
        (None, None),
        ("chat.v1\r\nX-Evil: 1", None),
    ],
)
def test_the_first_subprotocol_is_chosen_that_is_spoken_here(
    offered: str | None, chosen: str | None
) -> None:
    settled = shake(
        Config(subprotocols=("chat.v1", "chat.v2")), HTTP_SEC_WEBSOCKET_PROTOCOL=offered
    )
    assert settled.subprotocol == chosen
    answer = dict(settled.answer(settled.subprotocol, ()))
    assert answer.get("Sec-WebSocket-Protocol") == chosen


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("anything, chat.v1", "anything"),
        ("chat\r\nX-Evil: 1", None),
        ("two words, chat.v1", "chat.v1"),
        ("", None),
        (None, None),
    ],
)
def test_with_a_star_the_first_offered_valid_name_is_chosen(
    offered: str | None, chosen: str | None
) -> None:
    settled = shake(Config(subprotocols=("*",)), HTTP_SEC_WEBSOCKET_PROTOCOL=offered)
    assert settled.subprotocol == chosen
    answer = dict(settled.answer(settled.subprotocol, ()))
    assert answer.get("Sec-WebSocket-Protocol") == chosen


def test_without_a_list_no_subprotocol_is_chosen() -> None:
    assert shake(HTTP_SEC_WEBSOCKET_PROTOCOL="chat.v1").subprotocol is None


@pytest.mark.parametrize(
    ("offers", "bits"),
    [
        ("permessage-deflate", 15),
        ("permessage-deflate; client_max_window_bits", 15),
        ("permessage-deflate; server_max_window_bits=10", 10),
        ("permessage-deflate; server_max_window_bits=9; client_max_window_bits=8", 9),
        ("other, permessage-deflate; server_no_context_takeover", 15),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", 15),
        ("permessage-deflate; unknown, permessage-deflate; server_max_window_bits=12", 12),
        # Empty parameters are none (RFC 9110, 5.6.6).
        ("permessage-deflate;", 15),
        ("permessage-deflate ; ", 15),
        ("permessage-deflate;;", 15),
        ("permessage-deflate; server_max_window_bits=10;", 10),
        ("permessage-deflate;; server_max_window_bits=10", 10),
        ("permessage-deflate; unknown;, permessage-deflate; server_max_window_bits=12;", 12),
        ("other;, permessage-deflate", 15),
    ],
)
def test_compression_is_agreed_on_without_context_takeover(offers: str, bits: int) -> None:
    settled = shake(HTTP_SEC_WEBSOCKET_EXTENSIONS=offers)
    assert settled.window_bits == bits
    name, *parameters = dict(settled.headers)["Sec-WebSocket-Extensions"].split("; ")
    assert name == "permessage-deflate"
    assert {"server_no_context_takeover", "client_no_context_takeover"} <= set(parameters)
    assert (f"server_max_window_bits={bits}" in parameters) is (bits != 15)


@pytest.mark.parametrize(
    "offers",
    [
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; unknown=1",
        "x-webkit-deflate-frame",
        "x-webkit-deflate-frame;",
        None,
        "",
    ],
)
def test_an_offer_that_cannot_be_met_is_passed_over(offers: str | None) -> None:
    settled = shake(HTTP_SEC_WEBSOCKET_EXTENSIONS=offers)
    assert settled.window_bits == 0
    assert "Sec-WebSocket-Extensions" not in dict(settled.headers)


def test_a_window_too_small_for_zlib_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    small = SimpleNamespace(local_max_window_bits=8)
    agreeing = SimpleNamespace(
        name="permessage-deflate", process_request_params=lambda asked, accepted: ([], small)
    )
    monkeypatch.setattr(negotiation, "_DEFLATE", agreeing)
    assert shake(HTTP_SEC_WEBSOCKET_EXTENSIONS="permessage-deflate").window_bits == 0


def test_compression_can_be_turned_off() -> None:
    settled = shake(Config(compression=False), HTTP_SEC_WEBSOCKET_EXTENSIONS="permessage-deflate")
    assert settled.window_bits == 0
    assert len(settled.headers) == 3


@pytest.mark.parametrize(
    "offers",
    [
        ";",
        ";permessage-deflate",
        "permessage-deflate; =",
        "permessage-deflate; server_max_window_bits=;",
        "a b",
        "=",
        "permessage-deflate\r\n",
    ],
)
def test_extensions_that_cannot_be_parsed_are_400(offers: str) -> None:
    assert refused(HTTP_SEC_WEBSOCKET_EXTENSIONS=offers).status == 400
