"""A site whose workers never finish starting: uWSGI calls this function right after the fork."""

from __future__ import annotations

import os
import random
import signal
from typing import Any

from wsredis import WebSocketMiddleware


def seed(*args: Any) -> None:
    os.write(2, b"a worker begins\n")
    signal.pause()


random.seed = seed

application = WebSocketMiddleware(None)
