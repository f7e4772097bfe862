"""Servers as fixtures, as the tests of the servers have them."""

from ..servers.conftest import pytest_runtest_makereport, start

__all__ = ["pytest_runtest_makereport", "start"]
