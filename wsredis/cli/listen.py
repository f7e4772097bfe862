"""``wsredis listen``: the messages of some channels, printed."""

from __future__ import annotations

import argparse
import re
import sys
import threading
from collections.abc import Callable, Iterator

from ..brokers import broker_for
from ..config import Config
from ..message import Message
from ..runtime.loop import Loop
from .audience import add_audience_arguments, publisher_for, say

__all__ = ["add_listen_arguments", "run_listen"]


_STEERING = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def add_listen_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run_listen` needs."""
    add_audience_arguments(parser)
    parser.add_argument("--count", type=int, metavar="N", help="end after N messages")


def run_listen(
    options: argparse.Namespace,
    write: Callable[[str], object] = say,
    config: Config | None = None,
) -> int:
    """Print each message as a line: its channel, a tab, its text (binary as Python writes bytes).

    Line breaks, and what else could steer a terminal, are written as Python escapes them.
    """
    publisher = publisher_for(options, config)
    remaining = options.count
    done = threading.Event()

    def show(messages: list[Message]) -> Iterator[None]:
        nonlocal remaining
        for message in messages:
            if remaining != 0:
                try:
                    write(f"{message.channel}\t{_STEERING.sub(_escape, str(message.data))}")
                except BrokenPipeError:  # whoever read this has gone
                    remaining = 0
                    break
                remaining = None if remaining is None else remaining - 1
        if remaining == 0:
            done.set()
        return iter(())

    loop = Loop()
    feed = loop.run(broker_for(publisher.config).open, loop, show)
    try:
        retained = loop.run(feed.subscribe, publisher.channels)
        print(f"listening to {' '.join(publisher.channels)}", file=sys.stderr, flush=True)
        show(retained)
        done.wait()
    finally:
        loop.run(feed.close)
    return 0
