"""The application and its pages: ``flask --app wsredis.examples.flask_chat.app run``.

It is for trying things out on your own machine: the key and the passwords are public.
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
"""The users and their groups."""

PASSWORD = generate_password_hash("secret")
MAX_TEXT = 2000
"""The maximum length of a message, in characters."""

ws = WSRedis()
login_manager = LoginManager()
pages = Blueprint("pages", __name__)


class Person(UserMixin):
    """A user who can log in; ``id`` is the user's name in channels."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.groups = PEOPLE[name]


@login_manager.user_loader
def load_person(name: str) -> Person | None:
    """Return the user of a session, or None if there is no such user."""
    return Person(name) if name in PEOPLE else None


def groups(request: Any) -> list[str]:
    """Return the groups of the current user, for wsredis."""
    return list(current_user.groups)


def create_app(**config: Any) -> Flask:
    """Make the application."""
    app = Flask(__name__)
    app.config.from_mapping(
        SECRET_KEY="insecure, for trying it out on one's own machine",
        SESSION_COOKIE_SAMESITE="Lax",  # so that forms of other sites are sent without a login
        REMEMBER_COOKIE_SAMESITE="Lax",
        WSREDIS_GROUPS=groups,
        WSREDIS_EXPIRE=3600,  # seconds for which the last message is retained for new pages
    )
    app.config.update(config)
    login_manager.init_app(app)
    ws.init_app(app)
    app.register_blueprint(pages)
    return app


@pages.after_request
def content_security_policy(response: Any) -> Any:
    """Let pages load and run only what this site serves, and do not cache them."""
    response.headers["Content-Security-Policy"] = "default-src 'self'"
    response.headers["Cache-Control"] = "no-store"
    return response


def audiences() -> dict[str, dict[str, Any]]:
    """Return the audiences that the user may write to: arguments of a publisher, by label."""
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
    """Publish the message of the form; answer 204 to the page's script, else redirect to it."""
    to, text = request.form.get("to", ""), request.form.get("text", "").strip()
    if to not in audiences() or not text or len(text) > MAX_TEXT:
        return f"Write 1 to {MAX_TEXT} characters, to one of the audiences on the page.", 400
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
    """Log a user in."""
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
    """Log the user out; the page of the redirect tells the other tabs."""
    logout_user()
    return redirect(url_for(".index"))
