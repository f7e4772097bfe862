"""An application that tries what asyncio offers, in a websocket and in pages of the same process.

A message of the client, or the path of a page, names the check.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async

from wsredis import WebSocketMiddleware

CHECKS: dict[str, Callable[[], Any]] = {}
PAGES: dict[str, Callable[[], Any]] = {}

lock = threading.Lock()
log = logging.getLogger("checks")
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")


def check(function: Callable[[], Any]) -> Callable[[], Any]:
    CHECKS[function.__name__] = function
    return function


def view(function: Callable[[], Any]) -> Callable[[], Any]:
    PAGES[function.__name__] = function
    return function


async def one() -> int:
    await asyncio.sleep(0.001)
    return 1


@check
async def sleeps_cooperatively() -> bool:
    """In a patched process other greenlets run meanwhile; its own loop and task are as before."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    for _ in range(3):
        time.sleep(0.01)
        assert asyncio.get_running_loop() is loop
        assert asyncio.current_task() is task
        await asyncio.sleep(0)
    return True


@check
async def to_thread() -> bool:
    return await asyncio.to_thread(one_in_a_thread) == 1


def one_in_a_thread() -> int:
    time.sleep(0.001)
    return 1


@check
async def sync_code() -> bool:
    return await sync_to_async(one_in_a_thread)() == 1


@check
async def sync_code_that_calls_async_code() -> bool:
    def call() -> int:
        return async_to_sync(one)()

    return await sync_to_async(call)() == 1


@check
async def sync_code_sees_no_loop() -> bool:
    return await sync_to_async(asyncio._get_running_loop)() is None


@check
async def names() -> bool:
    return bool(await asyncio.get_running_loop().getaddrinfo("localhost", 80))


@check
async def streams() -> bool:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\n")
    line = await reader.readline()
    writer.close()
    server.close()
    return line == b"hello\n"


@check
async def sockets() -> bool:
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    for each in (left, right):
        each.setblocking(False)
    await loop.sock_sendall(left, b"hello")
    data = await loop.sock_recv(right, 100)
    left.close()
    right.close()
    return data == b"hello"


@check
async def subprocesses() -> bool:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "print('hello')", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    return out == b"hello\n"


@check
async def timeouts() -> bool:
    try:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(10)
    except TimeoutError:
        return True
    return False


@check
async def groups() -> bool:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one()) for _ in range(5)]
    return sum(task.result() for task in tasks) == 5


@check
async def generators() -> bool:
    """A generator that is not used up is closed by the loop."""
    closed = asyncio.Event()

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(10):
                yield number
        finally:
            closed.set()

    async for number in numbers():
        if number == 3:
            break
    await asyncio.wait_for(closed.wait(), 5)
    return True


@check
async def context() -> bool:
    """Another websocket of this check must not see it, nor a greenlet's."""
    before = variable.get()
    variable.set("set")
    await asyncio.sleep(0)
    return before == "default" and await asyncio.create_task(value()) == "set"


async def value() -> str:
    return variable.get()


@check
async def locks() -> bool:
    """A lock that pages take, too."""
    for _ in range(20):
        with lock:
            log.warning("in the application")
        await asyncio.sleep(0)
    return True


@view
def no_loop() -> bool:
    for _ in range(20):
        if asyncio._get_running_loop() is not None:
            return False
        time.sleep(0.001)
    return True


@view
def async_code() -> bool:
    return async_to_sync(one)() == 1


@view
def locked() -> bool:
    for _ in range(20):
        with lock:
            log.warning("in a page")
        time.sleep(0.001)
    return True


async def websocket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        try:
            result = repr(await CHECKS[event["text"]]())
        except Exception as exc:
            result = repr(exc)
        await send({"type": "websocket.send", "text": result})


def page(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    found = PAGES.get(environ["PATH_INFO"].strip("/"))
    try:
        body = repr(found() if found else None).encode()
    except Exception as exc:
        body = repr(exc).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


application = WebSocketMiddleware(page, asgi=websocket)
