"""Start and stop nginx and Apache in the foreground, each with its own configuration.

Nothing of the system's own configuration is read, and nothing is written outside of the folder
that a test gives.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from wsredis.embedded import free_port

from .processes import kill_group, start_group

__all__ = ["Proxy", "needs_apache", "needs_nginx", "start_apache", "start_nginx"]

SECONDS = 30.0
STOP_SECONDS = 2.0
PORT_TRIES = 3

# Debian has both where only root looks.
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
NGINX = shutil.which("nginx", path=_PATH)
APACHE = shutil.which("apache2", path=_PATH)

needs_nginx = pytest.mark.skipif(NGINX is None, reason="there is no nginx on this machine")
needs_apache = pytest.mark.skipif(APACHE is None, reason="there is no apache2 on this machine")

# Workers stay who we are: they would not see a test's folder otherwise.
NGINX_MAIN = """
{user}
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/log info;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxied;
    uwsgi_temp_path {folder}/uwsgied;
    fastcgi_temp_path {folder}/fastcgied;
    scgi_temp_path {folder}/scgied;
    types {{ text/html html; text/css css; text/javascript js mjs; }}
{conf}
}}
"""

APACHE_MAIN = """
ServerRoot {folder}
ServerName localhost
DefaultRuntimeDir {folder}
PidFile {folder}/pid
ErrorLog {folder}/log
LogLevel info
Mutex pthread default
{modules}
TypesConfig /dev/null
AddType text/html html
AddType text/css css
AddType text/javascript js mjs
User www-data
Group www-data
StartServers 1
ServerLimit 4
ThreadsPerChild 25
MaxRequestWorkers 100
Listen 127.0.0.1:{port}
{conf}
"""

APACHE_MODULES = (
    *("mpm_event", "authz_core", "authz_host", "authn_core", "authn_file", "authz_user"),
    *("auth_basic", "alias", "dir", "mime", "headers", "rewrite", "setenvif", "socache_shmcb"),
    *("ssl", "proxy", "proxy_http", "proxy_wstunnel", "proxy_uwsgi", "deflate"),
)


class Proxy:
    """A running proxy.

    Args:
        command: the command to run, in the foreground.
        folder: the folder for its ``pid`` and ``log``.
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, command: Sequence[str], folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._output = folder / "output"
        with self._output.open("wb") as output:
            self.process = start_group(command, output, folder=folder)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def wait(self) -> Proxy:
        """Wait until it listens: then, and not before, it writes its process id."""
        deadline = time.monotonic() + SECONDS
        pid = self.folder / "pid"
        while not (pid.is_file() and pid.read_text().strip()):
            assert self.process.poll() is None, f"it ended at once:\n{self.log()}"
            assert time.monotonic() < deadline, f"it does not listen:\n{self.log()}"
            time.sleep(0.01)
        return self

    def signal(self, signum: int) -> None:
        """Send a signal to the master: SIGHUP reloads nginx, SIGUSR1 Apache."""
        self.process.send_signal(signum)

    def log(self) -> str:
        """Return what it has said."""
        files = [self._output, self.folder / "log"]
        return "\n".join(file.read_text(errors="replace") for file in files if file.is_file())

    def stop(self) -> None:
        """End it with all its workers; by force where a worker waits for an open tunnel."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        kill_group(self.process)


def _start(command: Sequence[str], folder: Path, main: str, conf: str, **words: str) -> Proxy:
    """Write the configuration and start; on another port if somebody was quicker."""
    folder.mkdir(parents=True, exist_ok=True)
    for tries_left in reversed(range(PORT_TRIES)):
        port = free_port()
        inner = conf.replace("@port@", str(port)).replace("@folder@", str(folder))
        text = main.format(folder=folder, port=port, conf=inner, **words)
        (folder / "conf").write_text(text)
        (folder / "pid").unlink(missing_ok=True)
        (folder / "log").unlink(missing_ok=True)
        proxy = Proxy(command, folder, port)
        try:
            return proxy.wait()
        except BaseException:
            proxy.stop()
            if not tries_left or "in use" not in proxy.log():
                raise
    raise AssertionError("no port was free")


def start_nginx(folder: Path, conf: str) -> Proxy:
    """Start nginx, use it with ``with`` or call `Proxy.stop`.

    Args:
        folder: its own, for instance ``tmp_path / "nginx"``.
        conf: what stands inside of ``http { }``, with ``@port@`` for the port to listen at, as in
            ``server { listen 127.0.0.1:@port@; }``, and ``@folder@`` for the folder.
    """
    assert NGINX, "a test that starts nginx is marked with needs_nginx"
    command = [NGINX, "-p", str(folder), "-c", str(folder / "conf"), "-e", str(folder / "log")]
    user = "user root;" if os.geteuid() == 0 else ""
    return _start(command, folder, NGINX_MAIN, conf, user=user)


def start_apache(folder: Path, conf: str, modules: Sequence[str] = ()) -> Proxy:
    """Start Apache, use it with ``with`` or call `Proxy.stop`.

    Its workers are www-data if the test is root: they see no folder of pytest and no socket in it.

    Args:
        folder: its own, for instance ``tmp_path / "apache"``.
        conf: what follows ``Listen``, with ``@port@`` and ``@folder@`` as in `start_nginx`.
        modules: names of more modules than `APACHE_MODULES`.
    """
    assert APACHE, "a test that starts Apache is marked with needs_apache"
    where = Path("/usr/lib/apache2/modules")
    names = (*APACHE_MODULES, *modules)
    lines = "\n".join(f"LoadModule {name}_module {where}/mod_{name}.so" for name in names)
    command = [APACHE, "-d", str(folder), "-f", str(folder / "conf"), "-DFOREGROUND"]
    return _start(command, folder, APACHE_MAIN, conf, modules=lines)
