"""The WSGI application, with websockets."""

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

from wsredis.adapters.django import get_websocket_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wsredis.examples.consumers_chat.settings")

# A site in production runs collectstatic and lets its server send static files. This wrapper
# works with any server.
pages = StaticFilesHandler(get_wsgi_application())

application = get_websocket_application(pages)
