"""The packages that the documentation names are enough.

An environment that has only them is a folder of links into the environment of the tests, so that
nothing is downloaded: the named packages and, by their metadata, all that they require.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from websockets.sync.client import connect

from wsredis.embedded import free_port

from .processes import kill_group, start_group
from .servers.support import SECONDS, eventually

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}

SITE = """
from wsredis import WebSocketMiddleware

def page(environ, start_response):
    start_response("200 OK", [("Content-Length", "4")])
    return [b"page"]

application = WebSocketMiddleware(page, redis="memory://")
"""

SERVERS = {
    "uWSGI": "uwsgi --http-socket :{port}",
    "gunicorn, gevent": "gunicorn -b 127.0.0.1:{port}",
    "gunicorn, threads": "gunicorn -b 127.0.0.1:{port}",
    "gevent": "wsredis serve --port {port}",
}
"""The servers of the README's table that are started, each with its address."""

Install = Callable[..., dict[str, str]]


def required(words: str) -> set[str]:
    """Return the names of the packages that ``pip install WORDS`` installs."""
    todo, seen = [Requirement(word.strip('"')) for word in words.split()], set()
    names: set[str] = set()
    while todo:
        wanted = todo.pop()
        key = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if key in seen:
            continue
        seen.add(key)
        names.add(key[0])
        for text in distribution(wanted.name).requires or ():
            needed = Requirement(text)
            contexts = [{"extra": extra} for extra in (*wanted.extras, "")]
            if needed.marker is None or any(map(needed.marker.evaluate, contexts)):
                todo.append(needed)
    return names


def link_wsredis(folder: Path) -> None:
    """Link our packages, which lie elsewhere in an editable installation."""
    for name in ("wsredis", "ws4redis"):
        (folder / name).mkdir()
    for name in ("wsredis", "ws4redis", "wsredis.adapters", "wsredis.examples"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.submodule_search_locations
        inside = folder.joinpath(*name.split("."))
        inside.mkdir(exist_ok=True)
        for path in Path(spec.submodule_search_locations[0]).iterdir():
            if path.name not in ("adapters", "examples"):
                (inside / path.name).symlink_to(path)


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Give a function that installs packages and returns the variables to find them with."""

    def install(words: str = "") -> dict[str, str]:
        folder = tmp_path / "packages"
        folder.mkdir()
        link_wsredis(folder)
        for name in required(f"wsredis {words}") - {"wsredis"}:
            found = distribution(name)
            for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
                if not (folder / top).exists():
                    (folder / top).symlink_to(found.locate_file(top))
        kept = {key: value for key, value in os.environ.items() if not key.startswith("WSREDIS_")}
        if run := os.environ.get("WSREDIS_TEST_RUN"):
            kept["WSREDIS_TEST_RUN"] = run
        paths = os.pathsep.join(map(str, (folder, tmp_path)))
        return {**kept, "PYTHONPATH": paths, "WSREDIS_REDIS": "memory://"}

    return install


def rows() -> Iterator[tuple[str, str, str]]:
    """Return server, packages and command of the rows of the README's table."""
    table = README.partition("\n## Servers\n")[2].partition("\n\nIf ")[0]
    for line in table.splitlines():
        name, packages, command = ([*line.split(" | "), "", ""])[:3]
        found = re.search("`pip install ([^`]+)`", packages)
        yield name.strip("| "), found[1] if found else "", command.partition("`")[2].split("`")[0]


ROWS = {name: (packages, command) for name, packages, command in rows()}


@pytest.mark.servers
@pytest.mark.parametrize("name", SERVERS)
def test_a_server_runs_with_the_packages_that_its_row_names(
    name: str, install: Install, tmp_path: Path
) -> None:
    packages, command = ROWS[name]
    environ = install(packages)
    (tmp_path / "wsgi.py").write_text(SITE)
    port = free_port()
    program, *rest = command.split()
    _, *where = SERVERS[name].format(port=port).split()
    words = [*where, *[word for word in rest if word not in (":8000", "--http-socket", *where)]]
    # Without the packages of the tests: -S leaves them out, and the variable names the others.
    start = [sys.executable, "-S", "-P", str(BIN / program), *words]
    with (tmp_path / "log").open("wb") as log:
        process = start_group(start, log, environ=environ, folder=tmp_path)
    try:

        def answers() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            try:
                url = f"ws://127.0.0.1:{port}/ws/news?subscribe-broadcast"
                with connect(url, proxy=None, open_timeout=SECONDS):
                    return True
            except (OSError, EOFError):
                return False

        eventually(answers, f"a websocket under {name}")
    finally:
        process.terminate()
        kill_group(process)


@pytest.mark.parametrize(
    ("page", "start", "program"),
    [
        (
            "django.md",
            "## Setup",
            "from os import environ;"
            "environ['DJANGO_SETTINGS_MODULE'] = 'wsredis.examples.django_chat.settings';"
            "from django.core.management import execute_from_command_line as run;"
            "run(['manage.py', 'check'])",
        ),
        (
            "channels.md",
            "## From asgi.py",
            "import wsredis.adapters.django;"
            "from wsredis.layers import RedisChannelLayer;"
            "RedisChannelLayer()",
        ),
        ("flask.md", "# Flask", "import flask_login, wsredis.examples.flask_chat.app"),
    ],
)
def test_the_packages_of_a_page_are_enough_for_its_framework(
    page: str, start: str, program: str, install: Install, tmp_path: Path
) -> None:
    found = re.search(r"pip install ([^`\n]+)", PAGES[page].partition(start)[2])
    assert found is not None
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", program],
        env=install(found[1]),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_an_environment_has_nothing_else(install: Install, tmp_path: Path) -> None:
    environ = install()
    program = "import importlib.util as u; print([n for n in ('flask', 'packaging', 'pytest') if"
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", f"{program} u.find_spec(n)])"],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_gunicorn_for_gevent_is_installed_with_its_extra() -> None:
    """Since version 27 gunicorn alone does not bring what its gevent worker imports."""
    for name, text in {"README.md": README, **PAGES}.items():
        for line in re.findall(".*pip install gunicorn.*", text):
            assert "thread" in line or "sync" in line, (name, line)
        if re.search("gunicorn (-k|--worker-class) gevent", text):
            assert 'pip install "gunicorn[gevent]"' in text, name
