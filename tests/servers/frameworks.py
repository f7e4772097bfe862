"""Websocket routes of FastAPI and Starlette and a GraphQL subscription, beside a WSGI application.

``application`` hosts them on a WSGI server; uvicorn runs ``routes`` itself.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
import strawberry
from fastapi import Cookie, Depends, FastAPI, HTTPException, WebSocket, WebSocketException
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.websockets import WebSocketDisconnect
from strawberry.asgi import GraphQL

from wsredis import WebSocketMiddleware

seen: dict[str, list[Any]] = {}
"""What the routes have seen, by the name that the client chose."""


def note(name: str, what: Any) -> None:
    seen.setdefault(name, []).append(what)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"greeting": "hello"}
    print("lifespan: shut down", flush=True)


routes = FastAPI(lifespan=lifespan)


@routes.get("/seen/{name}")
async def seen_page(name: str) -> list[Any]:
    """Answer for uvicorn as `page` does."""
    return seen.get(name, [])


def where_it_runs(q: str = "") -> str:
    """Return a parameter of the query; FastAPI calls this in a thread."""
    return f"{q} {threading.current_thread() is threading.main_thread()}"


@routes.websocket("/ws/rooms/{number}")
async def room(
    websocket: WebSocket,
    number: int,
    found: Annotated[str, Depends(where_it_runs)],
    theme: Annotated[str | None, Cookie()] = None,
) -> None:
    await websocket.accept(subprotocol="two", headers=[(b"x-room", str(number).encode())])
    await websocket.send_json([websocket.state.greeting, number, found, theme])
    name = ""
    try:
        async for name in websocket.iter_text():
            note(name, "received")
            await websocket.send_bytes(name.encode())
        note(name, "ended")
    finally:
        note(name, "finally")


@routes.websocket("/ws/codes/{name}")
async def codes(websocket: WebSocket, name: str) -> None:
    await websocket.accept()
    try:
        await websocket.receive_text()
    except WebSocketDisconnect as exc:
        note(name, [exc.code, exc.reason])


@routes.websocket("/ws/denied")
async def denied(websocket: WebSocket) -> None:
    response = JSONResponse({"why": "quota"}, status_code=402, headers={"X-Quota": "3"})
    await websocket.send_denial_response(response)


@routes.websocket("/ws/raised")
async def raised(websocket: WebSocket) -> None:
    raise HTTPException(418, "short and stout")


@routes.websocket("/ws/policy/{when}")
async def policy(websocket: WebSocket, when: str) -> None:
    if when == "late":
        await websocket.accept()
    raise WebSocketException(4003, "no")


@routes.websocket("/ws/groups")
async def groups(websocket: WebSocket) -> None:
    """Run tasks, threads and deadlines of anyio."""
    await websocket.accept()

    async def tell(number: int) -> None:
        await anyio.to_thread.run_sync(threading.Event().wait, 0.01)
        await websocket.send_text(str(number))

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(tell, number)
    with anyio.move_on_after(0.01) as scope:
        await anyio.sleep_forever()
    await websocket.send_text(f"cancelled: {scope.cancelled_caught}")
    await websocket.close(4000)


# Starlette


async def starlette_echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json({"path": websocket.url.path, "name": websocket.path_params["name"]})
    async for data in websocket.iter_bytes():
        await websocket.send_bytes(data)
    await websocket.close()


async def starlette_page(request: Any) -> JSONResponse:
    return JSONResponse("a page")


routes.mount(
    "/ws/starlette",
    Router(
        [
            Route("/page", starlette_page),
            Mount("/below", Router([WebSocketRoute("/{name}", starlette_echo)])),
        ]
    ),
)


# GraphQL


@strawberry.type
class Query:
    @strawberry.field
    async def hello(self) -> str:
        return "hello"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, target: int) -> AsyncGenerator[int, None]:
        for number in range(target):
            yield number
            await asyncio.sleep(0)

    @strawberry.subscription
    async def watch(self, name: str) -> AsyncGenerator[str, None]:
        try:
            yield "watching"
            await asyncio.sleep(3600)
        finally:
            note(name, "ended")

    @strawberry.subscription
    async def broken(self) -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError("broken by the test")


routes.mount("/ws/graphql", GraphQL(strawberry.Schema(query=Query, subscription=Subscription)))


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with what the routes have seen, below ``/seen/``."""
    name = environ.get("PATH_INFO", "").rpartition("/")[2]
    body = json.dumps(seen.get(name, [])).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


application = WebSocketMiddleware(page, asgi=routes)
