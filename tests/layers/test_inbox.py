"""The messages and readers of one channel."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from wsredis.layers.inbox import Inbox

from .support import run


def inbox_with(*items: Any) -> Inbox[Any]:
    inbox: Inbox[Any] = Inbox(threading.Lock())
    for item in items:
        inbox.put(item)
    return inbox


async def reader(inbox: Inbox[Any]) -> asyncio.Task[Any]:
    """Return a task that has asked for a message."""
    waiter = inbox.ask()
    task = asyncio.create_task(inbox.wait(waiter))
    await asyncio.sleep(0)
    return task


def test_messages_come_in_order_and_none_may_be_one() -> None:
    async def main() -> None:
        inbox = inbox_with(None, 1)
        assert [await inbox.wait(inbox.ask()) for _ in range(2)] == [None, 1]
        assert (inbox.readers, inbox.waiting) == (0, 0)

    run(main())


def test_the_reader_that_has_waited_longest_gets_the_message() -> None:
    async def main() -> None:
        inbox = inbox_with()
        readers = [await reader(inbox) for _ in range(3)]
        assert (inbox.readers, inbox.waiting) == (3, 3)
        for number in range(4):
            inbox.put(number)
        assert (inbox.readers, inbox.waiting) == (3, 0)
        assert [await each for each in readers] == [0, 1, 2]
        assert list(inbox.items) == [3]
        assert inbox.readers == 0

    run(main())


def test_a_cancelled_reader_does_not_wait() -> None:
    async def main() -> None:
        inbox = inbox_with()
        one, two = await reader(inbox), await reader(inbox)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        inbox.put("message")
        assert await two == "message"
        assert inbox.readers == 0

    run(main())


@pytest.mark.parametrize("other", [False, True])
def test_the_message_of_a_cancelled_reader_is_the_next_one(other: bool) -> None:
    async def main() -> None:
        inbox = inbox_with()
        one = await reader(inbox)
        two = await reader(inbox) if other else None
        inbox.put("first")
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        if two is not None:
            assert await two == "first"
        else:
            inbox.put("second")
            assert list(inbox.items) == ["first", "second"]
        assert inbox.readers == 0

    run(main())


def test_a_failure_is_raised_by_every_reader_that_waits() -> None:
    async def main() -> None:
        inbox = inbox_with()
        readers = [await reader(inbox) for _ in range(2)]
        cancelled = await reader(inbox)
        inbox.fail(lambda: KeyError("lost"))
        cancelled.cancel()
        for each in readers:
            with pytest.raises(KeyError, match="lost"):
                await each
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        inbox.put("message")
        assert await inbox.wait(inbox.ask()) == "message"
        assert inbox.readers == 0

    run(main())


def test_a_failure_without_a_reader_is_raised_by_the_next_one_before_messages() -> None:
    async def main() -> None:
        inbox = inbox_with("message")
        inbox.fail(lambda: KeyError("lost"))
        with pytest.raises(KeyError, match="lost"):
            await inbox.wait(inbox.ask())
        assert await inbox.wait(inbox.ask()) == "message"

    run(main())
