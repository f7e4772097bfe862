"""ASGI applications: that of the site, and others that checks find something about."""

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import OriginValidator
from django.core.asgi import get_asgi_application

pages = get_asgi_application()
routes = URLRouter([])

application = ProtocolTypeRouter({"http": pages, "websocket": AuthMiddlewareStack(routes)})
only_pages = ProtocolTypeRouter({"http": pages})
careful = ProtocolTypeRouter(
    {"websocket": AuthMiddlewareStack(OriginValidator(routes, ["https://chat.example"]))}
)
careless = ProtocolTypeRouter(
    {"websocket": AuthMiddlewareStack(OriginValidator(AuthMiddlewareStack(routes), ["*"]))}
)
validator = OriginValidator(routes, ["*"])


async def wrapper(scope, receive, send):
    await application(scope, receive, send)
