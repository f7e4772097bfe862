"""What Django learns when it sets this application up."""

from __future__ import annotations

from django.apps import AppConfig, apps

from wsredis.adapters.django.transactions import keep_together

__all__ = ["WS4RedisConfig"]


class WS4RedisConfig(AppConfig):
    """The application of ``INSTALLED_APPS = ["ws4redis"]``."""

    name = "ws4redis"
    verbose_name = "Websockets for Redis"

    def ready(self) -> None:
        """Connect the groups of users to their sessions, and keep transactions together."""
        from . import checks  # noqa: F401  registers them

        keep_together()
        if apps.is_installed("django.contrib.auth"):
            from .groups import connect

            connect()
