"""What a connection does with a message."""

from .base import Endpoint, EndpointContext, EndpointFactory
from .pubsub import PubSubEndpoint

__all__ = ["Endpoint", "EndpointContext", "EndpointFactory", "PubSubEndpoint"]
