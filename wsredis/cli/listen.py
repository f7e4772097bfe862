"""``wsredis listen``: print the messages of some channels."""

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
    """Add the arguments that `run_listen` needs."""
    add_audience_arguments(parser)
    parser.add_argument("--count", type=_count, metavar="N", help="exit after N messages")


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not valid: write a number above 0")
    return int(text)


def run_listen(
    options: argparse.Namespace,
    write: Callable[[str], object] = say,
    config: Config | None = None,
) -> int:
    """Print each message as a line: channel, tab, text (binary as a Python bytes literal).

    Retained messages come first. Line breaks and other control characters are printed as Python
    escapes.
    """
    publisher = publisher_for(options, config)
    publisher.fetch()  # raises BrokerUnavailable at once, where a feed would log it and retry
    remaining = options.count
    done = threading.Event()

    def show(messages: list[Message]) -> Iterator[None]:
        nonlocal remaining
        for message in messages:
            if remaining != 0:
                try:
                    write(f"{message.channel}\t{_STEERING.sub(_escape, str(message.data))}")
                except BrokenPipeError:  # the reader of the output has ended
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
