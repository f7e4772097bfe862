"""One Redis, two packages: websockets of both receive what the original 0.6.0 or ours publishes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection
from ws4redis.publisher import RedisPublisher

from wsredis.embedded import EmbeddedRedis

from .conftest import Live
from .support import Process, environment
from .talk import hear

HERE = Path(__file__).parent
BOTH = "subscribe-broadcast&publish-broadcast"

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("ws4redis-mixed")]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the original package; skip where it cannot be had, but not in CI."""
    folder = tmp_path_factory.mktemp("original")
    packages = ["django-websocket-redis==0.6.0", "six"]
    options = ["--disable-pip-version-check", "--quiet", "--no-deps", "--retries", "1"]
    options += ["--timeout", "20", "--target", str(folder)]
    ran = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, *packages],
        capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    if ran.returncode:
        reason = f"the original package cannot be had: {ran.stderr.strip()[-300:]}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="module")
def env(original: Path, redis_server: EmbeddedRedis) -> dict[str, str]:
    given = environment(original, redis_server.port, WS4REDIS_ORIGINAL=str(original))
    given.pop("DJANGO_SETTINGS_MODULE")
    return given


@pytest.fixture(scope="module")
def publish(env: dict[str, str]) -> Iterator[Callable[..., None]]:
    """Give a function that publishes with the original package."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", HERE / "original.py", "publish"],
        env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def order(message: bytes, **to: Any) -> None:
            print(json.dumps({"to": to, "message": list(message)}), file=stdin, flush=True)
            assert stdout.readline() == "done\n"

        yield order
        stdin.close()


@pytest.fixture(scope="module")
def theirs(env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Give a process that holds websockets with the original package."""
    command = [sys.executable, "-W", "ignore", str(HERE / "original.py"), "serve", "{port}"]
    with Process(command, tmp_path_factory.mktemp("theirs"), env) as process:
        yield process


@pytest.mark.parametrize("message", [b"hello", "ünï".encode(), b"\xff\xfe\x00", b"\xffB"])
def test_what_the_original_publishes_reaches_our_sockets(
    publish: Any, live: Live, room: str, message: bytes
) -> None:
    try:
        expected: str | bytes = message.decode()
    except UnicodeDecodeError:
        expected = message
    with live.open(f"/ws/{room}?subscribe-broadcast") as ws:
        publish(message, facility=room, broadcast=True)
        assert hear(ws) == expected
    with live.open(f"/ws/{room}?subscribe-broadcast") as late:
        assert hear(late) == expected
    assert RedisPublisher().fetch_message(None, room) == message


def test_names_of_people_and_groups_mean_the_same(
    publish: Any, live: Live, person: Any, login: Any, room: str
) -> None:
    client = login(person("jane@example.com", "Site Admins"))
    with live.open(f"/ws/{room}?subscribe-user&subscribe-group&subscribe-session", client) as ws:
        for to in (
            {"users": ["jane@example.com"]},
            {"groups": ["Site Admins"]},
            {"sessions": [client.session.session_key]},
        ):
            publish(str(to).encode(), facility=room, **to)
            assert hear(ws) == str(to)


def heard_by_theirs(ws: ClientConnection, say: Callable[[], object]) -> Any:
    """Say something until it is heard: the original may hold a message until the next one."""
    for _ in range(20):
        say()
        try:
            return ws.recv(timeout=1)
        except TimeoutError:
            pass
    raise AssertionError("the original heard nothing")


def test_what_we_publish_reaches_the_sockets_of_the_original(theirs: Process) -> None:
    publisher = RedisPublisher(facility="foobar", broadcast=True)
    publisher.publish_message("retained", 10)
    with theirs.open("subscribe-broadcast") as ws:
        assert hear(ws) == "retained"
        assert heard_by_theirs(ws, lambda: publisher.publish_message("ünï", 0)) == "ünï"


def test_sockets_of_both_talk_to_each_other(theirs: Process, live: Live, redis: Any) -> None:
    redis.delete("broadcast:foobar")
    with theirs.open(BOTH) as their, live.open(f"/ws/foobar?{BOTH}") as our:
        assert heard_by_theirs(their, lambda: our.send("of ours")) == "of ours"
        their.send("of theirs")
        assert hear(our) == "of theirs"
    with live.open("/ws/foobar?subscribe-broadcast") as late:
        assert hear(late) == "of theirs"
