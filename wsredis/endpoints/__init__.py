"""What a connection does with a message."""

from .base import Endpoint, EndpointConnection, EndpointContext, EndpointFactory
from .pubsub import PubSubEndpoint

__all__ = [
    "Endpoint",
    "EndpointConnection",
    "EndpointContext",
    "EndpointFactory",
    "PubSubEndpoint",
]
