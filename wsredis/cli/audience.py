"""The arguments that name a facility and its audiences, shared by publish and listen."""

from __future__ import annotations

import argparse

from ..config import Config, current_config
from ..publisher import Publisher

__all__ = ["add_audience_arguments", "publisher_for", "say"]


def add_audience_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `publisher_for` needs."""
    parser.add_argument("facility", metavar="FACILITY", help="what it is about; part of the URL")
    parser.add_argument("--broadcast", action="store_true", help="everybody")
    for name in ("user", "group", "session"):
        parser.add_argument(
            f"--{name}", action="append", default=[], metavar=name[0].upper(), help="repeatable"
        )
    parser.add_argument("--redis", metavar="URL", help="where Redis is (else WSREDIS_REDIS)")


def publisher_for(options: argparse.Namespace, config: Config | None) -> Publisher:
    """Return the publisher that the arguments describe.

    Raises:
        ValueError: they name no audience.
    """
    if not (options.broadcast or options.user or options.group or options.session):
        raise ValueError("say who gets it: --broadcast, --user U, --group G or --session S")
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
    """Print a line at once."""
    print(line, flush=True)
