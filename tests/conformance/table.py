"""The tables of docs/conformance.md, from the results stored by scripts/conformance."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .support import CASES, SECTIONS, VERDICTS, Results, section_of

__all__ = ["Record", "put", "tables", "unexplained", "worse"]

BEGIN, END = "<!-- {}: written by scripts/conformance -->\n", "<!-- end -->\n"
REMARKABLE = ("non-strict", "informational", "failed", "unimplemented")


@dataclass
class Record:
    """The results of one server or client.

    Args:
        name: its name on the command line.
        title: its name in the tables.
        version: the version of the server or client, not of wsredis.
        date: the date of the last run.
        results: verdicts by the numbers of the cases.
    """

    name: str
    title: str
    version: str
    date: str
    results: Results = field(default_factory=dict)

    def counts(self, section: str = "") -> Counter[str]:
        """Count the verdicts, of all cases or of a section's."""
        every = self.results.items()
        return Counter(verdict for n, verdict in every if section in ("", section_of(n)))

    def numbers(self, verdict: str) -> list[str]:
        return sorted((n for n, v in self.results.items() if v == verdict), key=_order)


def worse(record: Record, than: Record) -> list[str]:
    """Return the cases that end worse than in a comparison; later in `VERDICTS` is worse."""
    rank = VERDICTS.index
    both = record.results.keys() & than.results.keys()
    found = [n for n in both if rank(record.results[n]) > rank(than.results[n])]
    return sorted(found, key=_order)


def tables(records: Sequence[Record]) -> str:
    """Return the sums, the sections, and the numbers of all cases that did not simply pass."""
    rows = [_row(["", "version", *VERDICTS, "run on"])]
    rows.append("|---|---|" + "---:|" * len(VERDICTS) + "---|\n")
    for record in records:
        counts = record.counts()
        sums = [counts[verdict] for verdict in VERDICTS]
        rows.append(_row([record.title, record.version, *sums, record.date]))
    rows.append("\nResults by section. A number alone counts the passed cases:\n\n")
    rows.append(_row(["section", "cases", *(record.title for record in records)]))
    rows.append("|---|---:|" + "---|" * len(records) + "\n")
    for section, about in SECTIONS.items():
        cells = [_cell(record.counts(section)) for record in records]
        rows.append(_row([f"{section}: {about}", CASES[section], *cells]))
    return "".join([*rows, "\n", *_remarkable(records)])


def put(page: str, name: str, text: str) -> str:
    """Return the page with the text between the comments of that name."""
    begin = BEGIN.format(name)
    before, _, rest = page.partition(begin)
    _, end, after = rest.partition(END)
    assert end, f"the page has no comments for {name}"
    return f"{before}{begin}\n{text}\n{end}{after}"


def unexplained(page: str, records: Iterable[Record]) -> list[str]:
    """Return the non-strict and informational cases that the text of the page does not explain."""
    place = re.escape(BEGIN).replace(r"\{\}", r"\w+") + ".*?" + re.escape(END)
    words = set(re.findall(r"\b\d+(?:\.\d+)+\b", re.sub(place, "", page, flags=re.DOTALL)))
    verdicts = ("non-strict", "informational")
    found = {n for record in records for verdict in verdicts for n in record.numbers(verdict)}
    return sorted(found - words, key=_order)


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |\n"


def _cell(counts: Counter[str]) -> str:
    if not counts:
        return "not run"
    others = [f"{counts[verdict]} {verdict}" for verdict in REMARKABLE if counts[verdict]]
    return ", ".join([str(counts["passed"]), *others])


def _remarkable(records: Sequence[Record]) -> list[str]:
    """List the cases that did not simply pass; records with the same cases share a line."""
    lines = []
    for verdict in REMARKABLE:
        who: dict[tuple[str, ...], list[str]] = {}
        for record in records:
            if numbers := record.numbers(verdict):
                who.setdefault(tuple(numbers), []).append(record.title)
        for numbers, titles in who.items():
            named = "all" if len(titles) == len(records) else ", ".join(titles)
            lines.append(f"* {verdict} ({named}): {', '.join(_ranges(numbers))}\n")
    return lines


def _ranges(numbers: Sequence[str]) -> list[str]:
    """Join neighbours: 6.12.1 to 6.12.8 are 6.12.1-8."""
    joined: list[tuple[str, int, int]] = []
    for number in numbers:
        group, _, last = number.rpartition(".")
        if joined and joined[-1][::2] == (group, int(last) - 1):
            joined[-1] = (group, joined[-1][1], int(last))
        else:
            joined.append((group, int(last), int(last)))
    return [f"{g}.{first}" + (f"-{last}" if last > first else "") for g, first, last in joined]


def _order(number: str) -> list[int]:
    return [int(part) for part in number.split(".")]
