"""A client in a separate process, which a test can stop like a laptop whose lid is closed.

``python sleeper.py URL`` prints ``open``, and at the end the close code, or ``lost``.
"""

from __future__ import annotations

import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def main(url: str) -> None:
    """Listen until the end."""
    with connect(url, ping_interval=None, proxy=None) as ws:
        print("open", flush=True)
        try:
            while True:
                ws.recv()
        except ConnectionClosed as exc:
            print(exc.rcvd.code if exc.rcvd else "lost", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
