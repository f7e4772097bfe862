"""The command line arguments for a facility and its audiences, shared by publish and listen."""

from __future__ import annotations

import argparse
from typing import Any

from ..config import Config, current_config
from ..publisher import Publisher

__all__ = [
    "REDIS_HELP",
    "add_audience_arguments",
    "add_name_argument",
    "config_for",
    "publisher_for",
    "say",
]

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
        add_name_argument(parser, name, f"{text} (repeatable)", action="append", default=[])
    parser.add_argument("--redis", metavar="URL", help=REDIS_HELP)


def add_name_argument(
    parser: argparse.ArgumentParser, audience: str, text: str, **options: Any
) -> None:
    """Add the argument for the name of a user, a group or a session."""
    metavar = "KEY" if audience == "session" else "NAME"
    parser.add_argument(f"--{audience}", type=_name, metavar=metavar, help=text, **options)


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
    return Publisher(
        options.facility,
        broadcast=options.broadcast,
        users=options.user,
        groups=options.group,
        sessions=options.session,
        config=config_for(options, config),
    )


def config_for(options: argparse.Namespace, config: Config | None) -> Config:
    """Return the options of the site, with the Redis that the arguments name.

    Raises:
        ValueError: the broker is one that no other process shares.
    """
    given = {"redis": options.redis} if options.redis is not None else {}
    found = Config.make(current_config() if config is None else config, **given)
    if str(found.redis).startswith("memory:"):
        raise ValueError(
            f"{found.redis} is a broker inside one process, so this command cannot reach the site:"
            " write --redis redis://HOST:6379/0"
        )
    return found


def say(line: str) -> None:
    """Print a line and flush."""
    print(line, flush=True)
