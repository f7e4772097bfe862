"""wsredis for Django: ``INSTALLED_APPS = ["wsredis.adapters.django"]``.

Raises:
    ConfigurationError: Django is not installed, or is older than 4.2.
"""

from wsredis.exceptions import ConfigurationError

try:
    import django as _django
except ImportError as exc:
    raise ConfigurationError(
        "wsredis.adapters.django needs Django, which is not installed: pip install"
        " 'wsredis[django]'."
    ) from exc
if _django.VERSION < (4, 2):
    raise ConfigurationError(
        f"wsredis.adapters.django needs Django 4.2 or newer, but {_django.__version__} is"
        " installed: pip install -U 'wsredis[django]'."
    )

from wsredis.publisher import SELF

from .application import DjangoWebSocketMiddleware, get_websocket_application
from .conf import Options, options
from .identity import identity_of
from .publisher import Publisher
from .signals import connected, disconnected

__all__ = [
    "SELF",
    "DjangoWebSocketMiddleware",
    "Options",
    "Publisher",
    "connected",
    "disconnected",
    "get_websocket_application",
    "identity_of",
    "options",
]
