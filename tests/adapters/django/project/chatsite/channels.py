"""Callbacks of the site under test."""

from django.core.exceptions import PermissionDenied
from django.http import Http404

from wsredis import Identity, PubSubEndpoint


def members(request, wishes):
    """Let members do everything and everybody else listen."""
    if request.user.is_authenticated:
        return wishes
    return [wish for wish in wishes if wish.startswith("subscribe-")]


def everything(request, wishes):
    return wishes


def publish_to_all(request, wishes):
    return [wish for wish in wishes if wish.endswith("-broadcast")]


def more_than_asked(request, wishes):
    return ["subscribe-broadcast", "subscribe-user", "publish-broadcast", "publish-user"]


def none(request, wishes):
    return None


def misspelt(request, wishes):
    return wishes if request.user.is_authentcated else []


def refused(request, wishes):
    raise PermissionDenied("a secret reason")


def missing(request, wishes):
    raise Http404("a secret reason")


def token(request):
    """Know people by a token instead of a session."""
    name = request.GET.get("token")
    return Identity(f"token-{name}") if name else None


class Shouting(PubSubEndpoint):
    """Say aloud what a socket sends; made with Django's request."""

    def __init__(self, request, context):
        super().__init__(request, context)
        self.suffix = request.GET.get("suffix", "!")

    def received(self, connection, message):
        connection.send(message.upper() + self.suffix)


class Resolver:
    def __call__(self, request):
        return None


not_callable = 5
