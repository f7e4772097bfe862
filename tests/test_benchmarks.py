from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .proxies import needs_apache, needs_nginx

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
COMPILER = shlex.split(os.environ.get("CC", "cc"))
SMALL = ["--quick", "--connections", "50", "--idle", "50", "--rounds", "1"]

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


@pytest.mark.parametrize("name", ["floor", "load"])
def test_the_c_programs_compile_without_a_warning(name: str, tmp_path: Path) -> None:
    flags = ["-O2", "-Wall", "-Wextra", "-Werror"]
    source, program = FOLDER / f"{name}.c", tmp_path / name
    subprocess.run([*COMPILER, *flags, "-o", str(program), str(source)], check=True)
    assert program.is_file()


@pytest.mark.servers
def test_a_small_run_delivers_every_message_and_tells_every_figure(
    command: list[str], tmp_path: Path
) -> None:
    # The run itself refuses to go on when a connection has missed a message or had one twice.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "build" / "result.json").read_text())
    (figures,) = result["rounds"]
    for name in ("floor", "wsredis"):
        assert figures[name]["paced_cpu"] > 0
        assert figures[name]["saturated_rate"] > 0
        assert figures[name]["newcomer_cpu"] > 0
    assert done.stdout.count("\n| ") == len(result["medians"]["wsredis"])
    assert not processes_naming(tmp_path)


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
