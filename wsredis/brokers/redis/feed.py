"""The feed over Redis: one link at a time, which is re-established whenever it is lost.

The feed knows the channels of its hub, so that a new link subscribes to all of them, and it
publishes the messages of websockets in order. `broker` passes in the function that connects.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import gevent
from gevent.event import Event

from ...exceptions import BrokerUnavailable, WrongServer
from ...message import Message, decode
from ...runtime.logs import get_logger
from ..base import UNLIMITED, Deliver
from ..copies import OPTION, OutputLimit
from ..stats import FeedStats
from .asking import Asking
from .link import Answer, Link, LinkLost, Socket
from .outgoing import Outgoing, ignore
from .resp import ReplyError
from .retained import SMALL, Retained
from .watch import Watch

__all__ = ["Connection", "RedisFeed"]

log = get_logger("wsredis.brokers.redis")

_jitter = random.SystemRandom().uniform  # forked workers must not reconnect at the same time

BACKOFF_START, BACKOFF_MOST = 0.05, 2.0
"""Maximum seconds before the first reconnection attempt, and before any attempt."""

SUBSCRIBE_AT_ONCE = 500
"""Channels in one SUBSCRIBE after a reconnect."""

LOGGED_AT_ONCE = 1000
"""Messages of a log in one reply."""


class Connection(Protocol):
    """A connection to Redis after its HELLO, with the run id of the server if that is known."""

    sock: Socket
    run_id: str | None

    def close(self) -> None: ...


class RedisFeed:
    """A feed of the messages in the channels that one hub subscribes to (see `Feed`).

    Args:
        connect: makes a connection, blocking only the greenlet; raises BrokerUnavailable.
        deadline: seconds of silence after which the link counts as lost.
        deliver: takes the messages of one read from Redis.
        fetch: reads the value of a key over another connection, None if there is none.
        watch: ends a link whose server is not the right one any more.
        envelope: whether binary gets an envelope, see `Config`.
        name: the server as errors name it.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        deadline: float,
        deliver: Deliver,
        fetch: Callable[[str], bytes | None],
        watch: Watch,
        envelope: bool = True,
        name: str = "Redis",
    ) -> None:
        self.stats = FeedStats()
        self._connect = connect
        self._deadline = deadline
        self.deliver = deliver
        self._envelope = envelope
        self._name = name
        self._channels: dict[str, ReplyError | None] = {}  # subscribed; the error if refused
        self._outgoing = Outgoing(self.stats)
        self._asking = Asking(deadline, name)
        self._retained = Retained(self._asking, fetch)
        self._watch = watch
        self._link: Link | None = None
        self._tried = Event()
        self._failed = False  # whether an attempt has failed since the link was lost
        self._greenlet = gevent.spawn(self._run)

    def subscribe(self, channels: Sequence[str], most: int = UNLIMITED) -> list[Message]:
        link = self._present()
        if self._retained.is_nothing(channels):
            return []
        # New channels, and refused ones, whose value is the error.
        new = [channel for channel in channels if self._channels.get(channel, True)]
        if new:
            for channel in new:  # a refused channel keeps its error until the reply
                self._channels.setdefault(channel)
            link.command(partial(self._confirm, new), "SUBSCRIBE", *new)
        found = self._retained.read(link, channels, most, track=not new)
        if (error := self._refusal(channels)) is not None:
            self._asking.check(error)
        return [decode(*pair, self._envelope) for pair in found]

    def logged(self, channel: str) -> list[Message]:
        # From the newest to the oldest, as messages that are appended meanwhile move the others:
        # some are then read twice, and none is skipped.
        link = self._present()
        parts: list[list[bytes]] = []
        while not parts or len(parts[-1]) == LOGGED_AT_ONCE:
            last = -1 - LOGGED_AT_ONCE * len(parts)
            words = "LRANGE", channel, last - LOGGED_AT_ONCE + 1, last
            reply = self._asking.ask(link, partial(_ask_after_pushes, link, words))
            if isinstance(reply, ReplyError) and str(reply).startswith("WRONGTYPE"):
                log.error("the key %s belongs to wsredis but is not a list: delete it", channel)
                return []
            parts.append(self._asking.check(reply))
        found = [payload for part in reversed(parts) for payload in part]
        return [decode(channel, payload, self._envelope) for payload in found]

    def _present(self) -> Link:
        """Return the link; wait for the first attempt to connect after it was lost."""
        if self._link is None and not self._failed:
            self._asking.wait(self._tried)
        if self._link is None:
            raise BrokerUnavailable(self._asking.failure)
        return self._link

    def _refusal(self, channels: Sequence[str]) -> ReplyError | None:
        """Return the error of the first channel that Redis refuses, or None."""
        for name in channels:
            if (error := self._channels.get(name)) is not None:
                return error
        return None

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
            self._link.command(ignore, "UNSUBSCRIBE", *channels)

    def refused(self) -> list[str]:
        return [name for name, error in self._channels.items() if error is not None]

    def publish(
        self, channels: Sequence[str], payload: bytes, expire: int, on_ack: Callable[[bool], None]
    ) -> None:
        self._outgoing.publish(channels, payload, expire, on_ack)

    def close(self) -> None:
        self._greenlet.kill()

    def _run(self) -> None:
        """Serve a link; when it is lost, reconnect with exponential backoff.

        Why Redis is unavailable is logged at the first attempt, and what is wrong with the server
        whenever it is something else.
        """
        attempts, wrong = 0, ""
        while True:
            attempted = False
            try:
                connection = self._connect()
            except BrokerUnavailable as exc:
                self._asking.failure = str(exc)
                is_new = attempts == 0
                if isinstance(exc, WrongServer):
                    is_new, wrong = str(exc) != wrong, str(exc)
                (log.warning if is_new else log.debug)("cannot connect, retrying: %s", exc)
            except Exception:  # for example of a credential provider; the feed must continue
                self._asking.failure = f"{self._name}: cannot connect, see the log"
                log.exception("cannot connect to %s, retrying", self._name)
            else:
                attempts, attempted, wrong = 0, True, ""
                try:
                    self._serve(connection)
                finally:
                    connection.close()
            self._failed = self._failed or not attempted
            self._tried.set()
            gevent.sleep(_jitter(0, min(BACKOFF_MOST, BACKOFF_START * 2**attempts)))
            attempts = min(attempts + 1, 10)
            self._tried.clear()

    def _serve(self, connection: Connection) -> None:
        link = Link(connection.sock, self._deadline, self._take, self._retained.changed)
        link.command(self._learn_limit, "CONFIG", "GET", OPTION)
        channels = list(self._channels)
        for start in range(0, len(channels), SUBSCRIBE_AT_ONCE):
            some = channels[start : start + SUBSCRIBE_AT_ONCE]
            last = some[-1] == channels[-1]
            link.command(partial(self._confirm_all, link, some, last), "SUBSCRIBE", *some)
        self._outgoing.attach(link)
        self._link = link
        self._failed = False
        if not channels:
            self._arrive()
        self._tried.set()
        watching = gevent.spawn(self._watch.run, link, connection.run_id)
        try:
            link.serve()
        except (OSError, ValueError, LookupError) as exc:
            self._asking.failure = f"{self._name}: the connection was lost"
            log.warning("lost Redis, messages may be missed until it is back: %s", exc)
        finally:
            watching.kill()
            self._link = None
            self._outgoing.detach()
            self._retained.reset()
            self.stats.connected = False
            self.stats.count_gap()

    def _learn_limit(self, reply: Any) -> None:
        """Learn what Redis lets wait for a subscriber; it may not permit the question."""
        if isinstance(reply, list) and len(reply) == 2:
            with suppress(ValueError):  # of a server that has other classes
                limit = self._outgoing.limit = OutputLimit.read(reply[1].decode())
                self._retained.at_once = max(1, limit.at_once // SMALL)

    def _take(self, pushed: list[tuple[bytes, bytes]]) -> Iterator[None]:
        try:
            messages = [decode(c.decode(), payload, self._envelope) for c, payload in pushed]
            self._retained.changed(message.channel for message in messages)
            yield from self.deliver(messages)
        except Exception:
            log.exception("messages could not be delivered")
            self.stats.count_gap()


def _ask_after_pushes(link: Link, words: Sequence[str | int], answer: Answer) -> None:
    link.command(answer, *words, after_pushes=True)
