"""The URLs of the websockets."""

from django.urls import re_path

from . import consumers

ROOM = r"(?P<room>[-a-zA-Z0-9_]{1,40})"
"""The name of a room, which is part of the name of a group."""

websocket_urlpatterns = [
    re_path(rf"^ws/chat/{ROOM}/$", consumers.ChatConsumer.as_asgi()),
    re_path(rf"^ws/sync/{ROOM}/$", consumers.SyncChatConsumer.as_asgi()),
]
