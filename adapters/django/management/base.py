"""The base of the commands, which run the core's commands with the options of ``WSREDIS``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from wsredis.exceptions import BrokerUnavailable, WSRedisError

__all__ = ["ShellCommand"]


class ShellCommand(BaseCommand):
    """A command of the core; its exit code is 1 if Redis is unavailable, 2 for bad arguments."""

    requires_system_checks: list[str] = []  # noqa: RUF012  Django's own way

    add: Callable[[argparse.ArgumentParser], None]
    run: Callable[..., int]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments of the core's command."""
        type(self).add(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command, and report an error in one line."""
        try:
            type(self).run(argparse.Namespace(**options), self._say)
        except BrokerUnavailable as exc:
            raise CommandError(str(exc), returncode=1) from exc
        except (WSRedisError, ValueError) as exc:
            raise CommandError(str(exc), returncode=2) from exc
        except KeyboardInterrupt:
            sys.exit(130)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
