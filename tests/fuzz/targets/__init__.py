"""The fuzz targets: each module has a `check`, which begins with its invariant, and inputs for it.

`check` takes bytes and raises only if the invariant is violated. `INPUTS` draws bytes that are
close to valid input; a coverage-guided fuzzer starts with the corpus instead.
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
    """A fuzz target.

    Args:
        check: raises if its invariant does not hold for these bytes.
        inputs: a strategy for promising bytes.
        corpus: the folder of inputs that have shown or may show a bug.
    """

    check: Callable[[bytes], None]
    inputs: SearchStrategy[bytes]
    corpus: Path


def load(name: str) -> Target:
    """Return the target of a name."""
    module = import_module(f".{name}", __package__)
    return Target(module.check, module.INPUTS, _HERE.parent / "corpus" / name)
