"""Pages and websockets in one uWSGI: a function chooses by path."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "myapp.settings")

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from ws4redis.uwsgi_runserver import uWSGIWebsocketServer

pages = get_wsgi_application()
websockets = uWSGIWebsocketServer()


def application(environ, start_response):
    wanted = environ.get("PATH_INFO").startswith(settings.WEBSOCKET_URL)
    return (websockets if wanted else pages)(environ, start_response)
