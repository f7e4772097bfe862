"""What an examination has found: steps, and at most one diagnosis with the lines to write."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

__all__ = ["Diagnosis", "Fault", "Remedy", "Report", "Step"]


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to write, and where.

    Args:
        where: the program, file or call.
        lines: what to write there.
    """

    where: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong.

    Args:
        fault: its name, for programs.
        sentence: the same for people.
        remedies: ways to fix it; the likeliest first.
    """

    fault: str
    sentence: str
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """How one step went, and what was seen."""

    name: str
    ok: bool
    text: str


class Fault(Exception):
    """A fault, which ends the examination.

    Args:
        seen: what was seen, for the line of the step.
        fault: name of the diagnosis.
        sentence: the diagnosis.
        remedies: ways to fix it.
    """

    def __init__(self, seen: str, fault: str, sentence: str, *remedies: Remedy) -> None:
        super().__init__(sentence)
        self.seen = seen
        self.diagnosis = Diagnosis(fault, sentence, remedies)


@dataclass(slots=True)
class Report:
    """The steps so far, shown as they come.

    Args:
        url: what is examined.
        say: takes each line as soon as it is known.
    """

    url: str
    say: Callable[[str], object] = field(repr=False)
    steps: list[Step] = field(default_factory=list)
    diagnosis: Diagnosis | None = None

    @property
    def ok(self) -> bool:
        """Return whether nothing is wrong."""
        return self.diagnosis is None

    def passed(self, name: str, text: str) -> None:
        """Add a step that went well."""
        self._add(name, True, text)

    def failed(self, name: str, fault: Fault) -> None:
        """Add the step that ends the examination."""
        self._add(name, False, fault.seen)
        self.diagnosis = fault.diagnosis
        self.say(f"\n{fault.diagnosis.sentence}")
        for remedy in fault.diagnosis.remedies:
            self.say(f"\n{remedy.where}:\n")
            for line in remedy.lines:
                self.say(f"    {line}")

    def _add(self, name: str, ok: bool, seen: str) -> None:
        # A server may have written some of it: nothing in it can break the line or move a cursor.
        text = "".join(c if c.isprintable() else " " for c in seen).strip()
        step = Step(name, ok, text)
        self.steps.append(step)
        self.say(f"{'ok' if step.ok else 'FAILED':<7} {step.name:<12} {step.text}")

    def json(self) -> str:
        """Return everything as a JSON object."""
        steps = [asdict(step) for step in self.steps]
        diagnosis = self.diagnosis and asdict(self.diagnosis)
        return json.dumps(
            {"url": self.url, "ok": self.ok, "steps": steps, "diagnosis": diagnosis}, indent=2
        )
