"""The tests of a migrated site; run by ``manage.py test``."""

import logging

from django.contrib.auth.models import Group, User
from django.core.servers.basehttp import WSGIServer
from django.test import LiveServerTestCase
from django.test.client import RequestFactory
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from ws4redis import settings as private_settings
from ws4redis.django_runserver import application
from ws4redis.publisher import RedisPublisher
from ws4redis.redis_store import SELF, RedisMessage

SENDABLE = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000]


class Loud(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.records = []

    def emit(self, record):
        self.records.append(record)


class WebsocketTests(LiveServerTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server_thread.httpd.set_app(application)

    def setUp(self):
        self.message = RedisMessage("".join(map(chr, range(33, 128))))
        user = User.objects.create_user("john", password="secret")
        user.groups.add(Group.objects.create(name="chatters"))
        assert self.client.login(username="john", password="secret")
        self.request = RequestFactory().get("/chat/")
        self.request.user, self.request.session = user, self.client.session

    def open(self, query):
        return connect(
            f"{self.live_server_url.replace('http', 'ws')}/ws/unittest?{query}",
            origin=self.live_server_url,
            additional_headers={"Cookie": f"sessionid={self.client.cookies['sessionid'].value}"},
        )

    def test_subscribe(self):
        for kind in ("users", "groups", "sessions"):
            publisher = RedisPublisher(request=self.request, facility="unittest", **{kind: [SELF]})
            publisher.publish_message(self.message, 10)
            with self.open(f"subscribe-{kind[:-1]}") as ws:
                assert ws.recv(timeout=30) == self.message.decode()

    def test_publish(self):
        for kind in ("user", "group", "session", "broadcast"):
            with self.open(f"publish-{kind}&subscribe-{kind}&echo") as ws:
                ws.send(kind)
                while ws.recv(timeout=30) != kind:
                    pass
            found = RedisPublisher().fetch_message(self.request, "unittest", kind)
            assert found == kind.encode()

    def test_a_denied_channel(self):
        private_settings.WS4REDIS_ALLOWED_CHANNELS = "myapp.live_tests.deny"
        try:
            with self.open("subscribe-broadcast"):
                status = 101
        except InvalidStatus as refused:
            status = refused.response.status_code
        finally:
            private_settings.WS4REDIS_ALLOWED_CHANNELS = None
        assert status == 403

    def test_closing(self):
        errors, loud = [], Loud()
        before = WSGIServer.handle_error
        WSGIServer.handle_error = lambda *args: errors.append(args)
        logging.getLogger().addHandler(loud)
        try:
            for code in SENDABLE:
                with self.open("subscribe-broadcast&publish-broadcast") as ws:
                    ws.close(code)
        finally:
            WSGIServer.handle_error = before
            logging.getLogger().removeHandler(loud)
        assert (errors, loud.records) == ([], [])


def deny(request, channels):
    return channels.no_such_attribute
