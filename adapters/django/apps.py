"""The application configuration: what is connected when Django sets up the application."""

from __future__ import annotations

import sys
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.signals import setting_changed
from django.db import close_old_connections, connections

from wsredis.config import configure_from
from wsredis.consumers.hooks import after_handlers, around_handlers
from wsredis.layers.registry import configure_layers, set_source

from . import revoke
from .conf import current_config
from .sessions import watch_sessions
from .transactions import keep_together

__all__ = ["WSRedisConfig"]

FINDER = "wsredis.adapters.django.finders.ClientFinder"


class WSRedisConfig(AppConfig):
    """The configuration of wsredis as a Django application, with the label ``wsredis``."""

    name = "wsredis.adapters.django"
    label = "wsredis"
    verbose_name = "Websockets"

    def __init__(self, *args: Any) -> None:
        """Watch the sessions before any application imports the session engine."""
        super().__init__(*args)
        watch_sessions()

    def ready(self) -> None:
        """Connect the core to the setting, the signals to their receivers, and add the finder."""
        from . import checks

        checks.register_all()
        set_source(lambda: getattr(settings, "CHANNEL_LAYERS", None))
        around_handlers.append(close_old_connections)
        after_handlers.append(connections.close_all)
        configure_from(current_config)
        keep_together()
        revoke.connect(current_config)
        setting_changed.connect(_in_tests, dispatch_uid="wsredis.in_tests")
        if apps.is_installed("django.contrib.staticfiles"):
            _find_client()


def _find_client() -> None:
    """Add our finder: the client is in the core's folder, where no finder of Django looks."""
    if FINDER not in settings.STATICFILES_FINDERS:
        settings.STATICFILES_FINDERS = [*settings.STATICFILES_FINDERS, FINDER]


def _in_tests(setting: str, **changed: Any) -> None:
    """Make live servers serve websockets, and layers anew; only tests send this signal."""
    if setting == "CHANNEL_LAYERS":
        configure_layers(None)
    if "django.test.testcases" in sys.modules:
        from .testing import serve_websockets

        serve_websockets()
