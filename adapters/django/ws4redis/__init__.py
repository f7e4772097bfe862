"""A drop-in replacement for django-websocket-redis: its imports, settings, URLs and Redis channels.

A project that used that library replaces the dependency with this one and changes nothing else.
This package has only the names; the websockets are implemented in `wsredis`, the integration with
Django in `wsredis.adapters.django`.
"""

from wsredis.version import VERSION as __version__

__all__ = ["__version__"]
