"""The watch over the server of a link: is it still the one that the address of Redis leads to?

After a failover by DNS, by a virtual IP address or by a proxy, an open connection may stay with the
old server while all new ones reach another. Publications then reach only a part of the processes,
and no connection reports an error. A server may also become a replica while it is connected. So a
second, short connection is made every few seconds and compared with the link.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import gevent

from ...exceptions import WrongServer
from ...runtime.logs import get_logger
from .link import Link

__all__ = ["Watch"]

log = get_logger("wsredis.brokers.redis")

_jitter = random.SystemRandom().uniform  # forked workers must not connect at the same time

LEAST, MOST = 4.0, 6.0
"""Seconds between two connections; random, between these."""

MOVED = "the address leads to another server now, with the run id %s"

UNKNOWN = (
    "Redis does not permit INFO to its user, so another server at the same address cannot be"
    " noticed: add +info to the user"
)

SEVERAL = (
    "The address of Redis leads to several servers by turns, so publications may reach only a part"
    " of the processes: use the address of the primary"
)


class Watch:
    """The watch over the servers of a feed's links; it has a connection only for moments.

    Args:
        find_run_id: connects to the address of Redis and returns the run id of the server, None if
            it is unknown; blocks only the greenlet, raises BrokerUnavailable.
    """

    def __init__(self, find_run_id: Callable[[], str | None]) -> None:
        self._find_run_id = find_run_id
        self._said: set[str] = set()

    def run(self, link: Link, run_id: str | None) -> None:
        """Compare until the greenlet is killed; end the link if its server is not the right one.

        Args:
            link: the link.
            run_id: the run id of its server, None if it is unknown: then only the role is compared.
        """
        if run_id is None:
            self._warn_once(UNKNOWN)
        pid = os.getpid()
        while True:
            gevent.sleep(_jitter(LEAST, MOST))
            if os.getpid() != pid:
                return  # this is a forked child, whose parent has the link
            if reason := self._look(run_id):
                again = self._look(run_id)
                if again == reason:
                    link.end(ConnectionError(reason))
                    return
                if again is not None:
                    self._warn_once(SEVERAL)

    def _look(self, run_id: str | None) -> str | None:
        """Return why the link is to end; "" if it is not, None if that cannot be found out."""
        try:
            found = self._find_run_id()
        except WrongServer as exc:
            return str(exc)
        except Exception as exc:  # if Redis is unavailable, the link notices that by itself
            log.debug("cannot compare the server at the address with that of the link: %s", exc)
            return None
        return "" if None in (run_id, found) or found == run_id else MOVED % found

    def _warn_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            log.warning(text)
