"""``flask wsredis publish`` and ``listen``: the core's commands with the options of the app."""

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
