"""The websockets, in a separate uWSGI, with gevent's sockets for redis-py."""

import os

import gevent.socket
import redis.connection

redis.connection.socket = gevent.socket
os.environ.update(DJANGO_SETTINGS_MODULE="myapp.settings")

from ws4redis.uwsgi_runserver import uWSGIWebsocketServer  # noqa: E402

application = uWSGIWebsocketServer()
