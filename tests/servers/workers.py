"""Connect to all workers of a server: the system may give all connections to the same ones.

On one CPU it does so for as long as one likes: who has just accepted something accepts the next
one too. Whoever has enough rests meanwhile, and the others have their turn.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from .support import Site

__all__ = ["Rest", "everywhere"]

T = TypeVar("T")


class Rest:
    """A pause of processes for the duration of a `with` block."""

    def __init__(self) -> None:
        self._stopped: set[int] = set()

    def __enter__(self) -> Rest:
        return self

    def stop(self, pid: int) -> None:
        """Let a process rest; it may have ended already."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            self._stopped.add(pid)
        while _runs(pid):  # it might accept one more
            time.sleep(0.001)

    def __exit__(self, *error: object) -> None:
        for pid in self._stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _runs(pid: int) -> bool:
    """Tell whether a process may do something; no where the system does not say."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return said.rpartition(")")[2].split()[0] in "RSD"


def everywhere(site: Site, come: Callable[[], T]) -> list[T]:
    """Let somebody come again and again, until each worker holds a websocket."""
    came = []
    while empty := {pid for pid, stats in site.each_worker().items() if not stats["connections"]}:
        with Rest() as rest:
            for pid in site.workers() - empty:
                rest.stop(pid)
            came.append(come())
        assert len(came) < 200, "some worker gets nobody"
    return came
