"""The site without websockets, and with websockets that do not use Django's users."""

from django.core.wsgi import get_wsgi_application

from wsredis import RemoteUserResolver, WebSocketMiddleware

application = get_wsgi_application()
of_nobody = WebSocketMiddleware(application)
of_remote_users = WebSocketMiddleware(application, identity=RemoteUserResolver())
