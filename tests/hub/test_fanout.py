"""The innermost loop, in both languages: which sockets took which data, in all states."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wsredis.hub import fanout
from wsredis.hub.fanout import write_all, write_each, write_each_in_python

FRAMES = b"\x81\x05hello\x81\x05again"
LARGE = b"x" * (8 << 20)
IN_C = write_each is not write_each_in_python

WriteEach = Callable[[Sequence[Any], bytes], list[tuple[Any, int]]]


class Reader:
    """A subscriber whose other end is controlled by the test."""

    def __init__(self) -> None:
        near, self.far = socket.socketpair()
        near.setblocking(False)
        self.send_buffer: object | None = None
        self.unsent: list[tuple[int, bytes, object]] = []
        self._near = near
        self.fd = near.fileno()

    def on_partial_write(self, sent: int, data: bytes, encoded: object = None) -> None:
        self.unsent.append((sent, data, encoded))

    def fill(self) -> None:
        """Leave no room for another byte."""
        try:
            while True:
                self._near.send(b"x" * 4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        self.far.close()
        self._near.close()


@pytest.fixture
def readers() -> Iterator[Callable[[int], list[Reader]]]:
    with ExitStack() as stack:

        def make(count: int) -> list[Reader]:
            made = [Reader() for _ in range(count)]
            for reader in made:
                stack.callback(reader.close)
            return made

        yield make


@pytest.fixture(params=["python", "c"])
def each(request: pytest.FixtureRequest) -> WriteEach:
    if request.param == "c" and not IN_C:
        pytest.skip("the loop in C was not built")
    return write_each if request.param == "c" else write_each_in_python


def test_where_there_is_a_compiler_the_loop_is_in_c() -> None:
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if shutil.which("cc") and header.exists():
        assert IN_C


def test_where_it_was_not_built_the_loop_in_python_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wsredis.hub._fanout", None)
    spec: Any = importlib.util.find_spec("wsredis.hub.fanout")
    anew: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(anew)
    assert anew.write_each is anew.write_each_in_python


def test_everybody_gets_everything(each: WriteEach, readers: Callable[[int], list[Reader]]) -> None:
    all_of_them = readers(7)
    assert each(tuple(all_of_them), FRAMES) == []
    assert each(all_of_them[:2], FRAMES) == []
    assert each((), FRAMES) == []
    got = [reader.far.recv(1000) for reader in all_of_them]
    assert got == [FRAMES * 2] * 2 + [FRAMES] * 5


def test_many_are_more_than_are_written_to_at_once(each: WriteEach, readers: Any) -> None:
    few = readers(12)
    assert each(few * 100, b"x") == []
    assert [len(reader.far.recv(1000)) for reader in few] == [100] * 12


def test_those_who_did_not_take_everything_are_returned_in_order(
    each: WriteEach, readers: Any
) -> None:
    full, gone, waiting, slow, quick = readers(5)
    full.fill()
    gone.far.close()
    waiting.send_buffer = object()
    unsent = each((full, gone, waiting, slow, quick), LARGE)
    assert [(reader, min(sent, 1)) for reader, sent in unsent] == [
        (full, 0),
        (gone, -1),
        (waiting, 0),
        (slow, 1),
        (quick, 1),
    ]
    assert all(sent < len(LARGE) for _, sent in unsent)
    assert slow.far.recv(1) == b"x"
    with pytest.raises(BlockingIOError):
        waiting.far.recv(1, socket.MSG_DONTWAIT)


def test_a_descriptor_that_is_none_is_a_dead_socket_or_an_error(each: WriteEach) -> None:
    number = os.dup(0)
    os.close(number)
    closed = SimpleNamespace(fd=number, send_buffer=None)
    assert each((closed,), FRAMES) == [(closed, -1)]


LACKING = [errno.ENOBUFS, errno.ENOMEM]


@pytest.mark.parametrize(("number", "sent"), [*((n, 0) for n in LACKING), (errno.EPIPE, -1)])
def test_a_kernel_without_memory_is_no_dead_socket(
    number: int, sent: int, readers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(fd: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    (reader,) = readers(1)
    monkeypatch.setattr(os, "write", write)
    assert write_each_in_python((reader,), FRAMES) == [(reader, sent)]


FAILING_SEND = """
#include <errno.h>
#include <stdlib.h>
#include <sys/types.h>
ssize_t send(int fd, const void *data, size_t size, int flags)
{ (void)fd; (void)data; (void)size; (void)flags; errno = atoi(getenv("SEND_ERRNO")); return -1; }
"""

WRITE_ONCE = """
from types import SimpleNamespace
from wsredis.hub.fanout import write_each
print(write_each((SimpleNamespace(fd=0, send_buffer=None),), b"x")[0][1])
"""


@pytest.mark.skipif(
    not IN_C or sys.platform != "linux", reason="needs the loop in C, and LD_PRELOAD"
)
@pytest.mark.parametrize(
    ("number", "sent"),
    [*((n, 0) for n in (*LACKING, errno.EAGAIN, errno.EINTR)), (errno.EPIPE, -1)],
)
def test_a_kernel_without_memory_is_no_dead_socket_in_c(
    number: int, sent: int, tmp_path: Path
) -> None:
    source, library = tmp_path / "send.c", tmp_path / "send.so"
    source.write_text(FAILING_SEND)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    environ = {**os.environ, "LD_PRELOAD": str(library), "SEND_ERRNO": str(number)}
    run = subprocess.run(
        [sys.executable, "-c", WRITE_ONCE],
        env=environ,
        cwd=tmp_path,  # not the source tree, where the loop in C is not built
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(run.stdout) == sent


@pytest.mark.parametrize(
    "wrong", [SimpleNamespace(send_buffer=None), SimpleNamespace(fd=1), object()]
)
def test_what_is_no_subscriber_is_an_error(each: WriteEach, wrong: object) -> None:
    with pytest.raises(AttributeError):
        each((wrong,), FRAMES)


@pytest.mark.skipif(not IN_C, reason="the loop in C was not built")
def test_the_loop_in_c_refuses_what_it_cannot_use() -> None:
    for fd, error in ((-1, ValueError), ("1", TypeError), (1 << 80, OverflowError)):
        with pytest.raises(error):
            write_each((SimpleNamespace(fd=fd, send_buffer=None),), FRAMES)  # type: ignore[arg-type]
    for arguments in ((), ((),), (1, FRAMES), ((), "text")):
        with pytest.raises(TypeError):
            write_each(*arguments)  # type: ignore[call-arg, arg-type]


def test_who_is_in_the_middle_of_a_frame_is_dealt_with_first(
    each: WriteEach, readers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "write_each", each)
    gone, waiting, slow = readers(3)
    gone.far.close()
    waiting.send_buffer = object()
    order: list[Reader] = []
    for reader in (gone, waiting, slow):
        monkeypatch.setattr(
            reader, "on_partial_write", lambda sent, data, encoded, who=reader: order.append(who)
        )
    write_all((gone, waiting, slow), LARGE)
    assert order == [slow, waiting, gone]


def test_who_did_not_take_everything_learns_of_what(
    each: WriteEach, readers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "write_each", each)
    gone, quick = readers(2)
    gone.far.close()
    encoded: Any = object()
    write_all((gone, quick), FRAMES, encoded)
    assert gone.unsent == [(-1, FRAMES, encoded)]
    assert quick.unsent == []
    assert quick.far.recv(1000) == FRAMES
