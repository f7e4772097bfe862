"""A websocket server for the tests of the browser client, controlled by lines on stdin.

It prints one JSON object per line: first {"port": n}, then events of the connections.
Commands: "say TEXT", "bytes HEX", "close CODE", "drop". The end of stdin ends the server.

Paths: /ws/echo sends text back, /ws/quiet only listens, /ws/refuse answers 403.
"""

import asyncio
import http
import json
import sys
from collections.abc import Sequence

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

connections: set[ServerConnection] = set()


def tell(**event: object) -> None:
    """Print one event for the test."""
    print(json.dumps(event), flush=True)


def refuse(connection: ServerConnection, request: Request) -> Response | None:
    """Answer 403 where the test wants a refused handshake."""
    if not request.path.startswith("/ws/refuse"):
        return None
    tell(event="refused")
    return connection.respond(http.HTTPStatus.FORBIDDEN, "no\n")


def choose(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Accept the first subprotocol offered, and a client that offers none."""
    return offered[0] if offered else None


async def handle(connection: ServerConnection) -> None:
    """Report what one connection does, and echo where the path asks for it."""
    connections.add(connection)
    assert connection.request is not None
    path = connection.request.path
    tell(event="open", path=path, subprotocol=connection.subprotocol)
    try:
        while True:
            message = await connection.recv()
            if isinstance(message, bytes):
                tell(event="message", hex=message.hex())
            else:
                tell(event="message", text=message)
            if path.startswith("/ws/echo"):
                await connection.send(message)
    except ConnectionClosed as closed:
        tell(event="close", code=closed.rcvd.code if closed.rcvd else 1006)
    finally:
        connections.discard(connection)


async def obey(line: str) -> None:
    """Do what one line of stdin says to every open connection."""
    command, _, rest = line.rstrip("\n").partition(" ")
    for connection in list(connections):
        if command == "say":
            await connection.send(rest)
        elif command == "bytes":
            await connection.send(bytes.fromhex(rest))
        elif command == "close":
            await connection.close(int(rest), "as told")
        elif command == "drop":
            connection.transport.abort()


async def main() -> None:
    """Serve on a free port until stdin ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with serve(
        handle,
        "127.0.0.1",
        0,
        process_request=refuse,
        select_subprotocol=choose,
        close_timeout=1,
    ) as server:
        tell(port=server.sockets[0].getsockname()[1])
        while line := await reader.readline():
            await obey(line.decode())
    # Leaving the block closes what is open, so no process is left behind.


asyncio.run(main())
