"""A session engine that sees more than a key, and middleware that makes its sessions."""

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore as DatabaseSession
from django.contrib.sessions.middleware import SessionMiddleware as DjangoMiddleware
from django.http import HttpResponse


class SessionStore(DatabaseSession):
    """A session with the address of its client, which is modified if that is another one."""

    def __init__(self, session_key=None, *, address):
        super().__init__(session_key)
        self.address = address

    @classmethod
    def get_model_class(cls):
        from .models import Visit

        return Visit

    def load(self):
        content = super().load()
        if content.get("address") != self.address:
            self.modified = True
        return content

    def save(self, must_create=False):
        self["address"] = self.address
        super().save(must_create)

    def create_model_instance(self, data):
        visit = super().create_model_instance(data)
        visit.address = self.address
        return visit


class SessionMiddleware(DjangoMiddleware):
    def process_request(self, request):
        key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
        address = request.META.get("HTTP_USER_AGENT", "")
        request.session = self.SessionStore(key, address=address)


class HeaderMiddleware(SessionMiddleware):
    """Middleware for clients that send the key in a header."""

    def process_request(self, request):
        key = request.META.get("HTTP_X_SESSION")
        request.session = self.SessionStore(key, address="")


class ClosedMiddleware(SessionMiddleware):
    def process_request(self, request):
        return HttpResponse("We are closed.")


class CallMiddleware:
    """Middleware in the newer form, which only a whole request can use."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        raise NotImplementedError


CallMiddleware.__name__ = "SessionMiddleware"
