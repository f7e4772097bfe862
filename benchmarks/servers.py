"""The measured servers: how each is started, how messages are published to it, its scenarios.

A channel is `bench`, `other` or `inbound` for all clients, `u7` for one user, `g7` for a group; a
client that only publishes requests `publish-inbound`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from publishers import (
    Form,
    HttpPublisher,
    Publisher,
    RedisPublisher,
    channels_form,
    consumers_form,
    plain_form,
    socketio_form,
    ws4redis_form,
    wsredis_form,
)

__all__ = ["SERVERS", "Place", "Server"]

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
UWSGI = Path(sys.executable).with_name("uwsgi")

MOST = ("idle", "storm", "fan_small", "saturated", "fan_large", "unicast")
SLOW = ("idle", "fan_small", "saturated", "fan_large", "unicast")
CLOSE = ("idle", "fairness", "storm", "fan_small", "saturated", "lengths", "crowd_small", "churn")
CLOSE_LARGE = ("fan_large", "crowd_large", "unicast")
"""The scenarios in which the fast servers are compared most closely."""

HOSTED = {"bench": "async", "sync.bench": "sync", "bare.bench": "bare"}
CONSUMERS = {"bench": "sync", "async.bench": "async", "shared.bench": "shared", "plain": "plain"}
"""The kinds of applications: of Channels (peers/channels_app.py) and ours (consumers_app.py)."""


@dataclass(frozen=True)
class Place:
    """Where a server runs: its port, that of Redis, and the build folder."""

    port: int
    redis_port: int
    build: Path


def plain_target(names: Sequence[str]) -> str:
    """Return a target with the names of channels in the path."""
    return f"/{','.join(names)}"


def wsredis_target(names: Sequence[str]) -> str:
    """Return a target that requests channels from wsredis or django-websocket-redis."""
    first = names[0]
    if first.startswith("publish-"):
        return f"/ws/{first.removeprefix('publish-')}?publish-broadcast"
    if first[1:].isdigit():
        if first[0] == "u":
            return f"/ws/bench?subscribe-user\tX-Bench-User: {first}"
        return f"/ws/bench?subscribe-group\tX-Bench-Groups: {','.join(names)}"
    return f"/ws/{first}?subscribe-broadcast"


def consumers_target(names: Sequence[str]) -> str:
    """Return a target that selects a consumer, or for `plain` the pub/sub of wsredis."""
    return wsredis_target(names) if names[0] == "plain" else plain_target(names)


def socketio_target(names: Sequence[str]) -> str:
    """Return a target that requests rooms."""
    return f"/socket.io/?EIO=4&transport=websocket&rooms={','.join(names)}"


@dataclass(frozen=True)
class Server:
    """A server of the benchmark.

    Args:
        key: its name in the results.
        title: its name in the table.
        command: returns the command that starts it; its ports are in the environment too.
        scenarios: the scenarios that it runs, in the order of scenarios.py.
        form: the format of its messages in Redis; with None they are published over HTTP.
        target: returns the request target of a client.
        needs: what must be installed for it, see environment.py.
        layer: the channel layer of Channels: `channels_redis` or `wsredis`.
        manner: the protocol of its clients, see load.c.
        workers: the number of worker processes.
        kinds: what the channels of the scenario `hosted` are, by their names.
        slow: it takes long to open many sockets, so fewer are idle.
        lossy: it holds messages back, so missing messages are not waited for.
        mute: it never sends a message.
        far: it is too far away in the results to be compared closely, so it has fewer rounds.
    """

    key: str
    title: str
    command: Callable[[Place], list[str]]
    scenarios: tuple[str, ...]
    form: Form | None = plain_form
    target: Callable[[Sequence[str]], str] = plain_target
    needs: str = ""
    layer: str = "channels_redis"
    manner: str = "websocket"
    workers: int = 1
    kinds: Mapping[str, str] = field(default_factory=lambda: HOSTED)
    slow: bool = False
    lossy: bool = False
    mute: bool = False
    far: bool = False

    def publisher(self, place: Place) -> Publisher:
        """Return its publisher."""
        if self.form is None:
            return HttpPublisher(place.port)
        return RedisPublisher(place.redis_port, self.form)


def backlog() -> str:
    """Return the length of the listen queue, limited by the system."""
    return str(min(4096, int(Path("/proc/sys/net/core/somaxconn").read_text())))


def wsredis_command(
    place: Place, *options: str, workers: int = 1, app: Path = HERE / "app.py"
) -> list[str]:
    """Return the command for uWSGI with wsredis, or with another application."""
    return [
        *(str(UWSGI), "--master", "--die-on-term", "--workers", str(workers)),
        *("--gevent", "200", "--listen", backlog(), "--disable-logging"),
        *("--http-socket", f"127.0.0.1:{place.port}", "--wsgi-file", str(app), *options),
    ]


def consumers_command(place: Place, *options: str) -> list[str]:
    """Return the command for uWSGI with our consumers."""
    words = ("--pythonpath", str(HERE), *options)
    return wsredis_command(place, *words, app=HERE / "consumers_app.py")


def floor_command(place: Place, manner: str = "send", processes: int = 1) -> list[str]:
    """Return the command for the floor."""
    words = (str(place.port), str(place.redis_port), manner, str(processes))
    return [str(place.build / "floor"), *words]


def python(place: Place, program: str, *words: str, folder: str = "python") -> list[str]:
    """Return the command for a program in the peers' environment."""
    return [str(place.build / "peers" / folder / "bin" / program), *words]


