"""The feed over Redis: one link at a time, which is re-established whenever it is lost.

The feed knows the channels of its hub, so that a new link subscribes to all of them, and it
publishes the messages of websockets in order. `broker` passes in the function that connects.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import gevent
from gevent.event import AsyncResult, Event

from ...exceptions import BrokerUnavailable
from ...message import decode
from ...runtime.logs import get_logger
from ..base import Deliver
from ..stats import FeedStats
from .link import Answer, Link, LinkLost, Socket
from .resp import ReplyError
from .retained import Retained

__all__ = ["Connection", "RedisFeed"]

log = get_logger("wsredis.brokers.redis")

_jitter = random.SystemRandom().uniform  # forked workers must not reconnect at the same time

BACKOFF_START, BACKOFF_MOST = 0.05, 2.0
"""Maximum seconds before the first reconnection attempt, and before any attempt."""

MAX_UNACKED = 64 * 2**20
"""Maximum bytes published by all websockets that Redis has not acknowledged; more are refused.

This is a safety net: reading from a single websocket pauses much earlier.
"""

OVERHEAD = 256
"""Bytes counted for a message besides its payload; while it waits it takes about a thousand."""

SUBSCRIBE_AT_ONCE = 500
"""Channels in one SUBSCRIBE after a reconnect."""


class Connection(Protocol):
    """A connection to Redis after its HELLO."""

    sock: Socket

    def close(self) -> None: ...


class RedisFeed:
    """A feed of the messages in the channels that one hub subscribes to (see `Feed`).

    Args:
        connect: makes a connection, blocking only the greenlet; raises BrokerUnavailable.
        deadline: seconds of silence after which the link counts as lost.
        deliver: takes the messages of one read from Redis.
        envelope: whether binary gets an envelope, see `Config`.
        name: the server as errors name it.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        deadline: float,
        deliver: Deliver,
        envelope: bool = True,
        name: str = "Redis",
    ) -> None:
        self.stats = FeedStats()
        self._connect = connect
        self._deadline = deadline
        self.deliver = deliver
        self._envelope = envelope
        self._name = name
        self._silent = f"{name}: no answer within {deadline:g} s"
        self._failure = self._silent  # why there is no link
        self._channels: dict[str, ReplyError | None] = {}  # subscribed; the error if refused
        self._retained = Retained()
        self._link: Link | None = None
        self._tried = Event()
        self._waiting: deque[Callable[[Link], None]] = deque()
        self._unacked = 0
        self._greenlet = gevent.spawn(self._run)

    def subscribe(self, channels: Sequence[str]) -> list[Any]:
        link = self._present()
        if self._retained.is_nothing(channels):
            return []
        # New channels, and refused ones, whose value is the error.
        new = [channel for channel in channels if self._channels.get(channel, True)]
        if new:
            for channel in new:  # a refused channel keeps its error until the reply
                self._channels.setdefault(channel)
            link.command(partial(self._confirm, new), "SUBSCRIBE", *new)
            reply = self._ask(partial(self._retained.read, link, channels))
        else:
            reply = self._ask(partial(self._retained.read_and_track, link, channels))
        reply = self._refusal(channels) or reply
        if reply is None or isinstance(reply, ReplyError):
            raise self._unavailable(reply)
        found = [pair for pair in zip(channels, reply, strict=True) if pair[1] is not None]
        return [decode(*pair, self._envelope) for pair in found]

    def logged(self, channel: str) -> list[Any]:
        link = self._present()
        words = "LRANGE", channel, 0, -1
        reply = self._ask(lambda answer: link.command(answer, *words, after_pushes=True))
        if reply is None or isinstance(reply, ReplyError):
            raise self._unavailable(reply)
        return [decode(channel, payload, self._envelope) for payload in reply]

    def _present(self) -> Link:
        """Wait for the first attempt and return the link."""
        if self._link is None:
            self._tried.wait(self._deadline)
        if self._link is None:
            raise BrokerUnavailable(self._failure)
        return self._link

    def _unavailable(self, error: ReplyError | None) -> BrokerUnavailable:
        """Return the exception for the reply to a command, None if there was none in time."""
        return BrokerUnavailable(self._silent if error is None else f"{self._name}: {error}")

    def _refusal(self, channels: Sequence[str]) -> ReplyError | None:
        """Return the error of the first channel that Redis refuses, or None."""
        return next((error for name in channels if (error := self._channels.get(name))), None)

    def _ask(self, send: Callable[[Answer], None]) -> Any:
        """Send a command and return its reply; None if there was none in time."""
        result: AsyncResult[Any] = AsyncResult()
        send(result.set)
        result.wait(self._deadline)
        return result.value

    def _confirm(self, channels: list[str], reply: Any) -> None:
        if isinstance(reply, LinkLost):
            return  # the next link subscribes to all channels
        error = reply if isinstance(reply, ReplyError) else None
        if error is not None:
            log.error("Redis refuses to subscribe to %d channels: %s", len(channels), error)
            self._retained.forget(channels)
        self._channels.update((name, error) for name in channels if name in self._channels)

    def _confirm_all(self, link: Link, channels: list[str], last: bool, reply: Any) -> None:
        """Handle the reply for several channels; if it is an error, subscribe to each by itself."""
        self._confirm(channels, reply)
        if isinstance(reply, LinkLost):
            return
        if isinstance(reply, ReplyError) and len(channels) > 1:
            for channel in self._channels.keys() & channels:
                link.command(partial(self._confirm, [channel]), "SUBSCRIBE", channel)
        if last:
            self._arrive()

    def _arrive(self) -> None:
        """Mark the feed as connected; messages published before may have been missed."""
        self.stats.connected = True
        if self.stats.gaps:
            self.stats.reconnects += 1
            log.warning("Redis is back; %d channels subscribed again", len(self._channels))

    def unsubscribe(self, channels: Sequence[str]) -> None:
        for channel in channels:
            self._channels.pop(channel, None)
        self._retained.forget(channels)
        if self._link is not None and channels:
            self._link.command(_ignore, "UNSUBSCRIBE", *channels)

    def refused(self) -> list[str]:
        return [name for name, error in self._channels.items() if error is not None]

    def publish(
        self, channels: Sequence[str], payload: bytes, expire: int, on_ack: Callable[[bool], None]
    ) -> None:
        size = (len(payload) + OVERHEAD) * len(channels)
        if self._unacked and self._unacked + size > MAX_UNACKED:
            self.stats.unpublished += 1
            on_ack(False)
            return
        self._unacked += size

        def take(reply: Any) -> None:
            self._unacked -= size
            published = not isinstance(reply, ReplyError)
            self.stats.unpublished += not published
            on_ack(published)

        send = partial(_send, tuple(channels), payload, expire, take)
        if self._link is None:
            self._waiting.append(send)
        else:
            send(self._link)

    def close(self) -> None:
        self._greenlet.kill()

    def _run(self) -> None:
        """Serve a link; when it is lost, reconnect with exponential backoff."""
        attempts = 0
        while True:
            try:
                connection = self._connect()
            except BrokerUnavailable as exc:
                self._failure = str(exc)
                (log.warning if attempts == 0 else log.debug)("cannot connect, retrying: %s", exc)
            except Exception:  # for example of a credential provider; the feed must continue
                self._failure = f"{self._name}: cannot connect, see the log"
                log.exception("cannot connect to %s, retrying", self._name)
            else:
                attempts = 0
                try:
                    self._serve(connection)
                finally:
                    connection.close()
            self._tried.set()
            gevent.sleep(_jitter(0, min(BACKOFF_MOST, BACKOFF_START * 2**attempts)))
            attempts = min(attempts + 1, 10)
            self._tried.clear()

    def _serve(self, connection: Connection) -> None:
        link = Link(connection.sock, self._deadline, self._take, self._retained.changed)
        channels = list(self._channels)
        for start in range(0, len(channels), SUBSCRIBE_AT_ONCE):
            some = channels[start : start + SUBSCRIBE_AT_ONCE]
            last = some[-1] == channels[-1]
            link.command(partial(self._confirm_all, link, some, last), "SUBSCRIBE", *some)
        while self._waiting:
            self._waiting.popleft()(link)
        self._link = link
        if not channels:
            self._arrive()
        self._tried.set()
        try:
            link.serve()
        except (OSError, ValueError, LookupError) as exc:
            self._failure = f"{self._name}: the connection was lost"
            log.warning("lost Redis, messages may be missed until it is back: %s", exc)
        finally:
            self._link = None
            self._retained.reset()
            self.stats.connected = False
            self.stats.count_gap()

    def _take(self, pushed: list[tuple[bytes, bytes]]) -> Iterator[None]:
        try:
            messages = [decode(c.decode(), payload, self._envelope) for c, payload in pushed]
            self._retained.changed(message.channel for message in messages)
            yield from self.deliver(messages)
        except Exception:
            log.exception("messages could not be delivered")
            self.stats.count_gap()


def _ignore(reply: Any) -> None:
    """Ignore a reply."""


def _send(
    channels: tuple[str, ...],
    payload: bytes,
    expire: int,
    on_ack: Callable[[Any], None],
    link: Link,
) -> None:
    """Publish to all channels or none, and retain in the same transaction.

    So a new subscriber gets the message exactly once. Only the last reply is evaluated: an error in
    a MULTI is repeated as the reply to EXEC.
    """
    if len(channels) == 1 and not expire:
        link.command(on_ack, "PUBLISH", channels[0], payload)
        return
    link.command(_ignore, "MULTI")
    for channel in channels:
        if expire:
            link.command(_ignore, "SET", channel, payload, "EX", expire)
        link.command(_ignore, "PUBLISH", channel, payload)
    link.command(on_ack, "EXEC")
