"""The first page of docs/django.md works in a new project."""

from __future__ import annotations

import re
import subprocess
import sys
from html import unescape
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest

from ..support import SECONDS, environment, running

TEXT = (Path(__file__).parents[3] / "docs" / "django.md").read_text(encoding="utf-8")
FILES = {
    text.split()[1]: text
    for text in re.findall(r"```(?:python|html|js)\n(.*?)```", TEXT, re.DOTALL)
}
SETUP = re.search(r"```text\n# settings.py\n(.*?)\n\n# wsgi.py\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.servers
def test_the_setup_and_the_files_make_a_page_in_a_new_project(tmp_path: Path) -> None:
    environ = environment(tmp_path, tmp_path, WSREDIS_REDIS="memory://")
    environ.pop("DJANGO_SETTINGS_MODULE", None)

    def django(*words: str) -> None:
        subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, env=environ, check=True)

    django("django", "startproject", "mysite", ".")
    assert SETUP is not None
    settings, wsgi = SETUP.groups()
    settings = settings.replace("[..., ", '[*INSTALLED_APPS, "mysite", ')
    with (tmp_path / "mysite/settings.py").open("a") as file:
        file.write(settings)
    (tmp_path / "mysite/wsgi.py").write_text(wsgi)
    assert list(FILES) == [
        "mysite/views.py",
        "mysite/urls.py",
        "mysite/templates/index.html",
        "mysite/static/news.js",
    ]
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    django("manage", "migrate", "--verbosity", "0")

    command = [sys.executable, "-P", "manage.py", "runserver", "--noreload", "{port}"]
    with running(command, tmp_path / "log", environ, tmp_path) as server:
        _, page = server.get("/")
        address = re.findall(r'data-news="ws://[^/]+(/[^"]+)"', unescape(page))[0]
        scripts = re.findall(r'<script src="([^"]+)"', page)
        assert [server.get(unescape(script))[0] for script in scripts] == [200, 200]
        token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[0]
        with server.open(address) as ws:
            form = HTTPConnection(server.host, timeout=SECONDS)
            headers = {
                "Content-Type": "application/x-www-form-urlencoded",
                "Cookie": f"csrftoken={server.cookies['csrftoken']}",
            }
            body = urlencode({"csrfmiddlewaretoken": token, "text": "hello"})
            form.request("POST", "/say", body, headers)
            assert form.getresponse().status == 302
            form.close()
            assert ws.recv(timeout=SECONDS) == "hello"
        with server.open(address) as late:
            assert late.recv(timeout=SECONDS) == "hello"
