"""The WSGI application, with websockets.

Changed for wsredis: ``get_websocket_application``, which adds the websockets to the pages.
"""

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

from wsredis.adapters.django import get_websocket_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wsredis.examples.channels_chat.settings")

# A site in production runs collectstatic and lets its server send static files. This wrapper
# works with any server.
pages = StaticFilesHandler(get_wsgi_application())

application = get_websocket_application(pages)
