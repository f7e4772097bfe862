"""The course of a soak run: rounds of connecting and disconnecting, and checks between them."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any

from wsredis import Config

from .crowd import REVOKED, Crowd
from .member import Kind, Member, Stage
from .server import OPTIONS, WORKERS, Server
from .talk import Talk
from .verdict import left_behind, mismatches, not_given_back

__all__ = ["ROUNDS", "Course"]

ROUNDS = 4
"""The number of rounds, if each is long enough; the first one ends with the baseline."""

ROUND_SECONDS = 4.0
"""The minimum duration of a round."""

LONG_ROUND = 3 * (OPTIONS["ping_interval"] + OPTIONS["pong_timeout"])
"""Seconds of a round in which some clients that answer no ping are certainly disconnected."""

PATIENCE = 30.0
"""Seconds until all messages must have been received and all subscriptions must agree, until all
clients must know that messages may have been lost, and until nothing may be left of clients that
have disconnected."""

BURST = 200
"""The number of messages published while the workers have no link to Redis: some are lost."""


class Course:
    """The course of a server and its clients through all rounds.

    Args:
        server: started.
        sockets: the number of concurrent sockets.
        seconds: the duration in seconds, without the pauses for checks.
        seed: the random seed.
        overflow: the server's option ``overflow``.
        pace: see `Crowd`.
        patience: how many seconds to wait for an expected state.
        say: a function that gets reports of progress.

    Attributes:
        violations: descriptions of failed checks.
        counts: the numbers of events.
        start, end: the workers' censuses at the baseline and at the end of the last round.
        quiet: for each round, the seconds until nothing was left.
        most: the maximum number of concurrent sockets.
    """

    def __init__(
        self,
        server: Server,
        sockets: int,
        seconds: float,
        seed: int,
        overflow: str = "close",
        pace: float = 1.0,
        patience: float = PATIENCE,
        say: Callable[[str], None] = print,
    ) -> None:
        self.violations: list[str] = []
        self.start: list[dict[str, Any]] = []
        self.end: list[dict[str, Any]] = []
        self.quiet: list[float] = []
        self.most = 0
        self._server = server
        self._sockets = sockets
        self._rounds = max(2, min(ROUNDS, int(seconds / ROUND_SECONDS)))
        self._round = seconds / self._rounds
        self._overflow = overflow
        self._patience = patience
        self._began = time.monotonic()
        self._tell = say
        self.talk = Talk(drops=overflow != "close")
        config = Config(redis=server.broker.url, key_prefix=OPTIONS["key_prefix"])
        self.crowd = Crowd(server.port, config, self.talk, Random(seed), pace)

    def run(self) -> None:
        """Run all rounds; `violations` then describes what is wrong."""
        try:
            for number in range(self._rounds):
                self._go_round(number)
        finally:
            self.crowd.close()
        self._judge()

    def _go_round(self, number: int) -> None:
        self.crowd.run(self._round / 2, self._sockets)
        self._check_who_is_there()
        if number == 0:
            self._reload()
        # In the first round too, so that the baseline includes its effects.
        if number in (0, self._rounds // 2):
            self._cut()
        self.crowd.run(self._round / 2, self._sockets)
        self._check_who_is_there()
        if number == 0:
            self._server.warm()
        self.crowd.all_leave()
        self._be_quiet(number)

    def _say(self, text: str) -> None:
        self._tell(f"{time.monotonic() - self._began:6.1f} s: {text}")

    # While clients are connected

    def _check_who_is_there(self) -> None:
        """Pause the clients until they have received all messages and all subscriptions agree."""
        crowd, talk = self.crowd, self.talk
        self.most = max(self.most, len(crowd.members))
        crowd.hold()
        late: list[str] = []
        odd: list[str] = []

        def settled() -> bool:
            late[:] = self._late()
            if not late:
                odd[:] = self._mismatches()
            return not late and not odd

        if not self._wait(settled):
            for line in late[:5]:
                talk.wrong("never received", line)
            odd = odd or self._mismatches()
            self.violations += odd
        crowd.go_on()
        verdict = "do not agree" if late or odd else "agree"
        self._say(f"{len(crowd.members):,} clients, the workers and Redis {verdict}")

    def _late(self) -> list[str]:
        members = list(self.crowd.members.values())
        coming = [m.name for m in members if m.stage in (Stage.CONNECTING, Stage.LEAVING)]
        if coming:
            return [f"{len(coming)} clients are still connecting or closing, such as {coming[0]}"]
        if stay := [m.name for m in members if m.revoked]:
            return [f"{len(stay)} revoked clients are still connected, such as {stay[0]}"]
        hearings = [m.hearing for m in members if m.reads and m.plan.kind is Kind.USUAL]
        return self.talk.settled(h for h in hearings if h is not None)

    def _mismatches(self) -> list[str]:
        members = [m for m in self.crowd.members.values() if m.hearing is not None]
        wanted = {channel for m in members if m.hearing for channel in m.hearing.channels}
        own = sum(m.plan.consumer == "async" for m in members)
        workers = self._server.listening()
        return mismatches(wanted, len(members), workers, self._server.subscriptions(), own)

    def _wait(self, until: Callable[[], bool]) -> bool:
        """Run the clients until a condition is met; return False if it takes too long."""
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            self.crowd.run(0.2)
            if until():
                return True
        return False

    # Faults

    def _cut(self) -> None:
        """Break the workers' links to Redis: all connected clients must be told of the gap."""
        gaps = [worker["stats"]["gaps"] for worker in self._server.listening()]

        def cut() -> None:
            if (links := self._server.cut()) != WORKERS:
                self.violations.append(f"{links} links to Redis were broken instead of {WORKERS}")
            for _ in range(BURST):
                self.crowd.publish()

        self._upset(cut, "the links to Redis were broken")
        after = [worker["stats"]["gaps"] for worker in self._server.listening()]
        if after != [gap + 1 for gap in gaps]:
            self.violations.append(
                f"the workers' gaps were {gaps} and are {after}, not one more each"
            )

    def _reload(self) -> None:
        """Replace the workers."""
        old = frozenset(worker["pid"] for worker in self._server.listening())
        self._upset(self._server.reload, "the workers were replaced", old)

    def _upset(
        self, what: Callable[[], object], title: str, gone: frozenset[int] = frozenset()
    ) -> None:
        """Cause a fault that all clients must be told of, and wait until it is over."""
        crowd = self.crowd
        crowd.hold()
        there = [m for m in crowd.members.values() if m.reads]
        crowd.trouble = True
        what()
        crowd.run(
            self._patience, self._sockets, until=lambda: all(m.stage is Stage.ENDED for m in there)
        )
        crowd.go_on()
        self._server.wait_for_workers(but=gone)
        crowd.run(1, self._sockets)
        crowd.trouble = False
        self._say(f"{title}; {len(there)} sockets were open")
        for member in there:
            if reproach := _reproach(member):
                self.talk.wrong("not told of a gap", f"{member.name} {reproach} when {title}")

    # When all clients have disconnected

    def _be_quiet(self, number: int) -> None:
        """Wait until nothing is left of any client."""
        began = time.monotonic()
        start, left = self.start, [""]
        while left and time.monotonic() < began + self._patience:
            time.sleep(0.1)
            self.end = self._server.census()
            left = left_behind(start or self.end, self.end, self._server.subscriptions())
        self.quiet.append(time.monotonic() - began)
        self.talk.forget()
        self._server.redis.flushdb()  # no message is retained for the next round
        if not start:
            self.start = self.end
            self.talk.dropped = 0
        moment = f"after round {number}"
        self.violations += [f"{line}, {moment}" for line in left]
        self.violations += [f"{line}, {moment}" for line in not_given_back(self.start, self.end)]
        opened = self.crowd.counts["opened"]
        waited = self.quiet[-1]
        self._say(f"round {number}: {opened:,} sockets so far; nothing left after {waited:.1f} s")

    def _judge(self) -> None:
        """Check what can only be checked at the end."""
        self.violations += [f"{kind}: {count:,} times" for kind, count in self._worst()]
        self.violations += self.talk.shown
        self.violations += [f"the log says: {line}" for line in self._server.complaints()[:5]]
        stats = [worker["stats"] for worker in self.end]
        total = {name: sum(worker[name] for worker in stats) for name in stats[0]}
        counted = total["messages_dropped"] - sum(
            worker["stats"]["messages_dropped"] for worker in self.start
        )
        if self.talk.dropped > counted:
            self.violations.append(
                f"{self.talk.dropped} messages are missing, and {counted} were counted as dropped"
            )
        needed = ["slow_consumers" if self._overflow == "close" else "messages_dropped", "gaps"]
        if self._round > LONG_ROUND:
            needed.append("timeouts")
        for name in needed:
            if not total[name]:
                self.violations.append(f"the run was too short or too small: {name} is 0")

    def _worst(self) -> list[tuple[str, int]]:
        return self.talk.violations.most_common()


def _reproach(member: Member) -> str:
    """Return what is wrong with how a client was disconnected; "" if nothing is."""
    if member.stage is not Stage.ENDED:
        return "is still connected"
    if member.plan.kind is Kind.USUAL and member.code not in (1012, 1013, REVOKED):
        return f"ended with {member.code or 'no close frame'}"
    return ""
