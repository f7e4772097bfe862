from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wsredis.embedded import EmbeddedRedis, _answers, _bundled_server, find_server, free_port
from wsredis.exceptions import EmbeddedUnavailable

SECONDS = 30.0


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as running:
        yield running


def ask(port: int, line: str, seconds: float = SECONDS) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as client:
        client.sendall(line.encode() + b"\r\n")
        return client.recv(65536)


def wait_for(what: Callable[[], bool]) -> None:
    """Look again until it is so; for the end of processes that are nobody's child here."""
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Say whether a process runs; one that has ended and waits for its parent does not."""
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()


def refused(port: int) -> bool:
    try:
        ask(port, "PING")
    except ConnectionRefusedError:
        return True
    return False


def folder_of(server: EmbeddedRedis) -> Path:
    reply = ask(server.port, "CONFIG GET dir").decode()
    return Path(reply.split("\r\n")[4])


def fake_server(folder: Path, script: str) -> str:
    path = folder / "fake-server"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_it_answers_as_soon_as_it_has_started(server: EmbeddedRedis) -> None:
    assert ask(server.port, "PING") == b"+PONG\r\n"
    assert server.url == f"redis://127.0.0.1:{server.port}/0"


def test_it_listens_on_the_loopback_address_only(server: EmbeddedRedis) -> None:
    assert ask(server.port, "CONFIG GET bind").endswith(b"$9\r\n127.0.0.1\r\n")
    with socket.socket() as other:
        other.settimeout(SECONDS)
        with pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.2", server.port))


def test_it_writes_nothing_to_disk(server: EmbeddedRedis) -> None:
    assert ask(server.port, "CONFIG GET save").endswith(b"$0\r\n\r\n")
    assert ask(server.port, "CONFIG GET appendonly").endswith(b"$2\r\nno\r\n")


def test_more_arguments_reach_the_server() -> None:
    with EmbeddedRedis(args=("--maxclients", "37")) as server:
        assert ask(server.port, "CONFIG GET maxclients").endswith(b"$2\r\n37\r\n")


def test_a_server_with_a_password_counts_as_started() -> None:
    with EmbeddedRedis(args=("--requirepass", "secret")) as server:
        assert ask(server.port, "PING").startswith(b"-NOAUTH")


@pytest.mark.parametrize("end", [EmbeddedRedis.stop, EmbeddedRedis.kill])
def test_its_end_leaves_neither_process_nor_folder(end: Callable[[EmbeddedRedis], None]) -> None:
    server = EmbeddedRedis().start()
    pid, folder = server.pid, folder_of(server)
    assert folder.is_dir()
    end(server)
    assert not alive(pid)
    assert not folder.exists()
    assert refused(server.port)
    end(server)


def test_it_comes_back_empty_on_the_same_port() -> None:
    server = EmbeddedRedis().start()
    port = server.port
    try:
        assert ask(port, "SET greeting hello") == b"+OK\r\n"
        server.kill()
        server.start()
        assert server.port == port
        assert ask(port, "GET greeting") == b"$-1\r\n"
    finally:
        server.stop()


def test_a_frozen_server_is_silent_and_then_goes_on(server: EmbeddedRedis) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.2) as client:
        server.freeze()
        client.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            client.recv(100)
        server.thaw()
        client.settimeout(SECONDS)
        assert client.recv(100) == b"+PONG\r\n"


def test_a_frozen_server_can_be_stopped() -> None:
    server = EmbeddedRedis().start()
    pid = server.pid
    server.freeze()
    server.stop()
    assert not alive(pid)


def test_it_cannot_be_started_twice(server: EmbeddedRedis) -> None:
    with pytest.raises(RuntimeError, match="is already running"):
        server.start()


def test_before_the_first_start_it_has_neither_port_nor_process() -> None:
    server = EmbeddedRedis()
    for attribute in ("port", "url", "pid"):
        with pytest.raises(RuntimeError):
            getattr(server, attribute)
    server.stop()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_the_process_that_started_it(how: signal.Signals) -> None:
    program = """if True:
        import threading
        from wsredis.embedded import EmbeddedRedis
        server = EmbeddedRedis()
        starter = threading.Thread(target=server.start)
        starter.start()
        starter.join()
        print(server.port, server.pid, flush=True)
        input()
    """
    parent = subprocess.Popen(
        [sys.executable, "-P", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        port, pid = map(int, parent.stdout.readline().split())
        # The thread that started the server has ended, and the server is still there.
        assert ask(port, "PING") == b"+PONG\r\n"
        folder = Path(ask(port, "CONFIG GET dir").decode().split("\r\n")[4])
        parent.send_signal(how)
        parent.wait(SECONDS)
    wait_for(lambda: not alive(pid))
    wait_for(lambda: not folder.exists())


def test_it_ends_when_its_starter_forgets_it() -> None:
    program = """if True:
        from wsredis.embedded import EmbeddedRedis
        server = EmbeddedRedis().start()
        print(server.pid)
    """
    found = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, check=True)
    wait_for(lambda: not alive(int(found.stdout)))


def test_a_forked_child_does_not_stop_its_parents_server(server: EmbeddedRedis) -> None:
    child = os.fork()
    if child == 0:
        server.stop()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert ask(server.port, "PING") == b"+PONG\r\n"


def test_a_port_that_is_taken_is_an_error_with_the_servers_own_words(
    server: EmbeddedRedis,
) -> None:
    with pytest.raises(EmbeddedUnavailable, match=r"(?s)exited at once.*already in use"):
        EmbeddedRedis(port=server.port).start()
    assert ask(server.port, "PING") == b"+PONG\r\n"


def test_a_lost_race_for_a_free_port_is_run_again(
    server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = iter([server.port, free_port()])
    monkeypatch.setattr("wsredis.embedded.free_port", lambda: next(ports))
    with EmbeddedRedis() as second:
        assert second.port != server.port
        assert ask(second.port, "PING") == b"+PONG\r\n"


def test_a_race_lost_again_and_again_is_given_up(
    server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsredis.embedded.free_port", lambda: server.port)
    with pytest.raises(EmbeddedUnavailable, match="already in use"):
        EmbeddedRedis().start()


def test_a_port_in_use_is_not_called_free(
    server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, numbers = free_port(), [server.port - 10_000]
    numbers.append(free - 10_000)
    monkeypatch.setattr("wsredis.embedded.secrets.randbelow", lambda most: numbers.pop(0))
    assert free_port() == free


@pytest.mark.parametrize(
    ("reply", "ours"),
    [
        (b"", False),
        (b"+PONG\r\n$70014\r\n" + b"x" * 70_000 + b"process_id:42\r\n", True),  # two reads
        (b"+PONG\r\n$15\r\nprocess_id:43\r\n", False),
        (b"-ERR unknown command\r\n", False),
    ],
    ids=["silence", "ours", "another", "no Redis"],
)
def test_who_listens_is_read_to_the_end(reply: bytes, ours: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(SECONDS)

        def answer() -> None:
            one, _ = listening.accept()
            with one:
                one.recv(100)
                one.sendall(reply)

        other = threading.Thread(target=answer)
        other.start()
        assert _answers(listening.getsockname()[1], 42) is ours
        other.join()


def test_a_server_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsredis.embedded.STOP_SECONDS", 0.2)
    with EmbeddedRedis() as busy, socket.create_connection(("127.0.0.1", busy.port)) as client:
        pid = busy.pid
        client.sendall(b'EVAL "while true do end" 0\r\n')
        with pytest.raises(TimeoutError):
            ask(busy.port, "PING", 0.5)
    assert not alive(pid)


def test_a_server_that_fails_is_quoted() -> None:
    with pytest.raises(EmbeddedUnavailable, match="no-such-option"):
        EmbeddedRedis(args=("--no-such-option", "1")).start()


def test_a_server_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsredis.embedded.START_SECONDS", 3)  # it speaks by then
    binary = fake_server(tmp_path, "echo waiting for godot; exec sleep 60")
    server = EmbeddedRedis(binary=binary)
    with pytest.raises(EmbeddedUnavailable, match=r"(?s)does not answer.*godot"):
        server.start()
    assert server.process is None


def test_the_bundled_server_comes_before_the_one_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_SERVER", raising=False)
    on_path = tmp_path / "redis-server"
    on_path.write_text("#!/bin/sh\n")
    on_path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("wsredis.embedded._bundled_server", lambda: "/bundled/valkey-server")
    assert find_server() == "/bundled/valkey-server"
    monkeypatch.setattr("wsredis.embedded._bundled_server", lambda: None)
    assert find_server() == str(on_path)


def test_a_bundled_server_for_another_machine_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsredis.embedded.platform.system", lambda: "Plan9")
    assert _bundled_server() is None


def test_the_environment_names_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = fake_server(tmp_path, "exit 0")
    monkeypatch.setenv("REDIS_SERVER", binary)
    assert EmbeddedRedis().binary == binary
    monkeypatch.setenv("REDIS_SERVER", binary + "-gone")
    with pytest.raises(EmbeddedUnavailable, match="REDIS_SERVER="):
        find_server()


def test_without_any_server_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("wsredis.embedded.find_spec", lambda name: None)
    with pytest.raises(EmbeddedUnavailable, match=r"install wsredis\[embedded\]"):
        EmbeddedRedis()
