"""A reader that never reads costs its outbox and nothing else, whatever is sent to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ..servers.support import Setup, Site, each, eventually
from .checker import Numbers, check
from .clients import Crowd
from .processes import memory, needs_proc

pytestmark = [pytest.mark.servers, needs_proc]

OUTBOX = 2**20
PADDING = 2**18
SENT = 32 * 2**20
"""Bytes published: what one socket's buffers in the system take is far less."""

SPARE = 4 * 2**20
"""Bytes a process may grow beside the outbox: what is on its way, and what Python keeps."""


@each("uwsgi-gevent", "gunicorn-gthread")
@pytest.mark.parametrize("overflow", ["close", "drop-oldest", "keep-latest"])
def test_who_never_reads_costs_at_most_the_outbox_and_delays_nobody(
    start: Callable[..., Site], setup: Setup, room: str, overflow: str
) -> None:
    site = start(setup, overflow=overflow, max_outbox=OUTBOX)
    numbers = Numbers(site.publisher(room, broadcast=True).publish, padding=PADDING)
    target = f"/ws/{room}?subscribe-broadcast"
    with (
        site.wire(target, receive_buffer=4096) as stuck,
        Crowd(site.port, target, 3, begun=numbers.last) as crowd,
    ):
        crowd.wait_open()
        while numbers.begun * PADDING < OUTBOX:  # what everybody's buffers need
            crowd.wait_for(numbers.next())
        (worker,) = site.workers()
        before = memory(worker)
        highest = 0
        while numbers.begun * PADDING < SENT:
            crowd.wait_for(numbers.next())
            if numbers.begun % 8 == 0:
                highest = max(highest, memory(worker) - before)
                stats = site.stats()
                assert stats["outbox_bytes"] <= OUTBOX + 2 * PADDING
        assert highest < OUTBOX + SPARE
        found = check(crowd.clients, numbers)
        assert not any(found.missed)
        stats = site.stats()
        print(f"{setup} {overflow}: {highest / 2**20:.1f} MiB more, {stats}")
        if overflow == "close":
            assert (stats["dropped"], stats["shed"]) == (1, 0)
            assert stuck.close_code() in (1013, 1006)  # the close frame waits behind the rest
            eventually(lambda: site.lines("close user=- .* code=1013"), "it is logged")
            return
        assert stats["dropped"] == 0
        due = numbers.begun - stats["shed"]
        heard = [int(stuck.receive_text().split()[0]) for _ in range(due)]
        assert heard == sorted(set(heard)), "order holds for what has come"
        assert heard[-1] == numbers.begun, "the newest never gives way"
        assert stats["shed"] > 0
