"""What is done when messages may have been lost: nobody goes on as if nothing had happened.

A feed counts a gap before it delivers the first message after it. From then on it delivers through
here until all who were there before the gap have been told; at all other times it delivers to the
hub itself, and nothing here is in the way. All of this runs on the hub's loop.

Invariants:

* ``_told`` <= ``stats.gaps``. The feed delivers to the hub itself only while the two are equal.
* ``_caught_up`` <= ``stats.gaps``: for the gaps up to there the log of revocations has been read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import gevent

from ..brokers.base import Feed
from ..config import Config
from ..exceptions import BrokerUnavailable
from ..identity.revocation import control_channel
from ..message import Message
from ..protocol.closing import CloseCode
from ..runtime.logs import get_logger
from ..runtime.loop import NEXT_TURN
from .channel import BATCH_SIZE
from .subscriber import Subscriber

__all__ = ["Gaps"]

log = get_logger("wsredis.gaps")


class Gaps:
    """The gaps of a feed, and the closing of those who may have missed something.

    Args:
        config: its ``on_gap`` says whether subscribers are closed.
        feed: delivers to the hub; its ``deliver`` is replaced after a gap.
        subscribers: gives all subscribers of the process, joining ones too.
        catch_up: carries out the revocations that were missed; may block, raises
            BrokerUnavailable.
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
        self._told = self._caught_up = 0  # gaps so far
        self._busy = False
        self._stats.on_gap = self._on_gap

    def fail(self) -> None:
        """Count a gap and tell all at once: what comes after it may be on its way already."""
        self._stats.count_gap()
        for _ in self._tell():
            pass

    def check(self) -> None:
        """Do what is left to do after a gap; call it now and then."""
        done = self._told == self._caught_up == self._stats.gaps
        if not done and self._stats.connected and not self._busy:
            self._busy = True
            gevent.spawn(self._recover)

    def _on_gap(self) -> None:
        self._feed.deliver = self._deliver_after_gap

    def _deliver_after_gap(self, messages: list[Message]) -> Iterator[None]:
        # Revocations first, so that those they close get that code and not 1012.
        yield from self._deliver([m for m in messages if m.channel == self._control])
        yield from self._tell()
        yield from self._deliver([m for m in messages if m.channel != self._control])

    def _recover(self) -> None:
        gaps = self._stats.gaps
        try:
            self._catch_up()
            self._caught_up = gaps
        except BrokerUnavailable as exc:  # again, when it is back
            log.warning("revocations could not be caught up: %s", exc)
        finally:
            for _ in self._tell():
                gevent.sleep(NEXT_TURN)
            self._busy = False

    def _tell(self) -> Iterator[None]:
        """Close those who were there before the gap; yields where others may have their turn.

        May run twice at once; only a run that finishes knows that everybody was told.
        """
        gaps, lost_at = self._stats.gaps, self._stats.lost_at
        if self._closes and self._told != gaps:
            before = [s for s in self._subscribers() if s.channels and s.since < lost_at]
            for start in range(0, len(before), BATCH_SIZE):
                for subscriber in before[start : start + BATCH_SIZE]:
                    subscriber.close(CloseCode.SERVICE_RESTART, "messages may have been lost")
                yield
        self._told = max(self._told, gaps)
        if gaps == self._stats.gaps:
            self._feed.deliver = self._deliver
