"""The WSGI application, which hosts the ASGI one."""

import logging
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
logging.basicConfig(
    level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"
)

from wsredis.adapters.django import get_websocket_application  # noqa: E402

application = get_websocket_application()
