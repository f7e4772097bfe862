"""wsredis for Flask: ``WSRedis(app)``.

Raises:
    ConfigurationError: Flask is not installed, or is too old.
"""

from importlib.metadata import PackageNotFoundError, version

from wsredis.exceptions import ConfigurationError

try:
    _found = version("flask")
except PackageNotFoundError as exc:
    raise ConfigurationError(
        "wsredis.adapters.flask needs Flask, which is not installed: pip install 'wsredis[flask]'."
    ) from exc
if int(_found.partition(".")[0]) < 3:
    raise ConfigurationError(
        f"wsredis.adapters.flask needs Flask 3 or newer, but {_found} is installed:"
        " pip install -U 'wsredis[flask]'."
    )

from wsredis.publisher import SELF

from .application import FlaskWebSocketMiddleware
from .extension import WSRedis
from .identity import identity_of, session_key
from .publisher import Publisher
from .templating import websocket_script, websocket_uri

__all__ = [
    "SELF",
    "FlaskWebSocketMiddleware",
    "Publisher",
    "WSRedis",
    "identity_of",
    "session_key",
    "websocket_script",
    "websocket_uri",
]
