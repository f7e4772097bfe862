"""Flask-SocketIO on gevent, with Redis as its message queue: a client joins its rooms."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402

from flask import Flask, request  # noqa: E402
from flask_socketio import SocketIO, join_room  # noqa: E402

app = Flask(__name__)
queue = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0"
socketio = SocketIO(app, async_mode="gevent", message_queue=queue)


@socketio.on("connect")
def connect() -> None:
    for room in request.args["rooms"].split(","):
        join_room(room)


socketio.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_output=False)
