"""Websockets for any WSGI application, over Redis pub/sub: the public names."""

from .config import Config, configure
from .disconnect import disconnect
from .endpoints import Endpoint, EndpointConnection, EndpointContext, PubSubEndpoint
from .exceptions import (
    BrokerUnavailable,
    ConfigurationError,
    HandshakeError,
    PermissionDenied,
    WSRedisError,
)
from .identity import ANONYMOUS, Identity, IdentityResolver, RemoteUserResolver, chain
from .message import Message
from .middleware import WebSocketMiddleware
from .publisher import SELF, Publisher
from .version import VERSION as __version__

__all__ = [
    "ANONYMOUS",
    "SELF",
    "BrokerUnavailable",
    "Config",
    "ConfigurationError",
    "Endpoint",
    "EndpointConnection",
    "EndpointContext",
    "HandshakeError",
    "Identity",
    "IdentityResolver",
    "Message",
    "PermissionDenied",
    "Publisher",
    "PubSubEndpoint",
    "RemoteUserResolver",
    "WSRedisError",
    "WebSocketMiddleware",
    "__version__",
    "chain",
    "configure",
    "disconnect",
]
