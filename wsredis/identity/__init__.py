"""The identity of a client: `Identity`, and resolvers that determine it.

Resolvers need no framework: they read the WSGI environ of the request. ``docs/identity.md`` says
when to use which resolver, and how to write your own.
"""

from .base import ANONYMOUS, CONFIG, Identity, IdentityResolver, anonymous, chain, check_resolver
from .jwt import JWTResolver
from .proxy_header import ProxyHeaderResolver
from .remote_user import RemoteUserResolver
from .session import SessionResolver

__all__ = [
    "ANONYMOUS",
    "CONFIG",
    "Identity",
    "IdentityResolver",
    "JWTResolver",
    "ProxyHeaderResolver",
    "RemoteUserResolver",
    "SessionResolver",
    "anonymous",
    "chain",
    "check_resolver",
]
