"""The routes of the websockets."""

from django.urls import re_path

from .consumers import ChatConsumer

ROOM = r"(?P<room>[-a-zA-Z0-9_]{1,40})"
"""The name of a room, which is part of the name of a group."""

routes = [re_path(rf"^ws/chat/{ROOM}/$", ChatConsumer)]
