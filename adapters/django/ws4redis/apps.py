"""The application configuration: what is connected when Django sets up the application."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps

from wsredis.adapters.django import revoke
from wsredis.adapters.django.sessions import watch_sessions
from wsredis.adapters.django.transactions import keep_together

from .configuration import current_config

__all__ = ["WS4RedisConfig"]


class WS4RedisConfig(AppConfig):
    """The configuration for ``INSTALLED_APPS = ["ws4redis"]``."""

    name = "ws4redis"
    verbose_name = "Websockets for Redis"

    def __init__(self, *args: Any) -> None:
        """Watch the sessions before any application imports the session engine."""
        super().__init__(*args)
        watch_sessions()

    def ready(self) -> None:
        """Register the checks, and connect the receivers of signals."""
        from . import checks  # noqa: F401  registers them

        keep_together()
        revoke.connect(current_config)
        if apps.is_installed("django.contrib.auth"):
            from .groups import connect

            connect()
