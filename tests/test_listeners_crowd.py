"""One channel's listeners, who come, go and say something by chance: each gets all in order."""

from __future__ import annotations

import random

import pytest

from wsredis import listeners as module
from wsredis.listeners import Listeners

from .test_listeners import Socket, echo, said, serve, texts_of


class Crowd:
    """Do what chance says with a channel, and know what each socket should have got."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.listeners = Listeners()
        self.expected: dict[Socket, list[str]] = {}
        self.number = 0

    def come(self) -> None:
        socket = Socket(self.chance.choice([0, 0, 0, 15, 9]))
        self.expected[socket] = []
        socket.sent -= self.listeners.add(socket)
        if self.chance.random() < 0.7:
            self.listeners.joined(socket)

    def go(self) -> None:
        if self.expected:
            socket = self.chance.choice(list(self.expected))
            socket.sent += self.listeners.remove(socket)
            assert socket.sent == len(socket.got)
            due = self.expected.pop(socket)
            assert due[: len(socket.got)] == socket.got

    def say(self) -> None:
        texts = [f"{self.number + more}" for more in range(self.chance.randint(1, 4))]
        self.number += len(texts)
        senders = [self.chance.choice([*self.expected, *[None] * 20]) for _ in texts]
        for text, sender in zip(texts, senders, strict=True):
            if sender is not None:
                echo(self.listeners, sender, text)
            for socket, due in self.expected.items():
                if socket is not sender:
                    due.append(text)
        if self.expected:
            self.listeners.wait(said(*texts), 0)

    def give(self) -> None:
        if self.expected:
            socket = self.chance.choice(list(self.expected))
            theirs, own = self.listeners.ahead(socket)
            socket.got += [texts_of(one)[0] for one in theirs]
            socket.sent -= own
            assert socket.got == self.expected[socket]

    def serve(self) -> None:
        if self.listeners.waiting:
            texts, bits, sockets, apart = serve(self.listeners)
            assert len(sockets) + len(apart) <= module.TURN
            assert {socket.window_bits for socket in (*sockets, *apart)} == {bits}
            for socket in sockets:
                socket.got += texts
            for socket, (theirs, own) in apart.items():
                socket.got += theirs
                socket.sent -= own


@pytest.mark.parametrize("seed", range(40))
def test_each_gets_all_in_order_whatever_happens(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TURN", 5)
    monkeypatch.setattr(module, "JOIN_AT_MOST", 12)
    crowd = Crowd(seed)
    steps = [crowd.come] * 4 + [crowd.go] * 3 + [crowd.say] * 3 + [crowd.give] + [crowd.serve] * 8
    for _ in range(600):
        crowd.chance.choice(steps)()
    while crowd.listeners.waiting:
        crowd.serve()
    assert all(socket.got == due for socket, due in crowd.expected.items())
    listeners = crowd.listeners
    left = (listeners.size, listeners._own, listeners._early, listeners._piece)
    assert left == (0, {}, {}, None)
    rows = listeners._rows
    assert {c: row for row in rows for c in row.sockets} == listeners.members
    assert all(row.sockets and row.had == listeners.end for row in rows)
