"""What is done when messages may have been lost: nobody goes on as if nothing were.

A feed counts a gap before it delivers the first message behind it. Here the sockets are told before
that message reaches them, or a moment later where none comes. All of this runs on the hub's loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import gevent

from .brokers.base import Deliver, FeedStats
from .config import Config
from .exceptions import BrokerUnavailable
from .frames import CloseCode
from .listeners import TURN
from .logs import get_logger
from .message import Message
from .revocation import control_channel

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Gaps"]

log = get_logger("wsredis.gaps")


class Gaps:
    """Stand between a feed and its hub, and close who may have missed something.

    Args:
        config: its ``on_gap`` says whether sockets are closed.
        connections: gives all sockets of the process, joining ones too.
        deliver: the hub's; takes what has come.
        catch_up: carries out the orders that were missed; may block, raises BrokerUnavailable.

    Attributes:
        stats: the feed's, which is made after this.
    """

    def __init__(
        self,
        config: Config,
        connections: Callable[[], Iterable[Connection]],
        deliver: Deliver,
        catch_up: Callable[[], None],
    ) -> None:
        self.stats = FeedStats()
        self._closes = config.on_gap == "close"
        self._control = control_channel(config.key_prefix)
        self._connections = connections
        self._deliver = deliver
        self._catch_up = catch_up
        self._told = self._caught_up = 0  # gaps so far
        self._busy = False

    def deliver(self, messages: list[Message]) -> Iterator[None]:
        """Hand on what a feed has brought; behind a gap the sockets are told first."""
        if self._told == self.stats.gaps:
            return self._deliver(messages)
        return self._deliver_behind(messages)

    def _deliver_behind(self, messages: list[Message]) -> Iterator[None]:
        # An order says more than that something was lost, so whom it means hears only that.
        yield from self._deliver([m for m in messages if m.channel == self._control])
        yield from self._tell()
        yield from self._deliver([m for m in messages if m.channel != self._control])

    def fail(self) -> None:
        """Count a gap and tell all at once: what comes behind it may be on its way already."""
        self.stats.lose()
        for _ in self._tell():
            pass

    def look(self) -> None:
        """Do what is left to do after a gap; call it now and then."""
        done = self._told == self._caught_up == self.stats.gaps
        if not done and self.stats.connected and not self._busy:
            self._busy = True
            gevent.spawn(self._make_good)

    def _make_good(self) -> None:
        gaps = self.stats.gaps
        try:
            self._catch_up()
            self._caught_up = gaps
        except BrokerUnavailable as exc:  # again, when it is back
            log.warning("orders to disconnect could not be caught up: %s", exc)
        finally:
            for _ in self._tell():
                gevent.sleep(1e-6)
            self._busy = False

    def _tell(self) -> Iterator[None]:
        """Close who was there before the gap; yields where others may have their turn.

        Two may be at it: only who comes to the end knows that all have been told.
        """
        gaps, lost_at = self.stats.gaps, self.stats.lost_at
        if self._closes and self._told != gaps:
            there = [c for c in self._connections() if c.channels and c.since < lost_at]
            for start in range(0, len(there), TURN):
                for connection in there[start : start + TURN]:
                    connection.close(CloseCode.SERVICE_RESTART, "messages may have been lost")
                yield
        self._told = gaps
