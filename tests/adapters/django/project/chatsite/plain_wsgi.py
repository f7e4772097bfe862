"""The site without websockets, and with those of people it does not know."""

from django.core.wsgi import get_wsgi_application

from wsredis import RemoteUserResolver, WebSocketMiddleware

application = get_wsgi_application()
of_nobody = WebSocketMiddleware(application)
of_remote_users = WebSocketMiddleware(application, identity=RemoteUserResolver())
