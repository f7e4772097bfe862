"""A client that never reads uses no more memory than its send buffer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ..servers.support import Setup, Site, each, eventually
from .checker import Numbers, check
from .clients import Crowd
from .processes import memory, needs_proc

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("unwatched"), needs_proc]

SEND_BUFFER = 2**20
PADDING = 2**18
SENT = 32 * 2**20
"""Bytes published: what one socket's buffers in the system take is far less."""

SPARE = 4 * 2**20
"""Bytes a process may grow beside the send buffer: what is on its way, and what Python keeps."""


@each("uwsgi-gevent", "gunicorn-gthread")
@pytest.mark.parametrize("overflow", ["close", "drop-oldest", "keep-latest"])
def test_a_client_that_never_reads_uses_at_most_its_send_buffer_and_delays_no_other(
    start: Callable[..., Site], setup: Setup, room: str, overflow: str
) -> None:
    site = start(setup, overflow=overflow, max_send_buffer=SEND_BUFFER)
    numbers = Numbers(site.publisher(room, broadcast=True).publish, padding=PADDING)
    target = f"/ws/{room}?subscribe-broadcast"

    def lost() -> int:
        stats = site.stats()
        return stats["slow_consumers"] + stats["messages_dropped"]

    with Crowd(site.port, target, 3, begun=numbers.last) as crowd:
        crowd.wait_open()
        with site.wire(target, receive_buffer=4096) as first:  # what is made once is made now
            while not lost():
                crowd.wait_for(numbers.next())
            first.abort()
        eventually(lambda: site.stats()["connections"] == len(crowd.clients), "it is gone")
        (worker,) = site.workers()
        earlier, before, highest = site.stats(), memory(worker), 0
        with site.wire(target, receive_buffer=4096) as stuck:
            begun = numbers.begun
            while (numbers.begun - begun) * PADDING < SENT:
                crowd.wait_for(numbers.next())
                if numbers.begun % 8 == 0:
                    highest = max(highest, memory(worker) - before)
                    assert site.stats()["send_buffer_bytes"] <= SEND_BUFFER + 2 * PADDING
            stats = site.stats()
            dropped, closed = (
                stats[name] - earlier[name] for name in ("messages_dropped", "slow_consumers")
            )
            print(f"{setup} {overflow}: {highest / 2**20:.1f} MiB more, {dropped=} {closed=}")
            assert highest < SEND_BUFFER + SPARE
            found = check(crowd.clients, numbers)
            assert not any(found.missed)
            if overflow == "close":
                assert (closed, dropped) == (1, 0)
                assert stuck.close_code() in (1013, 1006)  # the close frame waits behind the rest
                closes = "close user=- .* code=1013"
                eventually(lambda: len(site.lines(closes)) == 2, "it is logged")
                return
            assert closed == 0
            assert dropped > 0
            due = numbers.begun - begun - dropped
            heard = [int(stuck.receive_text().split()[0]) for _ in range(due)]
            assert heard == sorted(set(heard)), "order holds for what has come"
            assert heard[-1] == numbers.begun, "the newest is never dropped"
