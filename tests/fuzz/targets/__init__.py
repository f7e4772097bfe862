"""What is fuzzed: in each module a `check`, which opens with its invariant, and what to try on it.

`check` takes bytes and raises only where the invariant is broken. `INPUTS` draws bytes that come
near to something: a coverage-guided fuzzer finds its way from the corpus instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from hypothesis.strategies import SearchStrategy

__all__ = ["NAMES", "Target", "load"]

_HERE = Path(__file__).resolve().parent

NAMES = sorted(file.stem for file in _HERE.glob("[a-z]*.py"))
"""The targets, called after the module that each of them looks at."""


@dataclass(frozen=True, slots=True)
class Target:
    """Hold one target.

    Args:
        check: raises if its invariant does not hold for these bytes.
        inputs: bytes worth a try.
        corpus: where the bytes are that have shown or might show a fault.
    """

    check: Callable[[bytes], None]
    inputs: SearchStrategy[bytes]
    corpus: Path


def load(name: str) -> Target:
    """Return the target of a name."""
    module = import_module(f".{name}", __package__)
    return Target(module.check, module.INPUTS, _HERE.parent / "corpus" / name)
