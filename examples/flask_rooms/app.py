"""The application: ``flask --app wsredis.examples.flask_rooms.app run``.

It is for trying things out on your own machine: users choose their names.
"""

import time
from typing import Any

from flask import Blueprint, Flask, render_template

from wsredis.adapters.flask import WSRedis

from .events import EventConsumer

ROOMS = ["lobby", "kitchen", "workshop", "garden"]
MAX_NAME = 24
MAX_TEXT = 2000
"""Maximum lengths, in characters."""

ws = WSRedis()
pages = Blueprint("pages", __name__)
style = Blueprint(  # the same as in the other chat
    "style", "wsredis.examples.flask_chat", static_folder="static", static_url_path="/style"
)


def create_app(**config: Any) -> Flask:
    """Make the application."""
    app = Flask(__name__)
    app.config.from_mapping(WSREDIS_MAX_MESSAGE_SIZE=16 * 1024, **config)  # bytes
    ws.init_app(app)
    app.register_blueprint(pages)
    app.register_blueprint(style)
    return app


@pages.get("/")
def index() -> str:
    """Show the chat."""
    return render_template("rooms.html", rooms=ROOMS, max_name=MAX_NAME, max_text=MAX_TEXT)


@pages.after_request
def content_security_policy(response: Any) -> Any:
    """Let pages load and run only what this site serves."""
    response.headers["Content-Security-Policy"] = "default-src 'self'"
    return response


@ws.route("/ws/rooms")
class Rooms(EventConsumer):
    """A client, which can be in several rooms."""

    def connect(self) -> None:
        self.rooms: set[str] = set()
        self.accept()

    def on_join(self, room: Any) -> bool:
        if room in ROOMS:
            self.rooms.add(room)
            self.group_add(f"room.{room}")
        return room in self.rooms

    def on_leave(self, room: Any) -> bool:
        if room in self.rooms:
            self.rooms.discard(room)
            self.group_discard(f"room.{room}")
        return room not in self.rooms

    def on_say(self, data: Any) -> dict[str, Any]:
        """Pass a message on to the others in a room; the answer is the message as they see it."""
        room, text = str(data.get("room")), str(data.get("text", "")).strip()[:MAX_TEXT]
        if room not in self.rooms or not text:
            return {"error": "Not sent: enter the room, and write a message."}
        name = str(data.get("from", "")).strip()[:MAX_NAME] or "guest"
        message = {"room": room, "from": name, "text": text, "at": time.time()}
        self.emit("said", message, to=f"room.{room}", include_self=False)
        return message
