"""Whatever comes on the control channel is an order that can be carried out, or is left alone."""

from __future__ import annotations

import json
import logging

from hypothesis import strategies as st

from wsredis.frames import MAX_REASON, encode_close
from wsredis.identity import ANONYMOUS, Identity
from wsredis.message import decode
from wsredis.revocation import CODES, Revocation, read_order
from wsredis.validity import Validity

CHANNEL = "ws:control"


class _Said(logging.Handler):
    """Keep what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


_said = _Said()
_log = logging.getLogger("wsredis.revocation")
_log.addHandler(_said)
_log.propagate = False


def check(data: bytes) -> None:
    """Hold that bytes give an order or None, that None is logged in one line, and nothing raises.

    An order can be sent again and carried out, names somebody whom nobody unknown equals, and has
    a code and a reason that fit into a close frame.
    """
    _said.lines.clear()
    message = decode(CHANNEL, data)
    order = read_order(message)
    if order is None:
        (line,) = _said.lines
        assert line.isprintable()
        assert len(line) < 500
        return
    assert not _said.lines
    assert read_order(decode(CHANNEL, order.encode())) == order
    Validity(lambda: (), 10.0).catch_up(message)
    close = encode_close(order.code, order.reason)
    assert order.code in CODES
    assert len(close) <= 4 + MAX_REASON
    assert close[4:].decode() == order.reason
    check_whom(order)


def check_whom(order: Revocation) -> None:
    """Ask whom an order means."""
    named = Identity(order.user, (order.group,) if order.group else (), order.session)
    assert order.matches(named)
    assert not order.matches(ANONYMOUS)
    for name in ("user", "session"):
        if getattr(order, name):
            other = getattr(order, name) + "x"
            whom = {"user": named.user, "session": named.session, name: other}
            assert not order.matches(Identity(**whom, groups=named.groups))


_NAMES = st.none() | st.text(max_size=6) | st.sampled_from(["alice", "\ud800", 7, [], {}])
_ORDERS = st.fixed_dictionaries(
    {"user": _NAMES},
    optional={
        "group": _NAMES,
        "session": _NAMES,
        "code": st.sampled_from(sorted(CODES)) | st.integers() | st.floats() | st.booleans(),
        "reason": st.text(max_size=130) | st.none(),
        "at": st.integers() | st.floats() | st.just(10**400) | st.none(),
        "a\r\nb": st.none(),
    },
)
INPUTS = _ORDERS.map(json.dumps).map(str.encode) | st.binary(max_size=30)
