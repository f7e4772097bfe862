"""Channel layers: messages between processes, with the interface of Django Channels.

``CHANNEL_LAYERS`` names one of the two classes as its ``BACKEND``; without Django, make an object.
"""

from ..exceptions import ChannelFull, MessagesLost, MessageTooLarge
from .memory import InMemoryChannelLayer
from .redis import RedisChannelLayer
from .registry import configure_layers, get_channel_layer

__all__ = [
    "ChannelFull",
    "InMemoryChannelLayer",
    "MessageTooLarge",
    "MessagesLost",
    "RedisChannelLayer",
    "configure_layers",
    "get_channel_layer",
]
