"""The handling of gaps: subscribers that may have missed messages are closed.

A feed counts a gap before it delivers the first message after it. From then on it delivers through
`Gaps`, until all subscribers from before the gap are closed. At all other times it delivers
directly to the hub. All of this runs on the hub's loop.

Invariants:

* ``_told`` <= ``stats.gaps``. The feed delivers directly to the hub only while the two are equal.
* ``_caught_up`` <= ``stats.gaps``: the log of revocations was read after that many gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import gevent

from ..brokers.base import Feed
from ..config import Config
from ..exceptions import BrokerUnavailable
from ..identity.revocation import control_channel
from ..message import Message
from ..protocol.closing import MESSAGES_LOST
from ..runtime.logs import get_logger
from ..runtime.loop import NEXT_TURN
from .steps import in_steps
from .subscriber import Subscriber

__all__ = ["Gaps"]

log = get_logger("wsredis.gaps")


class Gaps:
    """The gaps of a feed, and the closing of subscribers that may have missed messages.

    Args:
        config: its ``on_gap`` says whether subscribers are closed.
        feed: the feed of the hub; its ``deliver`` is replaced after a gap.
        subscribers: returns all subscribers of the process, including joining ones.
        catch_up: applies the revocations that were missed; may block, raises BrokerUnavailable.

    Attributes:
        failures: times that messages could not be written to some subscribers.
    """

    def __init__(
        self,
        config: Config,
        feed: Feed,
        subscribers: Callable[[], Iterable[Subscriber]],
        catch_up: Callable[[], None],
    ) -> None:
        self._stats = feed.stats
        self._closes = config.on_gap == "close"
        self._control = control_channel(config.key_prefix)
        self._feed = feed
        self._deliver = feed.deliver
        self._subscribers = subscribers
        self._catch_up = catch_up
        self.failures = 0
        self._told = self._caught_up = 0  # gaps so far
        self._busy = False
        self._stats.on_gap = self._on_gap

    def fail(self, subscribers: Sequence[Subscriber]) -> None:
        """Count a failed delivery, and close the subscribers that it concerns at once.

        Args:
            subscribers: those that did not get a message because of an error.
        """
        self.failures += 1
        if self._closes:
            for subscriber in subscribers:
                subscriber.close(MESSAGES_LOST.code, MESSAGES_LOST.reason)

    def check(self) -> None:
        """Continue the recovery from a gap if necessary; called periodically."""
        done = self._told == self._caught_up == self._stats.gaps
        if not done and self._stats.connected and not self._busy:
            self._busy = True
            gevent.spawn(self._recover)

    def _on_gap(self) -> None:
        self._feed.deliver = self._deliver_after_gap

    def _deliver_after_gap(self, messages: list[Message]) -> Iterator[None]:
        # Revocations first, so that their subscribers are closed with that code and not with 1012.
        yield from self._deliver([m for m in messages if m.channel == self._control])
        yield from self._tell()
        yield from self._deliver([m for m in messages if m.channel != self._control])

    def _recover(self) -> None:
        gaps = self._stats.gaps
        try:
            self._catch_up()
            self._caught_up = gaps
        except BrokerUnavailable as exc:  # retried when the broker is back
            log.warning("could not catch up on revocations: %s", exc)
        finally:
            for _ in self._tell():
                gevent.sleep(NEXT_TURN)
            self._busy = False

    def _tell(self) -> Iterator[None]:
        """Close the subscribers whose handshake began before the gap, in steps.

        It may run twice concurrently; only a run that finishes has closed all of them.
        """
        gaps, lost_at = self._stats.gaps, self._stats.lost_at
        if self._closes and self._told != gaps:
            for step in in_steps(self._subscribers()):
                for subscriber in step:
                    if subscriber.channels and subscriber.since < lost_at:
                        subscriber.close(MESSAGES_LOST.code, MESSAGES_LOST.reason)
                yield
        self._told = max(self._told, gaps)
        if gaps == self._stats.gaps:
            self._feed.deliver = self._deliver
