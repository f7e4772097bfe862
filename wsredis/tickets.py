"""Signed one-time tickets: a view issues a ticket, and a websocket presents it to be identified.

For pages whose cookies do not reach the websocket, or that have none. A ticket reveals nothing: it
is a random number, its times of issue and expiry and a signature (HMAC-SHA256, RFC 2104). The
identity is stored in Redis under a hash of these, signed as well; the first handshake that presents
the ticket takes it from there. `wsredis.identity.credentials` finds the ticket in a handshake.

A ticket before its signature::

    9 bytes  random
    7 bytes  time of issue, in microseconds since the epoch
    4 bytes  expiry time, in seconds since the epoch

Older tickets have 16 random bytes instead of the first two. They count as issued at the earliest
possible time, `MAX_SECONDS` before their expiry. Older processes accept the new ones.
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
from typing import Any

from .brokers import store_for
from .config import SHARED, Config, current_config
from .exceptions import BrokerUnavailable, ConfigurationError, HandshakeError, PermissionDenied
from .identity import ANONYMOUS, CONFIG, Identity
from .identity.base import Request
from .identity.credentials import presented
from .identity.revocation import MAX_AGE
from .protocol.http import RETRY_SOON, TICKET

__all__ = ["MAX_SECONDS", "TicketResolver", "issue_ticket"]

MAX_SECONDS = MAX_AGE
"""The longest lifetime of a ticket, in seconds."""

_RANDOM, _ISSUED, _END, _SIGNATURE = 9, 7, 4, 16  # bytes; their sum needs no padding in base64
_BODY = _RANDOM + _ISSUED + _END
_FORM = re.compile(r"[A-Za-z0-9_-]{48}")


def issue_ticket(
    identity: Identity | str, *, seconds: int = 30, config: Config | None = None
) -> str:
    """Return a ticket that gives one websocket an identity; call it in a view.

    The HTTP response that contains the ticket must not be cached: ``Cache-Control: no-store``.

    Args:
        identity: the identity, or the name of a user without groups and session.
        seconds: lifetime of the ticket, 1 to 300.
        config: gives the URL of Redis, the key prefix and the ``secret``; by default the options
            set with `wsredis.configure`, else those of the framework, else those of the first
            middleware of this process, else the environment.

    Raises:
        BrokerUnavailable: Redis does not answer.
        ConfigurationError: the option ``secret`` is not set, or ``config`` is needed because
            middleware of this process has other values.
        ValueError: the identity is anonymous, or ``seconds`` is out of range.
    """
    who = Identity(identity) if isinstance(identity, str) else identity
    if not who:
        raise ValueError("a ticket cannot be anonymous: give it a user, a group or a session")
    if type(seconds) is not int or not 1 <= seconds <= MAX_SECONDS:
        raise ValueError(f"seconds must be whole seconds from 1 to {MAX_SECONDS}, not {seconds!r}")
    stamp = _Stamp(config)
    now = time.time()
    issued, end = int(now * 1e6).to_bytes(_ISSUED), (int(now) + seconds).to_bytes(_END)
    body = secrets.token_bytes(_RANDOM) + issued + end
    known = {name: value for name, value in asdict(who).items() if name != "issued"}
    content = json.dumps(known).encode()
    stamp.store.put(stamp.key(body), stamp.sign(b"content", body + content) + content, seconds)
    return urlsafe_b64encode(body + stamp.sign(b"ticket", body)).decode()


class TicketResolver:
    """A resolver that accepts a ticket once.

    A handshake without a ticket is anonymous; one with an invalid ticket is refused.

    Args:
        query: name of the query parameter that may contain the ticket, or None.
        subprotocol: whether the ticket may be the subprotocol after ``wsredis.ticket``.
        config: as for `issue_ticket`; by default the options of the middleware that serves the
            handshake.

    Raises:
        ConfigurationError: the option ``secret`` of ``config`` is not set; without ``config``, the
            middleware raises it when it is made.
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
        self._config = config
        self._stamp = None if config is None else _Stamp(config)

    def check_config(self, config: Config) -> None:
        """Check the options of the middleware that uses this resolver.

        Raises:
            ConfigurationError: the option ``secret`` is not set.
        """
        if self._config is None:
            self._stamp = _Stamp(config)

    def _stamp_for(self, environ: dict[str, Any]) -> _Stamp:
        """Return the signatures of the middleware that serves a handshake."""
        config = environ.get(CONFIG) if self._config is None else self._config
        stamp = self._stamp
        if stamp is None or stamp.config is not config:
            stamp = self._stamp = _Stamp(config)
        return stamp

    def __call__(self, request: Request, /) -> Identity:
        ticket = presented(request.environ, marker=self._marker, query=self._query)
        if ticket is None:
            return ANONYMOUS
        try:
            return self._stamp_for(request.environ).take(ticket)
        except BrokerUnavailable as exc:
            text = "The message broker is unavailable; try again."
            raise HandshakeError(503, text, RETRY_SOON) from exc


class _Stamp:
    """The signatures of tickets and of the stored identities."""

    def __init__(self, config: Config | None) -> None:
        if config is None:
            config = current_config((*SHARED, "secret"))
        self.config = config
        if config.secret is None:
            raise ConfigurationError(
                "Tickets need the option secret, the same in all processes. Set WSREDIS_SECRET to"
                " the output of: python -c 'import secrets; print(secrets.token_hex())'."
            )
        self.store = store_for(config)
        self._prefix = config.key_prefix
        self._secret = config.secret.encode()

    def key(self, body: bytes) -> str:
        """Return the key of the stored identity; the ticket cannot be derived from it."""
        name = f"ticket:{hashlib.sha256(body).hexdigest()}"
        return f"{self._prefix}:{name}" if self._prefix else name

    def sign(self, purpose: bytes, data: bytes) -> bytes:
        """Sign for one purpose and one key prefix, so that tickets of another site are refused."""
        context = b"wsredis %b %b\0" % (purpose, self._prefix.encode())
        return hmac.digest(self._secret, context + data, "sha256")[:_SIGNATURE]

    def take(self, ticket: str) -> Identity:
        """Return the identity of a ticket and invalidate the ticket.

        Raises:
            BrokerUnavailable: Redis does not answer.
            PermissionDenied: the ticket is not valid; the text says why and never contains it.
        """
        if not _FORM.fullmatch(ticket):
            raise PermissionDenied("The ticket is malformed.")
        whole = urlsafe_b64decode(ticket)
        body, signature = whole[:_BODY], whole[_BODY:]
        if not hmac.compare_digest(signature, self.sign(b"ticket", body)):
            raise PermissionDenied("The ticket was not issued by this site.")
        stored = self.store.take(self.key(body))
        if stored is None:
            over = time.time() >= _times(body)[1]
            ended = "expired" if over else "already been used"
            raise PermissionDenied(f"The ticket has {ended}. Request a new one.")
        signature, content = stored[:_SIGNATURE], stored[_SIGNATURE:]
        if not hmac.compare_digest(signature, self.sign(b"content", body + content)):
            raise PermissionDenied("The ticket was not issued by this site.")
        return Identity(**json.loads(content), issued=_times(body)[0])


def _times(body: bytes) -> tuple[float, float]:
    """Return when a ticket was issued and when it expires, as Unix times.

    About one in 10**8 older tickets has random bytes that could be a time of issue.
    """
    end = int.from_bytes(body[-_END:])
    issued = int.from_bytes(body[_RANDOM:-_END]) / 1e6
    earliest = end - MAX_SECONDS
    return (issued if earliest <= issued <= end else earliest), end
