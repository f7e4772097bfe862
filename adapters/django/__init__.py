"""wsredis at home in Django: ``INSTALLED_APPS = ["wsredis.adapters.django"]``.

Raises:
    ConfigurationError: Django is not installed.
"""

from wsredis.exceptions import ConfigurationError

try:
    import django as _django
except ImportError as exc:
    raise ConfigurationError(
        "There is no Django for wsredis.adapters.django: pip install 'wsredis[django]'."
    ) from exc
if _django.VERSION < (4, 2):
    raise ConfigurationError(
        f"wsredis.adapters.django needs Django 4.2 or newer, and this is {_django.__version__}:"
        " pip install -U 'wsredis[django]'."
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
