"""A message on the control channel is a revocation that can be applied, or is ignored."""

from __future__ import annotations

import json
import logging

from hypothesis import strategies as st

from wsredis.hub.expiry import Expiry
from wsredis.identity import ANONYMOUS, Identity
from wsredis.identity.revocation import Revocation, read_revocation
from wsredis.message import Message, decode
from wsredis.protocol.closing import MAX_REASON, SENDABLE
from wsredis.protocol.frames import encode_close

CHANNEL = "ws:control"


class _Said(logging.Handler):
    """A log handler that stores the records."""

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
    """Hold that bytes give a revocation or a ValueError, which is logged in one line by a hub.

    Nothing else is raised. A revocation can be sent again and carried out, names somebody whom
    nobody unknown equals, and has a code and a reason that fit into a close frame.
    """
    _said.lines.clear()
    message = decode(CHANNEL, data)
    carry_out(message)
    try:
        revocation = read_revocation(message)
    except ValueError:
        for line in _said.lines:
            assert line.isprintable()
            assert len(line) < 500
        assert len(_said.lines) == 2  # once for each way on which it may come
        return
    assert not _said.lines
    assert read_revocation(decode(CHANNEL, revocation.encode())) == revocation
    close = encode_close(revocation.code, revocation.reason)
    assert revocation.code in SENDABLE
    assert len(close) <= 4 + MAX_REASON
    assert close[4:].decode() == revocation.reason
    check_whom(revocation)


def carry_out(message: Message) -> None:
    """Let a hub have it, just come and from the log."""
    expiry = Expiry(lambda: (), 10.0)
    assert sum(expiry.apply(message)) == sum(expiry.catch_up([message])) == 0


def check_whom(revocation: Revocation) -> None:
    """Ask whom a revocation means."""
    group = revocation.group
    named = Identity(revocation.user, (group,) if group else (), revocation.session)
    assert revocation.matches(named)
    assert not revocation.matches(ANONYMOUS)
    for name in ("user", "session"):
        if getattr(revocation, name):
            other = getattr(revocation, name) + "x"
            whom = {"user": named.user, "session": named.session, name: other}
            assert not revocation.matches(Identity(**whom, groups=named.groups))


_NAMES = st.none() | st.text(max_size=6) | st.sampled_from(["alice", "\ud800", 7, [], {}])
_REVOCATIONS = st.fixed_dictionaries(
    {"user": _NAMES},
    optional={
        "group": _NAMES,
        "session": _NAMES,
        "code": st.sampled_from(sorted(SENDABLE)) | st.integers() | st.floats() | st.booleans(),
        "reason": st.text(max_size=130) | st.none(),
        "at": st.integers() | st.floats() | st.just(10**400) | st.none(),
        "a\r\nb": st.none(),
    },
)
INPUTS = _REVOCATIONS.map(json.dumps).map(str.encode) | st.binary(max_size=30)
