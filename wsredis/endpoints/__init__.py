"""Endpoints: what a websocket subscribes to and does with its messages."""

from .base import Endpoint, EndpointConnection, EndpointContext, EndpointFactory
from .pubsub import PubSubEndpoint

__all__ = [
    "Endpoint",
    "EndpointConnection",
    "EndpointContext",
    "EndpointFactory",
    "PubSubEndpoint",
]
