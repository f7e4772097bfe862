"""The request that resolvers, policies and endpoints get."""

from __future__ import annotations

from webob import Request as BaseRequest

from ..identity import ANONYMOUS

__all__ = ["Request"]


class Request(BaseRequest):
    """A `webob.Request` with the identity and the address of the client.

    Both are class attributes because WebOb is slow to set other attributes.

    Attributes:
        identity: the identity of the client, once the resolver has returned it.
        client_address: IP address of the client, also behind trusted proxies; "" if unknown.
    """

    identity = ANONYMOUS
    client_address = ""
