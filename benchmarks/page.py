"""The insertion of a run's result into a page, between two marks."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BEGIN", "END", "fill"]

BEGIN = "<!-- the benchmark's last run begins -->"
END = "<!-- the benchmark's last run ends -->"


def fill(page: Path, text: str) -> None:
    """Replace the text between the marks.

    Raises:
        ValueError: a mark is missing in the page.
    """
    old = page.read_text()
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} must have the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
