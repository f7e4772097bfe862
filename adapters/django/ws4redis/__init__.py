"""The names of django-websocket-redis, served by wsredis: imports, settings, addresses and Redis.

A project that used that library deletes the dependency, installs this one and changes nothing. Here
are only those names; what a websocket is belongs to `wsredis`, what Django knows to
`wsredis.adapters.django`.
"""

from wsredis.version import VERSION as __version__

__all__ = ["__version__"]
