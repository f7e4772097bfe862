"""Echo under Django's runserver: ``python runserver.py PORT``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from django.conf import settings
from django.core.management import execute_from_command_line

HERE = Path(__file__).parent

if __name__ == "__main__":
    sys.path += [str(HERE), str(HERE.parent / "servers")]
    from echo import OPTIONS

    settings.configure(
        SECRET_KEY=os.urandom(32).hex(),
        ALLOWED_HOSTS=["127.0.0.1"],
        INSTALLED_APPS=["wsredis.adapters.django"],
        ROOT_URLCONF="runserver",
        WSGI_APPLICATION="runserver.application",
        WSREDIS={**OPTIONS, "endpoint": "echo.EchoEndpoint"},
        SILENCED_SYSTEM_CHECKS=["wsredis.W001", "wsredis.W004"],
    )
    execute_from_command_line(["manage.py", "runserver", "--noreload", f"127.0.0.1:{sys.argv[1]}"])
else:  # it imports itself, for its application
    from wsredis.adapters.django import get_websocket_application

    urlpatterns: list[object] = []
    application = get_websocket_application()
