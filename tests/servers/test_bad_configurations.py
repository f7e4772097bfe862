"""Servers whose site has an invalid configuration: they exit, and the log says what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from .support import Setup, Site, each

pytestmark = pytest.mark.servers

BAD = {
    "orgins": ("https://example.com", "WSREDIS_ORGINS: did you mean WSREDIS_ORIGINS?"),
    "origins": ("example.com", "WSREDIS_ORIGINS='example.com' is not valid: write origins in full"),
    "key_prefix": ("user", "WSREDIS_KEY_PREFIX='user' is not valid: write a name"),
    "max_message_size": ("1MB", "WSREDIS_MAX_MESSAGE_SIZE='1MB' is not valid: write bytes above"),
}


@each("uwsgi-gevent", "gunicorn-gthread", "pywsgi")
@pytest.mark.parametrize("name", BAD)
def test_a_server_with_an_invalid_option_does_not_start_and_logs_a_correction(
    setup: Setup, tmp_path: Path, redis_url: str, name: str
) -> None:
    value, hint = BAD[name]
    site = Site(setup, tmp_path, redis_url, config={name: value})
    with pytest.raises(AssertionError, match="it did not start"):
        site.start()
    assert hint in site.log()
    assert site.wait() != 0
