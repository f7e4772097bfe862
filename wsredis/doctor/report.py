"""The result of an examination: steps, and at most one diagnosis with the lines to write."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

__all__ = ["Diagnosis", "Fault", "NotTested", "Remedy", "Report", "Step"]

WORDS = {True: "ok", False: "FAILED", None: "skipped"}


@dataclass(frozen=True, slots=True)
class Remedy:
    """A way to fix a fault.

    Args:
        where: the program, file or call to change; without lines, a sentence that says what to do.
        lines: the lines to write there.
    """

    where: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The diagnosis of a fault.

    Args:
        fault: name of the fault, for programs.
        sentence: description of the fault, for people.
        remedies: ways to fix it; the likeliest first.
    """

    fault: str
    sentence: str
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of one step, and a text about what was observed.

    Args:
        name: name of the step.
        ok: whether nothing is wrong; None if that could not be tested.
        text: what was observed, or why it was not tested.
    """

    name: str
    ok: bool | None
    text: str


class NotTested(Exception):
    """A step that found out nothing, for the reason in the text; the examination goes on."""


class Fault(Exception):
    """A fault, which ends the examination.

    Args:
        seen: what was observed, for the line of the step.
        fault: name of the fault.
        sentence: description of the fault.
        remedies: ways to fix it.
    """

    def __init__(self, seen: str, fault: str, sentence: str, *remedies: Remedy) -> None:
        super().__init__(sentence)
        self.seen = seen
        self.diagnosis = Diagnosis(fault, sentence, remedies)


@dataclass(slots=True)
class Report:
    """The report of an examination, printed step by step.

    Args:
        url: the URL that is examined.
        say: takes each line as soon as it is known.
    """

    url: str
    say: Callable[[str], object] = field(repr=False)
    steps: list[Step] = field(default_factory=list)
    diagnosis: Diagnosis | None = None

    @property
    def ok(self) -> bool:
        """Return whether no fault was found."""
        return self.diagnosis is None

    def passed(self, name: str, text: str) -> None:
        """Add a step that succeeded."""
        self._add(name, True, text)

    def skipped(self, name: str, text: str) -> None:
        """Add a step that found out nothing."""
        self._add(name, None, text)

    def failed(self, name: str, fault: Fault) -> None:
        """Add the step that ends the examination."""
        self._add(name, False, fault.seen)
        self.diagnosis = fault.diagnosis
        self.say(f"\n{fault.diagnosis.sentence}")
        for remedy in fault.diagnosis.remedies:
            self.say(f"\n{remedy.where}:\n" if remedy.lines else f"\n{remedy.where}.")
            for line in remedy.lines:
                self.say(f"    {line}")

    def _add(self, name: str, ok: bool | None, seen: str) -> None:
        # Parts of it may come from a server: control characters must not reach the terminal.
        text = "".join(c if c.isprintable() else " " for c in seen).strip()
        step = Step(name, ok, text)
        self.steps.append(step)
        self.say(f"{WORDS[ok]:<7} {step.name:<12} {step.text}")

    def json(self) -> str:
        """Return the report as a JSON object."""
        steps = [asdict(step) for step in self.steps]
        diagnosis = self.diagnosis and asdict(self.diagnosis)
        return json.dumps(
            {"url": self.url, "ok": self.ok, "steps": steps, "diagnosis": diagnosis}, indent=2
        )
