"""The table of close codes, and its copies: browser client, its types, the docs."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from websockets.frames import EXTERNAL_CLOSE_CODES

from wsredis.protocol.closing import (
    ABNORMAL,
    CLOSINGS,
    HANDSHAKE_TIMEOUT,
    MAX_CONTROL,
    MAX_REASON,
    RESTART,
    SENDABLE,
    VALID,
    Closing,
    default_reason,
    returns,
)

ROOT = Path(__file__).resolve().parents[2]
CODES = (*range(1000, 1016), *range(3000, 5000))


@pytest.mark.parametrize("closing", [*CLOSINGS, HANDSHAKE_TIMEOUT], ids=lambda each: each.word)
def test_a_reason_begins_with_its_word_and_fits_into_a_close_frame(closing: Closing) -> None:
    assert closing.reason.split()[0] == closing.word
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", closing.word)
    assert len(closing.reason.encode()) <= MAX_REASON


def test_a_reason_consists_of_its_word_and_its_text_in_parentheses() -> None:
    assert RESTART.reason == "restart (the server restarts)"


def test_a_closing_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        RESTART.text = "the server is full"  # type: ignore[misc]
    assert not hasattr(RESTART, "__dict__")


def test_the_limits_and_the_code_for_no_close_frame_are_those_of_rfc_6455() -> None:
    assert (MAX_CONTROL, MAX_REASON, ABNORMAL) == (125, 123, 1006)


def test_each_word_stands_for_one_thing() -> None:
    words = [closing.word for closing in CLOSINGS]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("code", "when"),
    [
        (1000, "soon"), (1006, "soon"), (1008, "never"), (1012, "soon"), (1013, "later"),
        (3000, "soon"), (3003, "never"), (4000, "soon"), (4401, "soon"), (4403, "never"),
        (4408, "later"), (4429, "later"), (4499, "never"), (4500, "soon"), (4599, "soon"),
    ],
)  # fmt: skip
def test_what_a_client_does_after_a_code(code: int, when: str) -> None:
    assert returns(code) == when


def test_a_server_may_send_the_codes_of_the_registry_but_that_of_clients() -> None:
    assert {code for code in VALID if code < 3000} == EXTERNAL_CLOSE_CODES - {1010}
    assert {code for code in VALID if code >= 3000} == set(range(3000, 5000))
    assert {code for code in SENDABLE if code < 3000} == {1000, 1008, 1012, 1013}
    assert {code for code in SENDABLE if code >= 3000} == set(range(3000, 5000))
    assert SENDABLE | {closing.code for closing in CLOSINGS} <= VALID


def test_disconnect_says_what_its_code_means() -> None:
    words = {code: default_reason(code).partition(" ")[0] for code in sorted(SENDABLE)}
    assert {code: word for code, word in words.items() if word} == {
        1012: "identity-changed",
        4401: "identity-ended",
        4403: "forbidden",
    }


def constant(source: str, name: str) -> set[int]:
    found = re.search(rf"const {name} = new Set\(\[([\d, ]+)\]\)", source)
    assert found
    return {int(code) for code in found[1].split(",")}


def test_the_browser_client_does_the_same() -> None:
    source = (ROOT / "wsredis/static/wsredis/wsredis.esm.js").read_text()
    final, later = constant(source, "FINAL"), constant(source, "SLOW")
    back = constant(source, "COMES_BACK")
    assert "code >= 4400 && code <= 4499 && !COMES_BACK.has(code)" in source
    ends = {code for code in CODES if code in final or (4400 <= code <= 4499 and code not in back)}
    assert ends == {code for code in CODES if returns(code) == "never"}
    assert later == {code for code in CODES if returns(code) == "later"}


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_docs_have_the_same_table() -> None:
    text = (ROOT / "docs/close-codes.md").read_text()
    found = [row for row in rows(text) if len(row) == 4][2:]
    assert found == [
        [str(each.code), f"`{each.word}`", each.text, returns(each.code)] for each in CLOSINGS
    ]


def test_the_docs_say_what_a_client_does_after_each_code() -> None:
    text = (ROOT / "docs/close-codes.md").read_text()
    told: dict[int, str] = {}
    for cells in rows(text):
        if len(cells) == 2 and cells[1] in ("soon", "later", "never"):
            for part in cells[0].split(", "):
                first, _, last = part.partition(" to ")
                told |= dict.fromkeys(range(int(first), int(last or first) + 1), cells[1])
    assert {code: told.get(code, "soon") for code in CODES} == {
        code: returns(code) for code in CODES
    }


def test_the_types_of_the_browser_client_say_the_same() -> None:
    text = (ROOT / "wsredis/static/wsredis/wsredis.esm.d.ts").read_text()
    told: dict[int, str] = {}
    for line in text.splitlines():
        codes, *rest = re.split(r"  +", line.removeprefix("//").strip())
        for part in codes.removeprefix("other ").split(", ") if len(rest) == 2 else ():
            first, _, last = part.partition("-")
            if first.isdecimal():
                for code in range(int(first), int(last or first) + 1):
                    told.setdefault(code, re.split("[:,]", rest[1])[0])
    assert len(told) > 100
    assert {code: told.get(code, "soon") for code in CODES} == {
        code: returns(code) for code in CODES
    }
