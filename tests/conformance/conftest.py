"""Servers as fixtures, like those of the tests of servers."""

from ..servers.conftest import pytest_runtest_makereport, start

__all__ = ["pytest_runtest_makereport", "start"]
