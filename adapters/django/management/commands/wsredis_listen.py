"""``manage.py wsredis_listen FACILITY --broadcast``."""

from __future__ import annotations

from wsredis.cli.listen import add_listen_arguments, run_listen

from ..base import ShellCommand

__all__ = ["Command"]


class Command(ShellCommand):
    """The command that prints messages as they arrive."""

    help = run_listen.__doc__
    add = staticmethod(add_listen_arguments)
    run = staticmethod(run_listen)
