"""``wsredis publish``: send one message from a shell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from ..config import Config
from .audience import add_audience_arguments, publisher_for, say

__all__ = ["add_publish_arguments", "run_publish"]


def add_publish_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `run_publish` needs."""
    add_audience_arguments(parser)
    parser.add_argument("message", metavar="MESSAGE", help="text; - reads it from standard input")
    parser.add_argument(
        "--expire",
        type=int,
        metavar="N",
        help="seconds to retain the message for later subscribers",
    )


def run_publish(
    options: argparse.Namespace,
    write: Callable[[str], object] = say,
    config: Config | None = None,
) -> int:
    """Send one message and print how many server processes received it."""
    text = sys.stdin.read() if options.message == "-" else options.message
    write(str(publisher_for(options, config).publish(text, expire=options.expire)))
    return 0
