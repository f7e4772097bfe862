"""The glossary is sorted, and each of its terms is in use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GLOSSARY = ROOT / "docs/glossary.md"
_, *SECTIONS = re.split(r"^## ", GLOSSARY.read_text(encoding="utf-8"), flags=re.MULTILINE)
ENTRIES = [section.partition("\n")[::2] for section in SECTIONS]
TERMS = [term for term, _ in ENTRIES]

IN_CODE_ONLY = {"unacked"}
"""Terms that the documentation does not need, but readers of the code do."""


def text_of(*files: Path) -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


DOCUMENTATION = text_of(
    ROOT / "README.md", *(file for file in (ROOT / "docs").glob("*.md") if file != GLOSSARY)
)
CODE = text_of(*(ROOT / "wsredis").rglob("*.py"))


def test_the_terms_are_sorted_and_unique() -> None:
    assert len(TERMS) > 20
    assert sorted(set(TERMS)) == TERMS


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_in_use(term: str) -> None:
    # Where it is a name in the code it is written as such: slow_consumers.
    words = r"(?:\s+|_|-)".join(map(re.escape, term.split()))
    used = re.search(rf"(?<![a-z]){words}", CODE if term in IN_CODE_ONLY else DOCUMENTATION, re.I)
    assert used, f"{term!r} is explained, and used nowhere"


@pytest.mark.parametrize(("term", "text"), ENTRIES)
def test_a_term_is_explained_in_a_few_sentences(term: str, text: str) -> None:
    assert 20 < len(text.strip()) < 400
    assert text.strip().endswith(".")
    assert "\n\n" not in text.strip()


def test_the_names_in_the_glossary_are_real() -> None:
    for name in re.findall(r"`(wsredis(?:\.\w+)+)`", text_of(GLOSSARY)):
        module, _, last = name.rpartition(".")
        path = ROOT.joinpath(*name.split("."))
        if path.is_dir():
            continue
        file = ROOT.joinpath(*module.split("."))
        source = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        assert re.search(rf"\b{last}\b", source.read_text(encoding="utf-8")), name
