"""The application configuration: what is connected when Django sets up the application."""

from __future__ import annotations

from django.apps import AppConfig, apps

from wsredis.adapters.django.transactions import keep_together

__all__ = ["WS4RedisConfig"]


class WS4RedisConfig(AppConfig):
    """The configuration for ``INSTALLED_APPS = ["ws4redis"]``."""

    name = "ws4redis"
    verbose_name = "Websockets for Redis"

    def ready(self) -> None:
        """Register the checks, and connect the receivers that store users' groups in sessions."""
        from . import checks  # noqa: F401  registers them

        keep_together()
        if apps.is_installed("django.contrib.auth"):
            from .groups import connect

            connect()
