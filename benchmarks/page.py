"""Put the result of a run into a page, between two marks; what is around them stays."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BEGIN", "END", "fill"]

BEGIN = "<!-- the benchmark's last run begins -->"
END = "<!-- the benchmark's last run ends -->"


def fill(page: Path, text: str) -> None:
    """Replace what stands between the marks.

    Raises:
        ValueError: the page has not both marks.
    """
    old = page.read_text()
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} needs the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
