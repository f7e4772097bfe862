"""``wsredis disconnect``: close the websockets of a user, a session or a group from a shell."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from ..config import Config
from ..disconnect import disconnect
from .audience import REDIS_HELP, add_name_argument, config_for, say

__all__ = ["add_disconnect_arguments", "run_disconnect"]


def add_disconnect_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `run_disconnect` needs."""
    for name, text in (
        ("user", "the websockets of a user"),
        ("group", "the websockets of the members of a group"),
        ("session", "the websockets of a session, by its key"),
    ):
        add_name_argument(parser, name, text)
    parser.add_argument(
        "--code",
        type=int,
        default=4401,
        metavar="CODE",
        help="close code: 1000, 1008, 1012, 1013, or 3000 to 4999 (default: %(default)s)",
    )
    parser.add_argument("--reason", default="", metavar="TEXT", help="close reason")
    parser.add_argument("--redis", metavar="URL", help=REDIS_HELP)


def run_disconnect(
    options: argparse.Namespace,
    write: Callable[[str], object] = say,
    config: Config | None = None,
) -> int:
    """Close websockets on all hosts and print how many server processes were told.

    All given names must match. After 4401 and 1012, the browser client reconnects and is identified
    again; after 1008 and 4403 it does not.
    """
    names = {"user": options.user, "group": options.group, "session": options.session}
    if not any(names.values()):
        raise ValueError("no name: write --user NAME, --group NAME or --session KEY")
    told = disconnect(
        **names, code=options.code, reason=options.reason, config=config_for(options, config)
    )
    write(str(told))
    if not told:
        print(
            "No process was told: none serves websockets, or the site uses another Redis or key"
            " prefix.",
            file=sys.stderr,
            flush=True,
        )
    return 0
