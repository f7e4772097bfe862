"""Suggestions for misspelled names of options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches

__all__ = ["closest", "suggestion"]


def closest(name: str, known: Sequence[str], likeness: float = 0.6) -> str | None:
    """Return the known name that is most similar to a name, or None.

    Args:
        name: the name as written by the user.
        known: the valid names.
        likeness: how similar the two must be, from 0 to 1 (see `difflib.get_close_matches`).
    """
    return next(iter(get_close_matches(name, known, 1, likeness)), None)


def suggestion(name: str, known: Sequence[str], show: Callable[[str], str] = repr) -> str:
    """Return the end of a sentence that says what to write instead of an unknown name.

    Args:
        name: the name as written by the user.
        known: the valid names.
        show: returns a known name in the spelling of this context.
    """
    if (close := closest(name, known)) is not None:
        return f"did you mean {show(close)}?"
    return f"write one of {', '.join(known)}."
