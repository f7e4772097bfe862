"""The command line arguments for a facility and its audiences, shared by publish and listen."""

from __future__ import annotations

import argparse

from ..config import Config, current_config
from ..publisher import Publisher

__all__ = ["add_audience_arguments", "publisher_for", "say"]


def add_audience_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `publisher_for` needs."""
    parser.add_argument(
        "facility", metavar="FACILITY", help="topic of the channel: the URL's path after the prefix"
    )
    parser.add_argument("--broadcast", action="store_true", help="the broadcast of the facility")
    for name, text in (
        ("user", "a user's channel"),
        ("group", "a group's channel"),
        ("session", "a session's channel"),
    ):
        parser.add_argument(
            f"--{name}",
            action="append",
            default=[],
            metavar=name[0].upper(),
            help=f"{text} (repeatable)",
        )
    parser.add_argument("--redis", metavar="URL", help="URL of Redis (default: WSREDIS_REDIS)")


def publisher_for(options: argparse.Namespace, config: Config | None) -> Publisher:
    """Return the publisher that the arguments describe.

    Raises:
        ValueError: they name no audience.
    """
    if not (options.broadcast or options.user or options.group or options.session):
        raise ValueError("no audience: write --broadcast, --user U, --group G or --session S")
    given = {"redis": options.redis} if options.redis else {}
    return Publisher(
        options.facility,
        broadcast=options.broadcast,
        users=options.user,
        groups=options.group,
        sessions=options.session,
        config=Config.make(config or current_config(), **given),
    )


def say(line: str) -> None:
    """Print a line and flush."""
    print(line, flush=True)
