"""The commands of ``flask wsredis``: those of the core with the options of the application."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import click
from flask.cli import AppGroup

from .conf import NAME, current_options

__all__ = ["commands"]

commands = AppGroup(NAME, help="Push messages to browsers, over Redis.")

# The arguments are parsed by the core's own parser, so both command lines are the same.
as_they_are = {"ignore_unknown_options": True, "help_option_names": []}
words = click.argument("words", nargs=-1, type=click.UNPROCESSED)


@commands.command(context_settings=as_they_are)
@words
def publish(words: tuple[str, ...]) -> None:
    """Send a message to browsers."""
    from wsredis.cli.publish import add_publish_arguments, run_publish

    _run("publish", words, add_publish_arguments, run_publish)


@commands.command(context_settings=as_they_are)
@words
def listen(words: tuple[str, ...]) -> None:
    """Print messages as they arrive."""
    from wsredis.cli.listen import add_listen_arguments, run_listen

    _run("listen", words, add_listen_arguments, run_listen)


@commands.command(context_settings=as_they_are)
@words
def disconnect(words: tuple[str, ...]) -> None:
    """Close the websockets of a user, a group or a session."""
    from wsredis.cli.disconnect import add_disconnect_arguments, run_disconnect

    _run("disconnect", words, add_disconnect_arguments, run_disconnect)


def _run(
    name: str,
    words: tuple[str, ...],
    add: Callable[[argparse.ArgumentParser], None],
    run: Callable[..., int],
) -> None:
    """Run a command of the core and exit: 1 if Redis is unavailable, 2 for bad arguments."""
    from wsredis.cli.main import one_line_errors

    program = f"flask {NAME} {name}"
    parser = argparse.ArgumentParser(prog=program, description=run.__doc__)
    add(parser)
    options = parser.parse_args(words)
    sys.exit(one_line_errors(program, lambda: run(options, config=current_options().config)))
