"""The application that any server of the README loads: pages, static files and websockets."""

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

from wsredis.adapters.django import get_websocket_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wsredis.examples.django_chat.settings")

# A site runs collectstatic and lets its server send these files; here any server will do.
pages = StaticFilesHandler(get_wsgi_application())

application = get_websocket_application(pages)
