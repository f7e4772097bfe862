"""``wsredis publish``: send one message from a shell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from ..config import Config
from ..naming import loggable
from .audience import add_audience_arguments, publisher_for, say

__all__ = ["add_publish_arguments", "run_publish"]


def add_publish_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `run_publish` needs."""
    add_audience_arguments(parser)
    parser.add_argument(
        "message", metavar="MESSAGE", help="text of the message; - reads it from standard input"
    )
    parser.add_argument(
        "--expire",
        type=int,
        metavar="SECONDS",
        help="seconds to retain the message for later subscribers",
    )


def run_publish(
    options: argparse.Namespace,
    write: Callable[[str], object] = say,
    config: Config | None = None,
) -> int:
    """Send one message and print how many server processes received it.

    A process that subscribes to several of the channels counts once for each.
    """
    publisher = publisher_for(options, config)
    receivers = publisher.publish(_text(options.message), expire=options.expire)
    write(str(receivers))
    if not receivers:
        channels = " ".join(map(loggable, publisher.channels))
        print(
            f"No client is subscribed to {channels}, or the site uses another Redis or key prefix.",
            file=sys.stderr,
            flush=True,
        )
    return 0


def _text(message: str) -> str:
    try:
        text = sys.stdin.read() if message == "-" else message
        text.encode()
    except UnicodeError:
        raise ValueError(
            "the message is not UTF-8 text: to publish binary data, use Publisher"
        ) from None
    return text
