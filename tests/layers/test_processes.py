"""The layers in processes of several kinds: with Channels, gevent, forks, and after a crash."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from wsredis.layers import RedisChannelLayer

from .support import ROOT, SECONDS, line_of, program, run

MakeLayer = Callable[..., RedisChannelLayer]

MEMBER = """
import sys
from wsredis.layers import RedisChannelLayer
layer = RedisChannelLayer(hosts=[sys.argv[1]])
channel = layer.new_channel().result()
layer.group_add("group", channel)
print(channel, flush=True)
while True:
    print(layer.receive(channel).result()["text"], flush=True)
"""

CHANNELS = """
import asyncio, json, sys
from django.conf import settings
settings.configure(CHANNEL_LAYERS={"default": {
    "BACKEND": sys.argv[2], "CONFIG": json.loads(sys.argv[3])
}})
import django
django.setup()
from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
from channels.layers import get_channel_layer
from asgiref.testing import ApplicationCommunicator

class Client(ApplicationCommunicator):
    def __init__(self, application):
        super().__init__(application, {"type": "websocket", "path": "/ws/", "headers": []})

    async def connect(self):
        await self.send_input({"type": "websocket.connect"})
        assert (await self.receive_output(timeout=30))["type"] == "websocket.accept"

    async def send_json(self, content):
        await self.send_input({"type": "websocket.receive", "text": json.dumps(content)})

    async def receive_json(self):
        return json.loads((await self.receive_output(timeout=30))["text"])

    async def disconnect(self):
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(timeout=30)

class Async(AsyncJsonWebsocketConsumer):
    groups = ["room"]

    async def receive_json(self, content):
        await self.channel_layer.group_send("room", {"type": "chat.message", "text": content})

    async def chat_message(self, event):
        await self.send_json(["async", event["text"]])

class Sync(JsonWebsocketConsumer):
    def connect(self):
        async_to_sync(self.channel_layer.group_add)("room", self.channel_name)
        self.accept()

    def disconnect(self, code):
        async_to_sync(self.channel_layer.group_discard)("room", self.channel_name)

    def receive_json(self, content):
        async_to_sync(self.channel_layer.group_send)(
            "room", {"type": "chat.message", "text": content}
        )

    def chat_message(self, event):
        self.send_json(["sync", event["text"]])

async def main():
    clients = [Client(kind.as_asgi()) for kind in (Async, Sync)]
    said = []
    for client in clients:
        await client.connect()
    for number, client in enumerate(clients):
        await client.send_json(f"hello {number}")
        for each in clients:
            said.append(await each.receive_json())
    await clients[1].disconnect()
    await get_channel_layer().group_send("room", {"type": "chat.message", "text": "bye"})
    said.append(await clients[0].receive_json())
    await clients[0].disconnect()
    for _ in range(3):
        await get_channel_layer().send("thumbnails", {"type": "make"})
    try:
        await get_channel_layer().send("thumbnails", {"type": "make"})
    except ChannelFull:
        said.append("full")
    await get_channel_layer().flush()
    print(json.dumps(said))

asyncio.run(main())
"""

PATCHED = """
from gevent import monkey
monkey.patch_all()
import asyncio, sys
import gevent
from asgiref.sync import async_to_sync
from wsredis.layers import InMemoryChannelLayer, RedisChannelLayer

for layer in (InMemoryChannelLayer(), RedisChannelLayer(hosts=[sys.argv[1]])):
    ticks = []

    def tick():
        while True:
            ticks.append(1)
            gevent.sleep(0.001)

    def member():
        channel = layer.new_channel().result()
        layer.group_add("group", channel)
        gevent.spawn(ready)
        return layer.receive(channel).result()["number"]

    joined = []

    def ready():
        joined.append(1)
        if len(joined) == 5:
            layer.group_send("group", {"number": 1})

    layer.new_channel()  # connects, which not all may wait for if Redis is slow
    ticker = gevent.spawn(tick)
    members = [gevent.spawn(member) for _ in range(5)]
    print([each.get(timeout=30) for each in members], flush=True)

    def worker():
        return layer.receive("thumbnails").result()["number"]

    workers = [gevent.spawn(worker) for _ in range(3)]
    gevent.sleep(0)
    for number in range(3):
        layer.send("thumbnails", {"number": number})
    print(sorted(each.get(timeout=30) for each in workers), flush=True)

    async def loop():
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        reader = asyncio.create_task(layer.receive(channel))
        await asyncio.sleep(0)
        await layer.group_send("group", {"number": 2})
        return (await asyncio.wait_for(reader, 30))["number"]

    print(gevent.spawn(asyncio.run, loop()).get(timeout=30), flush=True)

    def view():
        channel = async_to_sync(layer.new_channel)()
        async_to_sync(layer.send)(channel, {"number": 3})
        return async_to_sync(layer.receive)(channel)["number"]

    print(gevent.spawn(view).get(timeout=30), flush=True)
    assert len(ticks) > 1
    ticker.kill()
"""

FORKED = """
import os, sys
from wsredis.layers import InMemoryChannelLayer, RedisChannelLayer
layer = RedisChannelLayer(hosts=[sys.argv[1]])
memory = InMemoryChannelLayer()
memory.send("general", {})
channel = layer.new_channel().result()
layer.group_add("group", channel)
layer.group_send("group", {"text": "before"})
assert layer.receive(channel).result() == {"text": "before"}
if not (child := os.fork()):
    assert layer._channels == {} and memory._channels == {}
    own = layer.new_channel().result()
    assert own.split(".")[1][:12] != channel.split(".")[1][:12]
    layer.group_add("group", own)
    layer.group_add("forwarded", channel)
    layer.group_send("group", {"text": "of the child"})
    assert layer.receive(own).result() == {"text": "of the child"}
    layer.send(channel, {"text": "to the parent"})
    memory.send("general", {"text": "in memory"})
    assert memory.receive("general").result() == {"text": "in memory"}
    os._exit(0)
