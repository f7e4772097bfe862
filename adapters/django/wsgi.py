"""A ready WSGI application: ``WSGI_APPLICATION = "wsredis.adapters.django.wsgi.application"``.

For ``runserver`` and WSGI servers, if the site needs nothing else in its wsgi.py.
"""

from .application import get_websocket_application

__all__ = ["application"]

application = get_websocket_application()
