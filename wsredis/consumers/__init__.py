"""Consumers: websockets handled by classes with a method for each event, as in Django Channels."""

from .base import AsyncConsumer, SyncConsumer
from .exceptions import AcceptConnection, DenyConnection, StopConsumer
from .generic import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
    WebsocketConsumer,
)
from .handlers import shared

__all__ = [
    "AcceptConnection",
    "AsyncConsumer",
    "AsyncJsonWebsocketConsumer",
    "AsyncWebsocketConsumer",
    "DenyConnection",
    "JsonWebsocketConsumer",
    "StopConsumer",
    "SyncConsumer",
    "WebsocketConsumer",
    "shared",
]
