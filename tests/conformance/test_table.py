from __future__ import annotations

from pathlib import Path

import pytest

from .support import CASES, SECTIONS, verdict
from .table import Record, put, tables, unexplained, worse

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"

SMALL = """\
# A page

<!-- servers: written by scripts/conformance -->
* non-strict (all): 6.4.3
<!-- end -->

7.1.6 is open.
"""


def record(title: str, **results: str) -> Record:
    found = {number.removeprefix("c").replace("_", "."): v for number, v in results.items()}
    return Record(title.lower(), title, f"{title} 1.0", "2026-11-21", found)


@pytest.mark.parametrize(
    ("behavior", "close", "expected"),
    [
        ("OK", "OK", "passed"),
        ("OK", "INFORMATIONAL", "informational"),
        ("NON-STRICT", "OK", "non-strict"),
        ("INFORMATIONAL", "INFORMATIONAL", "informational"),
        ("UNIMPLEMENTED", "OK", "unimplemented"),
        ("OK", "WRONG CODE", "failed"),
        ("NON-STRICT", "UNCLEAN", "failed"),
        ("FAILED", "OK", "failed"),
        ("ERROR", "FAILED", "failed"),
    ],
)
def test_a_report_becomes_one_word(behavior: str, close: str, expected: str) -> None:
    assert verdict(behavior, close) == expected


def test_there_are_517_cases() -> None:
    assert CASES.keys() == SECTIONS.keys()
    assert sum(CASES.values()) == 517


def test_the_tables_count_by_server_and_by_section() -> None:
    good = record("Good", c1_1_1="passed", c1_1_2="passed", c6_4_3="non-strict")
    bad = record("Bad", c1_1_1="failed", c1_1_2="failed", c1_1_4="failed", c6_4_3="non-strict")
    lines = tables([good, bad]).splitlines()
    assert "| Good | Good 1.0 | 2 | 1 | 0 | 0 | 0 | 2026-11-21 |" in lines
    assert "| Bad | Bad 1.0 | 0 | 1 | 0 | 3 | 0 | 2026-11-21 |" in lines
    assert f"| 1: {SECTIONS['1']} | 16 | 2 | 0, 3 failed |" in lines
    assert f"| 6: {SECTIONS['6']} | 145 | 0, 1 non-strict | 0, 1 non-strict |" in lines
    assert f"| 9: {SECTIONS['9']} | 54 | not run | not run |" in lines
    assert lines[-2:] == ["* non-strict (all): 6.4.3", "* failed (Bad): 1.1.1-2, 1.1.4"]


def test_a_text_replaces_what_stood_in_its_place() -> None:
    page = put(put(SMALL, "servers", "first\n"), "servers", "second\n")
    assert "first" not in page
    assert "6.4.3" not in page
    assert (
        page.index("# A page") < page.index("second") < page.index("<!-- end") < page.index("7.1")
    )
    with pytest.raises(AssertionError, match="no comments for clients"):
        put(SMALL, "clients", "")


def test_what_is_not_strict_needs_a_word_outside_of_the_tables() -> None:
    odd = record("Odd", c7_1_6="informational", c6_4_3="non-strict", c10_1_1="passed")
    assert unexplained(SMALL, [odd]) == ["6.4.3"]
    assert unexplained(SMALL.replace("7.1.6", "7.1.61"), [odd]) == ["6.4.3", "7.1.6"]


def test_a_client_is_compared_case_by_case() -> None:
    bare = record("Bare", c1_1_1="passed", c6_4_3="failed", c10_1_1="non-strict", c9_1_1="passed")
    same = record("Same", c1_1_1="passed", c6_4_3="passed", c10_1_1="non-strict")
    other = record("Other", c1_1_1="non-strict", c6_4_3="failed", c10_1_1="failed")
    assert worse(same, bare) == []
    assert worse(other, bare) == ["1.1.1", "10.1.1"]


def test_the_page_has_a_place_for_each_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in ("versions", "servers", "clients"):
        assert "a sentence" in put(page, name, "a sentence\n")
