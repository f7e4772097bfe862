"""The application and its pages: ``flask --app wsredis.examples.flask_chat.app run``.

It is for trying things out on one's own machine: the key and the passwords are known.
"""

import time
from typing import Any
from uuid import uuid4

from flask import Blueprint, Flask, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from werkzeug.security import check_password_hash, generate_password_hash

from wsredis import BrokerUnavailable
from wsredis.adapters.flask import SELF, WSRedis

PEOPLE = {"alice": ["editors"], "bob": ["editors", "gardeners"], "carol": ["gardeners"]}
"""Who there is, and their groups."""

PASSWORD = generate_password_hash("secret")
MAX_TEXT = 2000
"""Characters of one message."""

ws = WSRedis()
login_manager = LoginManager()
pages = Blueprint("pages", __name__)


class Person(UserMixin):
    """Somebody who can log in; channels know them by ``id``."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.groups = PEOPLE[name]


@login_manager.user_loader
def load_person(name: str) -> Person | None:
    """Return who a session says it belongs to."""
    return Person(name) if name in PEOPLE else None


def groups(request: Any) -> list[str]:
    """Say to wsredis in which groups the sender of a request is."""
    return list(current_user.groups)


def create_app(**config: Any) -> Flask:
    """Make the application."""
    app = Flask(__name__)
    app.config.from_mapping(
        SECRET_KEY="insecure, for trying it out on one's own machine",
        SESSION_COOKIE_SAMESITE="Lax",  # so that no form of another site is sent in one's name
        REMEMBER_COOKIE_SAMESITE="Lax",
        WSREDIS_GROUPS=groups,
        WSREDIS_EXPIRE=3600,  # seconds for which the last message awaits those who come or reload
        WSREDIS_HEARTBEAT="--heartbeat--",
    )
    app.config.update(config)
    login_manager.init_app(app)
    ws.init_app(app)
    app.register_blueprint(pages)
    return app


@pages.after_request
def content_security_policy(response: Any) -> Any:
    """Let pages load and run what this site serves, and nothing else; no cache keeps them."""
    response.headers["Content-Security-Policy"] = "default-src 'self'"
    response.headers["Cache-Control"] = "no-store"
    return response


def audiences() -> dict[str, dict[str, Any]]:
    """Return to whom the visitor may write: how a page names it, and what a publisher takes."""
    found: dict[str, dict[str, Any]] = {}
    if current_user.is_authenticated:
        others = [name for name in PEOPLE if name != current_user.id]
        found["everybody"] = {"broadcast": True}
        found |= {name: {"users": [name, SELF]} for name in others}
        found |= {f"#{group}": {"groups": [group]} for group in current_user.groups}
    return found | {"this browser": {"sessions": [SELF]}}


@pages.get("/")
def index() -> ResponseReturnValue:
    """Show the chat."""
    return render_template("chat.html", audiences=audiences(), max_text=MAX_TEXT)


@pages.post("/say")
def say() -> ResponseReturnValue:
    """Publish what the form says; the script of the page gets 204, other browsers the page."""
    to, text = request.form.get("to", ""), request.form.get("text", "").strip()
    if to not in audiences() or not text or len(text) > MAX_TEXT:
        return f"Write 1 to {MAX_TEXT} characters to somebody of the list.", 400
    name = current_user.id if current_user.is_authenticated else "you"
    message = {"id": uuid4().hex, "from": name, "to": to, "text": text, "at": time.time()}
    try:
        ws.publisher("chat", **audiences()[to]).publish(message)
    except BrokerUnavailable:
        return "Redis does not answer, so nothing was sent.", 503
    by_script = request.headers.get("Accept") == "application/json"
    return ("", 204) if by_script else redirect(url_for(".index"))


@pages.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Log somebody in."""
    form = request.form
    if request.method == "GET":
        return render_template("login.html", people=PEOPLE)
    person = load_person(form.get("name", ""))
    if not check_password_hash(PASSWORD, form.get("password", "")) or person is None:
        return render_template("login.html", people=PEOPLE, wrong=True), 400
    login_user(person, remember="remember" in form)
    return redirect(url_for(".index"))


@pages.post("/logout")
def logout() -> ResponseReturnValue:
    """Log out; the page that comes tells the other tabs."""
    logout_user()
    return redirect(url_for(".index"))
