"""The identity of a client: `Identity`, and a resolver for each way to find it out.

They need no framework: a resolver reads the WSGI environ of its request. Which one is for what, and
how to write one's own, is told in ``docs/identity.md``.
"""

from .base import ANONYMOUS, Identity, IdentityResolver, anonymous, chain
from .jwt import JWTResolver
from .proxy_header import ProxyHeaderResolver
from .remote_user import RemoteUserResolver
from .session import SessionResolver

__all__ = [
    "ANONYMOUS",
    "Identity",
    "IdentityResolver",
    "JWTResolver",
    "ProxyHeaderResolver",
    "RemoteUserResolver",
    "SessionResolver",
    "anonymous",
    "chain",
]
