"""The lifespan of an ASGI application (ASGI lifespan protocol 2.0), in a process that hosts it.

Like uvicorn's ``--lifespan auto``: an application that raises before it has answered the startup
event does not support the protocol, and is run without it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Mapping
from typing import Any

from ..runtime.logs import get_logger
from .scope import ASGI

__all__ = ["Lifespan"]

log = get_logger("wsredis.asgi")


class Lifespan:
    """The startup and shutdown of an application; used on the asyncio loop.

    Args:
        app: the application.

    Attributes:
        state: what the application has stored for its websockets.
        failed: whether the startup has failed.
        stopped: whether the application has shut down, or has no lifespan.
    """

    def __init__(self, app: Any) -> None:
        self.state: dict[str, Any] = {}
        self.stopped = False
        self._app = app
        self.failed = False
        self._supported = False
        self._ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._asked = False
        self._task: asyncio.Task[None]

    def start(self) -> None:
        """Send the startup event."""
        # Its own context, as the current one is a copy of that of a client's request.
        self._task = asyncio.Task(self._run(), context=contextvars.Context())

    def stop(self) -> None:
        """Send the shutdown event."""
        self._stop.set()

    def cancel(self) -> None:
        """Cancel an application that does not shut down."""
        self._task.cancel()

    async def started(self) -> bool:
        """Wait for the answer to the startup event; return whether websockets can be served."""
        await self._ready.wait()
        return not self.failed

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": dict(ASGI), "state": self.state}
        try:
            await self._app(scope, self._receive, self._send)
        except (Exception, SystemExit, KeyboardInterrupt) as exc:  # the last two would end the loop
            if not self._supported:
                log.info("the application has no lifespan (%s)", type(exc).__name__)
            elif not self.failed:
                log.exception("the application failed in its lifespan")
        finally:
            self.stopped = True
            self._ready.set()

    async def _receive(self) -> Mapping[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "lifespan.startup"}
        await self._stop.wait()
        await asyncio.sleep(0)  # an application may receive it in an endless loop
        return {"type": "lifespan.shutdown"}

    async def _send(self, event: Mapping[str, Any]) -> None:
        kind = event["type"]
        self._supported = True
        if kind == "lifespan.startup.failed":
            self.failed = True
            self._stop.set()
            log.error("the startup of the application failed: %s", event.get("message", ""))
        elif kind == "lifespan.shutdown.failed":
            log.error("the shutdown of the application failed: %s", event.get("message", ""))
        if kind.startswith("lifespan.shutdown."):
            self.stopped = True
        self._ready.set()
