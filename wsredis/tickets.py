"""Signed one-time tickets: a view issues one, and a websocket shows it as its identity.

For pages whose cookies do not reach the websocket, or that have none. A ticket tells nobody
anything: it is a random number, the second of its end and a signature (HMAC-SHA256, RFC 2104). Whom
it stands for is stored in Redis, signed too, under a hash of that number; whoever takes it there
first has it. Where in a handshake a ticket stands is the business of
`wsredis.identity.credentials`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import asdict

from .brokers import store_for
from .config import Config, current_config
from .exceptions import BrokerUnavailable, ConfigurationError, HandshakeError, PermissionDenied
from .identity import ANONYMOUS, Identity
from .identity.base import Request
from .identity.credentials import presented
from .protocol.http import RETRY_SOON, TICKET

__all__ = ["MAX_SECONDS", "TicketResolver", "issue_ticket"]

MAX_SECONDS = 300
"""The longest that a ticket may live."""

_ID, _END, _SIGNATURE = 16, 4, 16  # bytes; together no rest in base64
_FORM = re.compile(r"[A-Za-z0-9_-]{48}")


def issue_ticket(
    identity: Identity | str, *, seconds: int = 30, config: Config | None = None
) -> str:
    """Return a ticket that gives one websocket an identity; call it in a view.

    The answer that carries it must not be cached: ``Cache-Control: no-store``.

    Args:
        identity: whom it stands for, or the name of a user without groups and session.
        seconds: how long it lives, 1 to 300.
        config: where Redis is, the key prefix and the ``secret``; by default what
            `wsredis.configure` has set, else the environment.

    Raises:
        BrokerUnavailable: Redis does not answer.
        ConfigurationError: there is no ``secret``.
        ValueError: it would stand for nobody, or ``seconds`` are too few or too many.
    """
    who = Identity(identity) if isinstance(identity, str) else identity
    if not who:
        raise ValueError("a ticket stands for somebody, not for nobody")
    if type(seconds) is not int or not 1 <= seconds <= MAX_SECONDS:
        raise ValueError(f"seconds takes whole seconds from 1 to {MAX_SECONDS}, not {seconds!r}")
    stamp = _Stamp(config)
    body = secrets.token_bytes(_ID) + (int(time.time()) + seconds).to_bytes(_END)
    content = json.dumps(asdict(who)).encode()
    stamp.store.put(stamp.key(body), stamp.sign(b"content", body + content) + content, seconds)
    return urlsafe_b64encode(body + stamp.sign(b"ticket", body)).decode()


class TicketResolver:
    """A resolver that trusts a ticket, once.

    A handshake without one is nobody's; one whose ticket does not hold is refused.

    Args:
        query: name of the query parameter in which it may come; None for no such way.
        subprotocol: whether it may come as the sub-protocol behind ``wsredis.ticket``.
        config: as for `issue_ticket`.

    Raises:
        ConfigurationError: there is no ``secret``.
    """

    def __init__(
        self,
        *,
        query: str | None = "ticket",
        subprotocol: bool = True,
        config: Config | None = None,
    ) -> None:
        self._query = query
        self._marker = TICKET if subprotocol else None
        self._stamp = _Stamp(config)

    def __call__(self, request: Request, /) -> Identity:
        ticket = presented(request.environ, marker=self._marker, query=self._query)
        if ticket is None:
            return ANONYMOUS
        try:
            return self._stamp.take(ticket)
        except BrokerUnavailable as exc:
            text = "The message broker is unavailable; try again."
            raise HandshakeError(503, text, RETRY_SOON) from exc


class _Stamp:
    """The signatures of tickets and of what they stand for."""

    def __init__(self, config: Config | None) -> None:
        config = config if config is not None else current_config()
        if config.secret is None:
            raise ConfigurationError(
                "Tickets need the option secret, the same for all processes: set WSREDIS_SECRET to"
                " what this prints: python -c 'import secrets; print(secrets.token_hex())'."
            )
        self.store = store_for(config)
        self._prefix = config.key_prefix
        self._secret = config.secret.encode()

    def key(self, body: bytes) -> str:
        """Return where the content is stored; from there nobody finds back to the ticket."""
        name = f"ticket:{hashlib.sha256(body).hexdigest()}"
        return f"{self._prefix}:{name}" if self._prefix else name

    def sign(self, purpose: bytes, data: bytes) -> bytes:
        """Sign for one purpose and one key prefix: another site's tickets are none of ours."""
        context = b"wsredis %b %b\0" % (purpose, self._prefix.encode())
        return hmac.digest(self._secret, context + data, "sha256")[:_SIGNATURE]

    def take(self, ticket: str) -> Identity:
        """Return whom a ticket stands for, and end it.

        Raises:
            BrokerUnavailable: Redis does not answer.
            PermissionDenied: it does not hold; the text says why, and never shows it.
        """
        if not _FORM.fullmatch(ticket):
            raise PermissionDenied("This is no ticket.")
        whole = urlsafe_b64decode(ticket)
        body, signature = whole[: _ID + _END], whole[_ID + _END :]
        if not hmac.compare_digest(signature, self.sign(b"ticket", body)):
            raise PermissionDenied("This ticket was not issued here.")
        stored = self.store.take(self.key(body))
        if stored is None:
            over = time.time() >= int.from_bytes(body[_ID:])
            raise PermissionDenied(f"This ticket has {'expired' if over else 'been used'}.")
        signature, content = stored[:_SIGNATURE], stored[_SIGNATURE:]
        if not hmac.compare_digest(signature, self.sign(b"content", body + content)):
            raise PermissionDenied("This ticket was not issued here.")
        return Identity(**json.loads(content))
