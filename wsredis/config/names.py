"""The names of options as people write them, and what an unknown one was probably meant to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches

__all__ = ["closest", "suggestion"]


def closest(name: str, known: Sequence[str], likeness: float = 0.6) -> str | None:
    """Return the known name that a name resembles most, or None.

    Args:
        name: as somebody wrote it.
        known: the names there are.
        likeness: how similar the two must be, from 0 to 1 (see `difflib.get_close_matches`).
    """
    return next(iter(get_close_matches(name, known, 1, likeness)), None)


def suggestion(name: str, known: Sequence[str], show: Callable[[str], str] = repr) -> str:
    """Return the half sentence that says what to write instead of an unknown name.

    Args:
        name: as somebody wrote it.
        known: the names there are.
        show: returns a known name as it is written in this place.
    """
    if (close := closest(name, known)) is not None:
        return f"did you mean {show(close)}?"
    return f"known are {', '.join(known)}."
