"""Consumers of wsredis, in a site that has those of Channels, too."""

import json

from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model

from wsredis.consumers import WebsocketConsumer


class Room(WebsocketConsumer):
    """A member of a room, written as for Channels."""

    def connect(self):
        self.group = f"room-{self.scope['url_route']['kwargs']['name']}"
        async_to_sync(self.channel_layer.group_add)(self.group, self.channel_name)
        self.accept()

    def disconnect(self, code):
        async_to_sync(self.channel_layer.group_discard)(self.group, self.channel_name)

    def receive(self, text_data=None, bytes_data=None):
        if text_data == "/who":
            scope = self.scope
            self.send(json.dumps([scope["user"].username, scope["session"].session_key]))
        elif text_data.startswith("/count "):
            users = get_user_model().objects
            users.get_or_create(username=text_data[7:])
            self.send(str(users.filter(username=text_data[7:]).count()))
        else:
            async_to_sync(self.channel_layer.group_send)(
                self.group, {"type": "room.said", "text": text_data}
            )

    def room_said(self, event):
        self.send(text_data=event["text"])


routes = [("ws/ours/<str:name>/", Room)]
