"""The command line arguments for a facility and its audiences, shared by publish and listen."""

from __future__ import annotations

import argparse

from ..config import Config, current_config
from ..publisher import Publisher

__all__ = ["REDIS_HELP", "add_audience_arguments", "publisher_for", "say"]

REDIS_HELP = (
    "URL of Redis (default: the site's option redis or the variable WSREDIS_REDIS, else"
    " redis://127.0.0.1:6379/0)"
)
"""The help text of the argument ``--redis``."""


def add_audience_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `publisher_for` needs."""
    parser.add_argument(
        "facility",
        metavar="FACILITY",
        help="topic of the messages: what follows the prefix in the URL of the websocket, such as"
        " news in /ws/news; '' for /ws/",
    )
    parser.add_argument("--broadcast", action="store_true", help="the channel of all clients")
    for name, text in (
        ("user", "the channel of a user"),
        ("group", "the channel of a group"),
        ("session", "the channel of a session, by its key"),
    ):
        parser.add_argument(
            f"--{name}",
            action="append",
            default=[],
            type=_name,
            metavar="KEY" if name == "session" else "NAME",
            help=f"{text} (repeatable)",
        )
    parser.add_argument("--redis", metavar="URL", help=REDIS_HELP)


def _name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("'' is not a name: write at least one character")
    return text


def publisher_for(options: argparse.Namespace, config: Config | None) -> Publisher:
    """Return the publisher that the arguments describe.

    Raises:
        ValueError: they name no audience, or a broker that no other process shares.
    """
    if not (options.broadcast or options.user or options.group or options.session):
        raise ValueError(
            "no audience: write --broadcast, --user NAME, --group NAME or --session KEY"
        )
    given = {"redis": options.redis} if options.redis is not None else {}
    publisher = Publisher(
        options.facility,
        broadcast=options.broadcast,
        users=options.user,
        groups=options.group,
        sessions=options.session,
        config=Config.make(config or current_config(), **given),
    )
    if str(publisher.config.redis).startswith("memory:"):
        raise ValueError(
            f"{publisher.config.redis} is a broker inside one process, so this command cannot reach"
            " the site: write --redis redis://HOST:6379/0"
        )
    return publisher


def say(line: str) -> None:
    """Print a line and flush."""
    print(line, flush=True)
