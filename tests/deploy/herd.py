"""Many instances of the browser client in Node, which a reload disconnects."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any, Self

import playwright

from ..servers.support import SECONDS, eventually
from .support import Deployment

__all__ = ["Herd"]

NODE = Path(playwright.__file__).parent / "driver" / "node"
SCRIPT = Path(__file__).with_name("herd.mjs")
COUNT = 12


class Herd:
    """Clients that stay connected until the end of a `with` block.

    Args:
        deployment: the deployment they connect to.
        facility: the facility they subscribe to.
    """

    def __init__(self, deployment: Deployment, facility: str) -> None:
        self._deployment = deployment
        self._facility = facility
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        url = self._deployment.url(self._facility, "subscribe-broadcast")
        trusted = {"NODE_EXTRA_CA_CERTS": str(self._deployment.ca)} if self._deployment.tls else {}
        self._node = subprocess.Popen(
            [str(NODE), str(SCRIPT), url, str(COUNT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._deployment.environ | trusted,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        try:
            eventually(lambda: self._who("open") == COUNT, "all are connected", 2 * SECONDS)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._node.stdin
        assert self._node.stdout
        self._node.stdin.close()
        try:
            self._node.wait(SECONDS)
        finally:
            self._node.kill()
            self._node.wait()
            self._reader.join()
            self._node.stdout.close()

    def _read(self) -> None:
        assert self._node.stdout
        for line in self._node.stdout:
            self.events.append(json.loads(line))

    def _who(self, event: str, **is_so: object) -> int:
        """Return how many of them have had an event, with these values in it."""
        return len(
            {
                one["who"]
                for one in tuple(self.events)
                if one["event"] == event and is_so.items() <= one.items()
            }
        )

    def lost(self) -> list[dict[str, Any]]:
        """Wait until each has lost its connection and return how that went the first time."""
        eventually(lambda: self._who("lost") == COUNT, "each was sent away", 2 * SECONDS)
        first: dict[int, dict[str, Any]] = {}
        for event in tuple(self.events):
            if event["event"] == "lost":
                first.setdefault(event["who"], event)
        return list(first.values())

    def wait_until_all_hear(self, text: str) -> None:
        """Publish until each of them has heard it: all are there."""

        def heard() -> bool:
            self._deployment.broadcast(self._facility, text)
            return self._who("message", text=text) == COUNT

        eventually(heard, "all are back", 2 * SECONDS)
