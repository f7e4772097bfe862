"""Callbacks of the site under test."""

from django.core.exceptions import PermissionDenied
from django.http import Http404

from wsredis import Identity, PubSubEndpoint


def members(request, requested):
    """Let members do everything and everybody else listen."""
    if request.user.is_authenticated:
        return requested
    return [key for key in requested if key.startswith("subscribe-")]


def everything(request, requested):
    return requested


def publish_to_all(request, requested):
    return [key for key in requested if key.endswith("-broadcast")]


def more_than_asked(request, requested):
    return ["subscribe-broadcast", "subscribe-user", "publish-broadcast", "publish-user"]


def none(request, requested):
    return None


def misspelt(request, requested):
    return requested if request.user.is_authentcated else []


def refused(request, requested):
    raise PermissionDenied("a secret reason")


def missing(request, requested):
    raise Http404("a secret reason")


def token(request):
    """Know people by a token instead of a session."""
    name = request.GET.get("token")
    return Identity(f"token-{name}") if name else None


class Shouting(PubSubEndpoint):
    """An endpoint that replies in upper case; made with Django's request."""

    def __init__(self, request, context):
        super().__init__(request, context)
        self.suffix = request.GET.get("suffix", "!")

    def received(self, connection, message):
        connection.send(message.upper() + self.suffix)


class Resolver:
    def __call__(self, request):
        return None


not_callable = 5
