"""The site under test: a factory, a blueprint, users who log in, three kinds of sessions."""

import secrets
import sys

from flask import Blueprint, Flask, current_app, render_template, request, session
from flask.sessions import SessionInterface, SessionMixin
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user

from wsredis import Identity, PubSubEndpoint
from wsredis.adapters.flask import SELF, WSRedis, session_key

ws = WSRedis()
login_manager = LoginManager()
pages = Blueprint("pages", __name__)


class Person(UserMixin):
    is_active = True

    def __init__(self, name, *groups):
        self.id = name
        self.groups = groups


@login_manager.user_loader
def load_person(name):
    return current_app.config["PEOPLE"].get(name)


@login_manager.request_loader
def load_by_token(request):
    return current_app.config["PEOPLE"].get(request.args.get("token"))


class Store(SessionInterface):
    """A store of sessions in this process, by a token in the cookie and without a ``sid``."""

    class Session(dict, SessionMixin):
        pass

    def __init__(self):
        self.kept = {}

    def open_session(self, app, request):
        found = self.Session(self.kept.get(request.cookies.get("token"), {}))
        found.token = request.cookies.get("token")
        return found

    def save_session(self, app, session, response):
        if session:
            session.token = session.token or secrets.token_hex()
            response.set_cookie("token", session.token)
        self.kept[session.token] = dict(session)


def create_app(**config):
    app = Flask(__name__)
    app.config.from_mapping(SECRET_KEY="a key that only the tests know", WSREDIS_GROUPS=groups)
    app.config["PEOPLE"] = {
        "alice": Person("alice", "editors", "authors"),
        "bob": Person("bob"),
        "7": Person(7, 1, 2),
    }
    app.config.from_prefixed_env()
    app.config.update(config)
    if "SESSION_TYPE" in app.config:
        from flask_session import Session

        Session(app)
    elif "STORE" in app.config:
        app.session_interface = Store()
    login_manager.init_app(app)
    ws.init_app(app)
    app.register_blueprint(pages)
    app.teardown_request(complain)
    return app


def complain(exc):
    """Show in the log what a request is said to have ended with."""
    if exc is not None:
        print(f"Exception of a request: {exc!r}", file=sys.stderr)


# The pages


@pages.route("/")
def page():
    return render_template("page.html")


@pages.route("/enter")
def enter():
    name = request.args["name"]
    login_user(current_app.config["PEOPLE"][name], remember="remember" in request.args)
    return "welcome"


@pages.route("/leave")
def leave():
    logout_user()
    return "goodbye"


@pages.route("/put")
def put():
    session.update(request.args.to_dict())
    return "put"


@pages.route("/clear")
def clear():
    session.clear()
    return "cleared"


@pages.route("/session/<change>")
def change(change):
    """Change the visitor's session without Flask-Login."""
    if change == "clear":
        session.clear()
    elif change == "change_user":
        session["_user_id"] = "bob"
    elif change == "forget_user":
        session.pop("_user_id")
    elif change == "forget_key":
        session.pop("_wsredis_session")
    elif change == "regenerate":
        current_app.session_interface.regenerate(session)
    elif change == "put":
        session["basket"] = [7]
    elif change == "look":
        session.get("basket")
    return "done"


@pages.route("/key")
def key():
    return session_key()


@pages.route("/note")
def note():
    """Send the visitor a message about themselves."""
    publisher = ws.publisher(request.args["facility"], users=[SELF], groups=[SELF], sessions=[SELF])
    publisher.publish(request.args["text"])
    return {"channels": publisher.channels}


# The callbacks


def groups(request):
    return current_user.groups


def shown_name(request):
    return current_user.id.title() if current_user.is_authenticated else None


def members(request, requested):
    """Let members do everything and everybody else listen."""
    if current_user.is_authenticated:
        return requested
    return [key for key in requested if key.startswith("subscribe-")]


def token(request):
    """Know people by a token instead of a session."""
    name = request.args.get("token")
    return Identity(f"token-{name}") if name else None


class Shouting(PubSubEndpoint):
    """An endpoint that replies in upper case; made with Flask's request."""

    def __init__(self, request, context):
        super().__init__(request, context)
        self.suffix = request.args.get("suffix", "!")

    def received(self, connection, message):
        connection.send(message.upper() + self.suffix)


not_callable = 5
