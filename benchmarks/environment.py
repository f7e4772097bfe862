"""The installation of what a run needs besides wsredis: two C programs, and the peers.

Everything is installed below the build folder, once, and nothing into the system. A peer that
cannot be installed is left out, with the reason.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import wsredis

__all__ = ["compile_programs", "install", "versions"]

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
STEP_SECONDS = 300
DEBIAN = ("nginx", "libnginx-mod-nchan")


class Unavailable(Exception):
    """The reason why a peer cannot be installed."""


def compile_programs(build: Path) -> None:
    """Compile the floor and the load client; the variable `CC` sets another compiler."""
    build.mkdir(parents=True, exist_ok=True)
    for name in ("floor", "load"):
        compiler = shlex.split(os.environ.get("CC", "cc"))
        flags = ["-O2", "-Wall", "-Wextra"]
        subprocess.run(
            [*compiler, *flags, "-o", str(build / name), str(HERE / f"{name}.c")], check=True
        )


def install(build: Path, needs: Iterable[str]) -> dict[str, str]:
    """Install the needed peers; return those that cannot be installed, with the reason."""
    ways: dict[str, Callable[[Path], None]] = {
        "python": _python,
        "ws4redis": lambda folder: _environment(folder, PEERS / "requirements-ws4redis.txt"),
        "node": _node,
        "nginx": _nginx,
    }
    peers = build / "peers"
    peers.mkdir(parents=True, exist_ok=True)

    def attempt(name: str) -> str:
        try:
            ways[name](peers / name)
        except (Unavailable, OSError, subprocess.SubprocessError) as error:
            return str(error)
        return ""

    wanted = sorted(set(needs) - {""})
    with ThreadPoolExecutor() as pool:
        found = dict(zip(wanted, pool.map(attempt, wanted), strict=True))
    return {name: reason for name, reason in found.items() if reason}


def _run(*command: str, folder: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=STEP_SECONDS, check=False
        )
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not installed") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["failed"]
        raise Unavailable(f"{Path(command[0]).name}: {lines[-1]}")
    return done.stdout + done.stderr


def _is_fresh(folder: Path, *sources: Path) -> bool:
    """Return whether a folder was made from these files, by this Python; if not, empty it."""
    stamp = folder / ".made-from"
    text = sys.version + "".join(source.read_text() for source in sources)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        return True
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return False


def _seal(folder: Path, *sources: Path) -> None:
    text = sys.version + "".join(source.read_text() for source in sources)
    (folder / ".made-from").write_text(hashlib.sha256(text.encode()).hexdigest())


def _python(folder: Path) -> None:
    """Install the peers in Python, and let them import the wsredis that is measured."""
    _environment(folder, PEERS / "requirements-python.txt")
    (packages,) = folder.glob("lib/python3.*/site-packages")
    link = packages / "wsredis"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(wsredis.__file__).parent)


def _environment(folder: Path, requirements: Path) -> None:
    if _is_fresh(folder, requirements):
        return
    _run(sys.executable, "-m", "venv", str(folder))
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps")
    _run(*pip, "--disable-pip-version-check", "-r", str(requirements))
    _seal(folder, requirements)


def _node(folder: Path) -> None:
    package = PEERS / "package.json"
    fresh = _is_fresh(folder, package)
    shutil.copy(PEERS / "ws_node.js", folder)
    if not fresh:
        shutil.copy(package, folder)
        _run("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", folder=folder)
        _seal(folder, package)
    _run("node", "--version")


def _nginx(folder: Path) -> None:
    if _is_fresh(folder):
        return
    with tempfile.TemporaryDirectory() as downloads:
        try:
            _run("apt-get", "download", *DEBIAN, folder=Path(downloads))
        except Unavailable:
            _run("apt-get", "update")
            _run("apt-get", "download", *DEBIAN, folder=Path(downloads))
        for package in Path(downloads).glob("*.deb"):
            _run("dpkg-deb", "-x", str(package), str(folder))
    _run(str(folder / "usr/sbin/nginx"), "-v")
    _seal(folder)


def versions(build: Path, needs: Iterable[str]) -> dict[str, str]:
    """Return the versions of installed peers that are not Python packages."""
    found = {}
    for need in needs:
        if need == "node":
            found["Node"] = _run("node", "--version").strip().lstrip("v")
        elif need == "nginx":
            told = _run(str(build / "peers/nginx/usr/sbin/nginx"), "-v")
            found["nginx"] = told.strip().rpartition("/")[2]
    return found
