"""Consumers in both ways of writing, and others that sleep, block, or query the database."""

import json
import os
import threading
import time

from asgiref.sync import async_to_sync
from channels.auth import logout
from channels.db import database_sync_to_async
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    WebsocketConsumer,
)
from django.contrib.auth import get_user_model
from django.db import transaction


class AsyncRoom(AsyncWebsocketConsumer):
    """A room whose messages reach all of its members."""

    async def connect(self):
        self.group = f"room-{self.scope['url_route']['kwargs']['name']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "/pid":
            await self.send(text_data=str(os.getpid()))
            return
        await self.channel_layer.group_send(self.group, {"type": "room.said", "text": text_data})

    async def room_said(self, event):
        await self.send(text_data=event["text"])


class SyncRoom(WebsocketConsumer):
    """The same, synchronous."""

    def connect(self):
        self.group = f"room-{self.scope['url_route']['kwargs']['name']}"
        async_to_sync(self.channel_layer.group_add)(self.group, self.channel_name)
        self.accept()

    def disconnect(self, code):
        async_to_sync(self.channel_layer.group_discard)(self.group, self.channel_name)

    def receive(self, text_data=None, bytes_data=None):
        async_to_sync(self.channel_layer.group_send)(
            self.group, {"type": "room.said", "text": text_data}
        )

    def room_said(self, event):
        self.send(text_data=event["text"])


class Sleeper(WebsocketConsumer):
    """A synchronous consumer whose handler takes as many seconds as the client says."""

    def receive(self, text_data=None, bytes_data=None):
        began = time.monotonic()
        time.sleep(float(text_data))
        self.send(text_data=json.dumps([began, time.monotonic()]))


blocked = {}
"""What handlers wait for, by its name."""


class Blocks(WebsocketConsumer):
    """A consumer whose handler blocks its thread until a page ends that."""

    def receive(self, text_data=None, bytes_data=None):
        event = blocked.setdefault(text_data, threading.Event())
        self.send(text_data="released" if event.wait(20) else "not released")


class AsyncBlocks(AsyncWebsocketConsumer):
    """The same in a coroutine, which blocks the loop."""

    async def receive(self, text_data=None, bytes_data=None):
        event = blocked.setdefault(text_data, threading.Event())
        await self.send(text_data="released" if event.wait(20) else "not released")


class Tells(AsyncJsonWebsocketConsumer):
    """Chooses the last subprotocol, adds a header, and tells how it was found."""

    async def connect(self):
        await self.accept(self.scope["subprotocols"][-1], [(b"x-room", b"of the consumer")])
        await self.send_json({"path": self.scope["path"], **self.scope["url_route"]})


class Counts(WebsocketConsumer):
    """Makes users, and tells how many there are with this beginning of their name."""

    def receive(self, text_data=None, bytes_data=None):
        users = get_user_model().objects
        with transaction.atomic():
            users.create(username=text_data)
            count = users.filter(username__startswith=text_data.partition("-")[0]).count()
        self.send(text_data=str(count))


class AsyncCounts(AsyncWebsocketConsumer):
    """The same with the asynchronous interface of Django's ORM."""

    async def receive(self, text_data=None, bytes_data=None):
        users = get_user_model().objects
        await users.acreate(username=text_data)
        found = users.filter(username__startswith=text_data.partition("-")[0])
        await self.send(text_data=str(await found.acount()))


class WhoAmI(AsyncJsonWebsocketConsumer):
    """Tells who the client is, and how many users there are; any message logs out."""

    async def connect(self):
        user = self.scope["user"]
        if user.is_anonymous:
            await self.close()
            return
        await self.accept()
        identity = self.scope["wsredis"]
        await self.send_json(
            {"user": user.username, "identity": identity.user, "count": await self.count()}
        )

    async def receive_json(self, content, **kwargs):
        await logout(self.scope)

    @database_sync_to_async
    def count(self):
        return get_user_model().objects.count()