def ws4redis_command(place: Place) -> list[str]:
    """Return the command for django-websocket-redis, which needs a gevent core per websocket."""
    words = ("--master", "--die-on-term", "--workers", "1", "--gevent", "3000", "--disable-logging")
    listen = (
        "--http-socket",
        f"127.0.0.1:{place.port}",
        "--http-websockets",
        "--listen",
        backlog(),
    )
    file = ("--wsgi-file", str(PEERS / "ws4redis_app.py"))
    return python(place, "uwsgi", *words, *listen, *file, folder="ws4redis")


def nginx_command(place: Place) -> list[str]:
    """Write nginx's configuration and return its command."""
    root = place.build / "peers" / "nginx"
    folder = root / "run"
    folder.mkdir(exist_ok=True)
    words = {
        "USER": "user root;" if os.geteuid() == 0 else "",  # so that it can read our folder
        "FOLDER": str(folder),
        "MODULE": str(root / "usr/lib/nginx/modules/ngx_nchan_module.so"),
        "NOFILE": "20000",
        "CONNECTIONS": "18000",
        "PORT": str(place.port),
    }
    text = (PEERS / "nchan.conf").read_text()
    for word, value in words.items():
        text = text.replace(word, value)
    conf = folder / "nginx.conf"
    conf.write_text(text)
    return [str(root / "usr/sbin/nginx"), "-p", str(folder), "-c", str(conf), "-e", "stderr"]


def uvicorn_command(place: Place) -> list[str]:
    """Return the command for uvicorn with the packages of its `standard` extra."""
    words = ("--port", str(place.port), "--app-dir", str(PEERS), "--log-level", "warning")
    return python(place, "uvicorn", "channels_app:application", *words, "--backlog", "4096")


def hosted_uwsgi(place: Place, *options: str) -> list[str]:
    """Return the command for uWSGI, in which wsredis hosts the same application."""
    words = ("--master", "--die-on-term", "--workers", "1", "--gevent", "200", "--disable-logging")
    listen = ("--listen", backlog(), "--http-socket", f"127.0.0.1:{place.port}")
    return python(place, "uwsgi", *words, *listen, "--module", "hosted_app", *options)


def hosted_gunicorn(place: Place) -> list[str]:
    """Return the command for gunicorn as a host; its worker patches the process with gevent."""
    words = ("-k", "gevent", "-b", f"127.0.0.1:{place.port}", "--backlog", backlog())
    return python(place, "gunicorn", *words, "--log-level", "warning", "hosted_app")


def daphne_command(place: Place) -> list[str]:
    """Return the command for daphne."""
    return python(place, "daphne", "-p", str(place.port), "-v", "0", "channels_app:application")