assert layer.receive(channel).result() == {"text": "of the child"}
assert layer.receive(channel).result() == {"text": "to the parent"}
_, status = os.waitpid(child, 0)
assert status == 0, status
layer.group_send("group", {"text": "after"})
assert layer.receive(channel).result() == {"text": "after"}
print("ok")
"""

WORKER = """
import os, sys
from asgiref.sync import async_to_sync
from wsredis.layers import RedisChannelLayer
import wsredis.process
layer = RedisChannelLayer(hosts=[sys.argv[1]])
children = []
for number in range(3):
    if not (child := os.fork()):
        for _ in range(2):
            async_to_sync(layer.group_send)("group", {"text": f"task {number}"})
        assert wsredis.process._processes == []
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
print("ok")
"""


@pytest.fixture
def member(redis_url: str, redis_client: redis.Redis) -> Iterator[subprocess.Popen[str]]:
    """Give a process that prints the messages of the group ``group``, after its channel."""
    process = program(MEMBER, redis_url)
    yield process
    process.kill()
    process.communicate()


def output_of(text: str, *arguments: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-P", "-c", text, *arguments],
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        cwd=ROOT,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_group_has_members_in_several_processes(
    member: subprocess.Popen[str], layers: MakeLayer
) -> None:
    async def main() -> None:
        channel = line_of(member)
        layer = layers()
        own = await layer.new_channel()
        await layer.group_add("group", own)
        await layer.group_send("group", {"text": "to the group"})
        assert line_of(member) == "to the group"
        assert await layer.receive(own) == {"text": "to the group"}
        await layer.send(channel, {"text": "to one"})
        assert line_of(member) == "to one"

    run(main())


def test_another_process_changes_the_groups_of_a_channel(
    member: subprocess.Popen[str], layers: MakeLayer, redis_client: redis.Redis
) -> None:
    channel = line_of(member)
    layer = layers()
    name = "asgi__group__other"
    layer.group_add("other", channel)
    while redis_client.pubsub_numsub(name) != [(name.encode(), 1)]:
        pass  # the time limit of the test ends this
    layer.group_send("other", {"text": "hello"})
    assert line_of(member) == "hello"
    layer.group_discard("other", channel)
    while redis_client.pubsub_numsub(name) != [(name.encode(), 0)]:
        pass


def test_a_crashed_member_leaves_nothing(
    member: subprocess.Popen[str], layers: MakeLayer, redis_client: redis.Redis
) -> None:
    channel = line_of(member)
    layer = layers()
    own = layer.new_channel().result()
    layer.group_add("group", own)
    member.kill()
    member.wait(SECONDS)
    while redis_client.pubsub_numsub(channel) != [(channel.encode(), 0)]:
        pass
    layer.send(channel, {"text": "to nobody"})
    layer.group_send("group", {"text": "to the rest"})
    assert layer.receive(own).result() == {"text": "to the rest"}
    assert redis_client.keys("*") == []


@pytest.mark.parametrize(
    "backend", ["wsredis.layers.RedisChannelLayer", "wsredis.layers.InMemoryChannelLayer"]
)
def test_consumers_of_channels_use_a_layer(
    backend: str, redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    config: dict[str, Any] = {"capacity": 3}
    monkeypatch.setenv("WSREDIS_REDIS", redis_url)
    said = json.loads(output_of(CHANNELS, redis_url, backend, json.dumps(config)))
    assert said == [
        *(["async", "hello 0"], ["sync", "hello 0"], ["async", "hello 1"], ["sync", "hello 1"]),
        *(["async", "bye"], "full"),
    ]


def test_in_a_patched_process_greenlets_wait_for_messages(redis_url: str) -> None:
    each = ["[1, 1, 1, 1, 1]", "[0, 1, 2]", "2", "3"]
    assert output_of(PATCHED, redis_url).splitlines() == each * 2


def test_a_forked_child_has_channels_of_its_own(redis_url: str) -> None:
    assert output_of(FORKED, redis_url) == "ok\n"


def test_forked_workers_send_without_a_hub(member: subprocess.Popen[str], redis_url: str) -> None:
    line_of(member)
    assert output_of(WORKER, redis_url) == "ok\n"
    got = [line_of(member) for _ in range(6)]
    assert sorted(got) == [f"task {number}" for number in range(3) for _ in range(2)]


def test_importing_loads_neither_asyncio_nor_redis() -> None:
    text = """if True:
        import sys
        import wsredis, wsredis.layers
        print([n for n in ("asyncio", "redis", "msgpack", "asgiref") if n in sys.modules])
    """
    assert output_of(text) == "[]\n"


def test_a_program_ends_although_a_layer_receives(redis_url: str) -> None:
    text = """if True:
        import sys, threading
        from wsredis.layers import RedisChannelLayer
        layer = RedisChannelLayer(hosts=[sys.argv[1]])
        channel = layer.new_channel().result()
        threading.Thread(target=layer.receive, args=(channel,), daemon=True).start()
        threading.Thread(target=layer.receive, args=("general",), daemon=True).start()
        print("end")
    """
    assert output_of(text, redis_url) == "end\n"
