"""``manage.py wsredis_publish FACILITY MESSAGE --broadcast``."""

from __future__ import annotations

from wsredis.cli.publish import add_publish_arguments, run_publish

from ..base import ShellCommand

__all__ = ["Command"]


class Command(ShellCommand):
    """The command that sends a message to browsers."""

    help = run_publish.__doc__
    add = staticmethod(add_publish_arguments)
    run = staticmethod(run_publish)