SERVERS = (
    Server(
        "floor",
        "C floor",
        floor_command,
        ("growth", *CLOSE, *CLOSE_LARGE, "fan_few", "groups"),
    ),
    Server(
        "wsredis",
        "wsredis",
        wsredis_command,
        ("growth", *CLOSE, "compressed", *CLOSE_LARGE, "fan_few", "groups", "inbound"),
        form=wsredis_form,
        target=wsredis_target,
    ),
    Server(
        "wsredis2",
        "wsredis, 2 workers",
        lambda place: wsredis_command(place, workers=2),
        ("fan_small", "saturated"),
        form=wsredis_form,
        target=wsredis_target,
        workers=2,
    ),
    Server(
        "floor_join",
        "C floor that joins",
        lambda place: floor_command(place, "join"),
        ("fan_small", "saturated"),
    ),
    Server(
        "floor2",
        "joining floor, 2 processes",
        lambda place: floor_command(place, "join", processes=2),
        ("fan_small", "saturated"),
        workers=2,
    ),
    Server(
        "bare",
        "bare uWSGI",
        lambda place: wsredis_command(place, app=PEERS / "bare_app.py"),
        ("storm",),
        mute=True,
    ),
    Server(
        "node",
        "Node ws",
        lambda place: ["node", str(place.build / "peers" / "node" / "ws_node.js")],
        (*CLOSE, "compressed", *CLOSE_LARGE, "groups", "inbound"),
        needs="node",
    ),
    Server(
        "nchan",
        "nginx + nchan",
        nginx_command,
        (*CLOSE, *CLOSE_LARGE),
        form=None,
        needs="nginx",
    ),
    Server(
        "websockets",
        "websockets",
        lambda place: python(place, "python", str(PEERS / "websockets_app.py")),
        (*MOST, "groups", "inbound"),
        needs="python",
        slow=True,
        far=True,
    ),
    Server(
        "picows",
        "picows",
        lambda place: python(place, "python", str(PEERS / "picows_app.py")),
        (*MOST, "groups"),
        needs="python",
        far=True,
    ),
    Server(
        "socketio",
        "Flask-SocketIO",
        lambda place: python(place, "python", str(PEERS / "socketio_app.py")),
        SLOW,
        form=socketio_form,
        target=socketio_target,
        needs="python",
        manner="socketio",
        slow=True,
        far=True,
    ),
    Server(
        "uvicorn",
        "Channels, uvicorn",
        uvicorn_command,
        (*SLOW, "hosted", "hosted_large"),
        form=channels_form,
        needs="python",
        slow=True,
        far=True,
    ),
    *(
        Server(
            key,
            title,
            command,
            ("idle", "hosted", "hosted_large", "blocked"),
            form=consumers_form,
            target=consumers_target,
            kinds=CONSUMERS,
            far=True,
        )
        for key, title, command in (
            ("consumers", "our consumers", consumers_command),
            (
                "patched_consumers",
                "our consumers, patched",
                lambda place: consumers_command(place, "--gevent-early-monkey-patch"),
            ),
        )
    ),
    *(
        Server(
            key,
            title,
            command,
            ("idle", "hosted"),
            form=channels_form,
            needs="python",
            layer="wsredis",
            slow=True,
        )
        for key, title, command in (
            ("uvicorn_layer", "Channels, uvicorn, our layer", uvicorn_command),
            ("uwsgi_hosted", "Channels, uWSGI", hosted_uwsgi),
            (
                "patched_hosted",
                "Channels, uWSGI, patched",
                lambda place: hosted_uwsgi(place, "--gevent-early-monkey-patch"),
            ),
            ("gunicorn_hosted", "Channels, gunicorn", hosted_gunicorn),
        )
    ),
    Server(
        "daphne",
        "Channels, daphne",
        daphne_command,
        ("idle", "fan_small", "saturated"),
        form=channels_form,
        needs="python",
        slow=True,
        far=True,
    ),
    Server(
        "ws4redis",
        "django-websocket-redis",
        ws4redis_command,
        ("idle", "fan_small"),
        form=ws4redis_form,
        target=wsredis_target,
        needs="ws4redis",
        slow=True,
        lossy=True,
        far=True,
    ),
)
