"""Start and stop the deployments in examples/deploy, with real servers.

The files are copied; only the words in `Deployment.words` are replaced: folders and ports.
The commands come from the comments of the files: ``start:`` and ``reload:``.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trustme

from wsredis import Config, Publisher
from wsredis.embedded import free_port

from ..processes import kill_group, living, start_group
from ..proxies import Proxy, needs_apache, needs_nginx, start_apache, start_nginx
from ..servers.support import SECONDS, eventually
from ..servers.wire import Wire

__all__ = ["DEPLOY", "RECIPES", "Deployment", "Recipe", "commands", "deployments", "live"]

DEPLOY = Path(__file__).resolve().parents[2] / "examples" / "deploy"
HOST = "127.0.0.1"
PORT_TRIES = 3

VARIABLE = re.compile(r"\w+=")
"""How a word of a command begins that sets an environment variable."""


@dataclass(frozen=True)
class Recipe:
    """The files and properties of a deployment.

    Args:
        name: the name of its tests.
        folder: below examples/deploy.
        ours: the files for uWSGI or gunicorn.
        front: the configuration of nginx or Apache.
        workers: how many processes a reload replaces.
        tls: whether browsers use ``https``.
    """

    name: str
    folder: str
    ours: tuple[str, ...]
    front: str = ""
    workers: int = 2
    tls: bool = False


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("uwsgi", "uwsgi", ("uwsgi.ini",)),
        Recipe("uwsgi-router", "uwsgi-router", ("uwsgi.ini",)),
        Recipe(
            "uwsgi-emperor",
            "uwsgi-emperor",
            ("emperor.ini", "vassals/web.ini", "vassals/websockets.ini"),
        ),
        Recipe("docker", "docker", ("uwsgi.ini",)),
        Recipe("nginx-one-uwsgi", "nginx-one-uwsgi", ("uwsgi.ini",), "mysite.conf"),
        Recipe("nginx-uwsgi", "nginx-uwsgi", ("web.ini", "websockets.ini"), "mysite.conf"),
        Recipe(
            "nginx-uwsgi-tls",
            "nginx-uwsgi",
            ("web.ini", "websockets.ini"),
            "mysite-tls.conf",
            tls=True,
        ),
        Recipe("nginx-gunicorn", "nginx-gunicorn", ("gunicorn.conf.py",), "mysite.conf", workers=4),
        Recipe("gunicorn-tls", "gunicorn-tls", ("gunicorn.conf.py",), tls=True),
        Recipe("apache", "apache", ("uwsgi.ini",), "mysite.conf"),
        Recipe("apache-wstunnel", "apache", ("uwsgi.ini",), "mysite-wstunnel.conf"),
    )
}

NEEDS = {"nginx": needs_nginx, "apache": needs_apache}


def deployments(*names: str) -> list[Any]:
    """Return recipes, by default all, as parameters; the tests of one stay together."""
    return [
        pytest.param(
            RECIPES[name],
            id=name,
            marks=[
                pytest.mark.xdist_group(f"deploy-{name}"),
                *[NEEDS[kind] for kind in NEEDS if name.startswith(kind)],
            ],
        )
        for name in names or RECIPES
    ]


class Deployment:
    """A running deployment in a separate folder.

    Args:
        recipe: the recipe to run.
        redis: URL of Redis.
        options: words that are added to the command lines.
    """

    def __init__(self, recipe: Recipe, redis: str, *options: str) -> None:
        self.recipe = recipe
        self.redis = redis
        self.options = options
        self.port = 0
        self.processes: list[subprocess.Popen[bytes]] = []
        self.front: Proxy | None = None
        self.tls: ssl.SSLContext | None = None
        # Short, for Unix sockets, and open to all: workers of Apache are nobody in particular.
        self.folder = Path(tempfile.mkdtemp(prefix="wsredis-deploy-"))
        self.folder.chmod(0o755)
        self.site = self.folder / "site"
        self.ca = self.folder / "ca.pem"
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith("WSREDIS_")}
        self.environ |= {"WSREDIS_REDIS": redis, "XDG_RUNTIME_DIR": str(self.folder)}
        if run := os.environ.get("WSREDIS_TEST_RUN"):  # by which the test command finds leftovers
            self.environ["WSREDIS_TEST_RUN"] = run

    # Its life

    def start(self) -> Deployment:
        """Start everything and wait until pages and websockets answer."""
        self._make_site()
        for tries_left in reversed(range(PORT_TRIES)):
            try:
                self._start()
            except BaseException:
                self._end()
                if tries_left and "in use" in self.log():
                    continue
                raise AssertionError(f"it did not start:\n{self.log()}") from None
            break
        return self

    def _make_site(self) -> None:
        """Make what the files expect at /srv/mysite, /run/mysite and /etc/ssl/mysite."""
        shutil.copytree(DEPLOY / "mysite", self.site)
        static = Path(str(files("wsredis"))) / "static" / "wsredis"
        shutil.copytree(static, self.site / "static" / "wsredis")
        for path in (self.site, *self.site.rglob("*")):
            path.chmod(0o755)
        (self.site / "venv").symlink_to(sys.prefix)
        (self.folder / "run").mkdir()
        if self.recipe.tls:
            authority = trustme.CA()
            certificate = authority.issue_cert(HOST)
            (self.folder / "tls").mkdir()
            certificate.private_key_pem.write_to_path(self.folder / "tls" / "privkey.pem")
            for number, part in enumerate(certificate.cert_chain_pems):
                part.write_to_path(self.folder / "tls" / "fullchain.pem", append=number > 0)
            authority.cert_pem.write_to_path(self.ca)
            self.tls = ssl.create_default_context(cafile=str(self.ca))

    def words(self, port: str) -> dict[str, str]:
        """Return what is replaced in the files.

        Args:
            port: of whoever listens to browsers.
        """
        return {
            "/srv/mysite": str(self.site),
            "/run/mysite": str(self.folder / "run"),
            "/etc/ssl/mysite": str(self.folder / "tls"),
            "listen 443 ssl;": f"listen {HOST}:{port} ssl;",
            "listen 80;": f"listen {HOST}:{self.plain_port if self.recipe.tls else port};",
            "<VirtualHost *:80>": f"<VirtualHost {HOST}:{port}>",
            "127.0.0.1:8000": f"{HOST}:{self._backend}",
            "http-socket = :8000": f"http-socket = {HOST}:{self._backend}",
            "0.0.0.0:443": f"{HOST}:{self._backend}",
        }

    def _start(self) -> None:
        (self.folder / "log").write_text("")
        self._backend = free_port()
        self.plain_port = free_port()  # of what only leads to https
        for name in self.recipe.ours:
            (self.site / name).parent.mkdir(exist_ok=True)
            (self.site / name).write_text(self.read(name))
        for command in self.commands("start"):
            self.processes.append(self._launch(command))
        if self.recipe.front:
            start = start_apache if self.recipe.folder == "apache" else start_nginx
            folder = self.folder / "front"
            folder.mkdir(exist_ok=True)
            if (parameters := Path("/etc/nginx/uwsgi_params")).is_file():
                shutil.copy(parameters, folder)
            self.front = start(folder, self.read(self.recipe.front, "@port@"))
        self.port = self.front.port if self.front else self._backend
        eventually(self._answers, "pages and websockets answer", 3 * SECONDS)

    def read(self, name: str, port: str = "") -> str:
        """Return a file of the recipe with our words."""
        text = (DEPLOY / self.recipe.folder / name).read_text(encoding="utf-8")
        for word, ours in self.words(port).items():
            text = text.replace(word, ours)
        return text

    def commands(self, word: str) -> list[str]:
        """Return the commands that the files name behind ``start:`` or ``reload:``."""
        return [found for name in self.recipe.ours for found in commands(self.read(name), word)]

    def _launch(self, command: str) -> subprocess.Popen[bytes]:
        """Run one of our servers, in a group of its own."""
        words = shlex.split(command)
        variables = dict(word.split("=", 1) for word in itertools.takewhile(VARIABLE.match, words))
        with (self.folder / "log").open("ab") as log:
            return start_group(
                [*words[len(variables) :], *self.options],
                log,
                environ=self.environ | variables,
                folder=self.folder,  # uWSGI imports from there, and that is not what is tested
            )

    def _answers(self) -> bool:
        for process in self.processes:
            if process.poll() is not None:
                raise ChildProcessError
        try:
            # A plain request below the prefix is answered by wsredis itself.
            answers = [self.request("GET", path)[0] for path in ("/", "/ws/x")]
        except OSError:
            return False
        return answers == [200, 400] and self._loaded()

    def _loaded(self) -> bool:
        """Tell whether each uWSGI worker has loaded the site: a signal before is lost on it."""
        log = (self.folder / "log").read_text(errors="replace")
        workers = len(re.findall(r"(?:s|Res)pawned uWSGI worker", log))
        return log.count("WSGI app 0 ") == workers

    def stop(self) -> None:
        """End everything; by force, and with an error, what does not end by itself."""
        try:
            self._end()
        finally:
            shutil.rmtree(self.folder)

    def _end(self) -> None:
        with contextlib.ExitStack() as stack:
            for process in self.processes:
                stack.callback(finish, process)
            if self.front:
                stack.callback(self.front.stop)
            for process in self.processes:
                if process.poll() is None:
                    process.terminate()
        self.processes.clear()
        self.front = None

    def pids(self) -> set[int]:
        """Return the processes of our servers."""
        return live({process.pid for process in self.processes})

    def log(self) -> str:
        text = (self.folder / "log").read_text(errors="replace")
        return f"{text}\n{self.front.log()}" if self.front else text

    def reload(self, command: str) -> None:
        """Run a command of the shell, and wait until it has replaced the workers."""
        before = self.pids()
        subprocess.run(["/bin/sh", "-c", command], check=True, timeout=SECONDS)

        def replaced() -> bool:
            now = self.pids()
            gone, come = before - now, now - before
            return len(gone) == len(come) == self.recipe.workers and self._loaded()

        eventually(replaced, "new workers have taken over", 2 * SECONDS)

    def restart(self, number: int) -> None:
        """End one of our servers, and start it again when it has gone."""
        self.processes[number].terminate()
        finish(self.processes[number])
        self.processes[number] = self._launch(self.commands("start")[number])

    # Who talks to it

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def origin(self) -> str:
        """Return where its pages come from."""
        return f"http{'s' * self.recipe.tls}://{self.address}"

    def url(self, facility: str, *keys: str) -> str:
        return f"ws{'s' * self.recipe.tls}://{self.address}{target(facility, *keys)}"

    def wire(self, source: str = "") -> Wire:
        """Return a raw client that has connected, from another address of this machine perhaps.

        Not the client of `websockets.sync`: before Python 3.12.8 its two threads now and then lose
        what is sent through TLS (CPython issue 124984).
        """
        wire = Wire(self.port, source=source)
        if self.tls:
            wire.socket = self.tls.wrap_socket(wire.socket, server_hostname=HOST)
        return wire

    @contextlib.contextmanager
    def open(self, facility: str, *keys: str, **headers: str) -> Iterator[Wire]:
        """Hold a websocket open."""
        with self.wire() as wire:
            wire.upgrade(target(facility, *keys), **headers)
            yield wire

    def refused(self, facility: str, *keys: str, **headers: str) -> int:
        """Return the status of the answer to a handshake that is not accepted."""
        with self.wire() as wire:
            return wire.refused(target(facility, *keys), **headers).status

    def request(
        self, method: str, path: str, body: str = "", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], str]:
        """Send a plain request on a connection of its own; return status, headers and body."""
        client = (
            http.client.HTTPSConnection(HOST, self.port, timeout=SECONDS, context=self.tls)
            if self.tls
            else http.client.HTTPConnection(HOST, self.port, timeout=SECONDS)
        )
        with contextlib.closing(client):
            client.request(
                method, path, body.encode() or None, {"Connection": "close", **(headers or {})}
            )
            response = client.getresponse()
            return response.status, response.headers, response.read().decode()

    def broadcast(self, facility: str, message: str) -> int:
        """Publish from this process, which is none of the deployment's."""
        return Publisher(facility, broadcast=True, config=Config(redis=self.redis)).publish(message)


def target(facility: str, *keys: str) -> str:
    """Return the path and query of a websocket."""
    return f"/ws/{quote(facility)}?{'&'.join(keys)}"


def commands(text: str, word: str) -> list[str]:
    """Return the commands that a file names in its comment behind ``start:`` or ``reload:``."""
    return re.findall(rf"^;?\s*{word}:\s+(.+)$", text, re.MULTILINE)


def live(groups: Collection[int]) -> set[int]:
    """Return the processes of some groups that live; not at once, as others are at work too."""
    time.sleep(0.1)
    return living(groups)


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process and its group have ended."""
    try:
        process.wait(2 * SECONDS)
        eventually(lambda: not live({process.pid}), "every process of the server has ended")
    finally:
        kill_group(process)
