from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .proxies import needs_apache, needs_nginx

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
COMPILER = shlex.split(os.environ.get("CC", "cc"))
SMALL = ["--quick", "--servers", "floor", "wsredis", "--scale", "0.02", "--seconds", "0.2"]

# Each function of the scenarios, and each of its options, once.
SCENARIOS = [
    *("idle", "storm", "newcomers", "fan-1000", "fan-idle", "fan-4k", "fan-4k-deflate"),
    *("saturated-4", "unicast", "groups", "inbound", "workers-saturated"),
]

PROGRAMS = {"floor": ("floor.c", "accept.c"), "load": ("load.c", "client.c")}

# The driver writes what a peer's library reads, and names files that are there.
LOAD_PEERS = """
import json, sys
from pathlib import Path
import routes, servers
assert routes.channels_route("a", b"x" * 300)[1].endswith(b"text\\xda\\x01\\x2c" + b"x" * 300)
packed = b"\\x82\\xa4type\\xadbench.message\\xa4text\\xd9\\x01x"
assert routes.channels_route("a", b"x") == ("asgi__group__a", packed)
assert json.loads(routes.socketio_route("a", b"x")[1])["data"] == ["x"]
named = [word for server in servers.SERVERS.values() for word in server.command.split()]
named += [f"@HERE@/peers/{server.config}" for server in servers.SERVERS.values() if server.config]
files = [Path(word.replace("@HERE@", sys.argv[1])) for word in named if word.startswith("@HERE@/")]
assert len(files) > 6 and all(map(Path.exists, files)), files
"""

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc and uses epoll"),
    pytest.mark.skipif(not shutil.which(COMPILER[0]), reason="there is no C compiler"),
]


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    if not Path(sys.executable).with_name("uwsgi").exists():
        pytest.skip("uWSGI is not installed beside this Python")
    return [sys.executable, str(FOLDER / "run.py"), *SMALL, "--build", str(tmp_path / "build")]


def processes_naming(folder: Path) -> list[int]:
    """Return the processes whose command line names a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            pass
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_c_programs_compile_without_a_warning(name: str, tmp_path: Path) -> None:
    flags = ["-O2", "-Wall", "-Wextra", "-Werror"]
    sources = [str(FOLDER / source) for source in PROGRAMS[name]]
    program = tmp_path / name
    subprocess.run([*COMPILER, *flags, "-o", str(program), *sources], check=True)
    assert program.is_file()


@pytest.mark.parametrize("file", sorted((FOLDER / "peers").iterdir()), ids=lambda file: file.name)
def test_each_peer_can_be_read(file: Path) -> None:
    if file.suffix == ".py":
        compile(file.read_text(), file, "exec")
    elif file.suffix == ".js":
        node = shutil.which("node") or pytest.skip("there is no Node.js")
        subprocess.run([node, "--check", str(file)], check=True)
    else:
        text = file.read_text()
        assert file.suffix == ".conf"
        assert text.count("{") == text.count("}") > 0


def test_each_server_names_files_that_exist_and_writes_what_its_library_reads() -> None:
    command = [sys.executable, "-P", "-c", LOAD_PEERS, str(FOLDER)]
    env = {**os.environ, "PYTHONPATH": str(FOLDER)}
    subprocess.run(command, env=env, check=True)


@pytest.mark.servers
@pytest.mark.timeout(400)
def test_a_small_run_delivers_every_message_and_tells_every_figure(
    command: list[str], tmp_path: Path
) -> None:
    # The run itself refuses to go on when a connection has missed a message or had one twice.
    words = [*command, "--scenarios", *SCENARIOS]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    build = tmp_path / "build"
    result = json.loads((build / "result.json").read_text())
    (measured,) = result["rounds"]
    for name in ("floor", "wsredis"):
        figures = measured[name]["figures"]
        assert set(figures) >= set(SCENARIOS) - {"fan-4k-deflate", "workers-saturated"}
        assert figures["fan-1000"]["cpu"] > 0
        assert figures["saturated-4"]["rate"] > 0
    assert set(measured["wsredis"]["figures"]) == set(SCENARIOS)
    assert done.stdout.count("\n| ") == len(result["medians"]) + 1
    assert done.stdout == (build / "result.md").read_text()
    assert len(ElementTree.parse(build / "result.svg").getroot()) > 5
    assert not processes_naming(tmp_path)


@pytest.mark.servers
def test_a_peer_that_cannot_be_had_is_named_with_the_reason(
    command: list[str], tmp_path: Path
) -> None:
    nothing = {**os.environ, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    words = [*command, "--servers", "floor", "picows", "--scenarios", "storm"]
    done = subprocess.run(words, env=nothing, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "- picows: not measured, pip failed: ERROR: Could not find a version" in done.stdout
    assert "at once: CPU for each handshake" in done.stdout


@pytest.mark.servers
@needs_nginx
@needs_apache
def test_a_small_run_behind_proxies_delivers_every_message_and_tells_what_each_costs(
    command: list[str], tmp_path: Path
) -> None:
    words = [str(FOLDER / "proxies.py"), "--quick", "--connections", "20", *command[-2:]]
    done = subprocess.run([command[0], *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "build" / "proxies.json").read_text())
    (figures,) = result["rounds"]
    assert list(figures) == ["direct", "router", "nginx", "apache"]
    assert all(found["paced_cpu"] > 0 for found in figures.values())
    assert done.stdout.count("\n| ") == len(figures)
    assert not processes_naming(tmp_path)


@pytest.mark.servers
def test_ctrl_c_in_the_middle_of_a_run_leaves_no_process(
    command: list[str], tmp_path: Path
) -> None:
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as run:
        assert run.stderr
        while run.poll() is None and b"round 1" not in run.stderr.readline():
            pass
        run.send_signal(signal.SIGINT)
        try:
            assert run.wait(30) == 130
        finally:
            run.kill()
    assert not processes_naming(tmp_path)
