"""``manage.py wsredis_disconnect --user NAME``."""

from __future__ import annotations

from wsredis.cli.disconnect import add_disconnect_arguments, run_disconnect

from ..base import ShellCommand

__all__ = ["Command"]


class Command(ShellCommand):
    """The command that closes websockets."""

    help = run_disconnect.__doc__
    add = staticmethod(add_disconnect_arguments)
    run = staticmethod(run_disconnect)
