"""The tests of an example site; run by ``manage.py test``."""

import asyncio

from django.contrib.auth.models import User
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.test import Client, LiveServerTestCase
from websockets.sync.client import connect

from wsredis.adapters.django import Publisher


class LiveTests(LiveServerTestCase):
    def open(self, query, client=None):
        cookies = client.cookies.output(header="", sep=";").strip() if client else ""
        headers = {"Cookie": cookies.partition(";")[0]} if cookies else {}
        return connect(
            self.live_server_url.replace("http", "ws") + query,
            origin=self.live_server_url,
            additional_headers=headers,
        )

    def test_a_message_arrives(self):
        with self.open("/ws/live?subscribe-broadcast") as ws:
            Publisher("live", broadcast=True).publish("hello")
            assert ws.recv(timeout=30) == "hello"
            asyncio.run(Publisher("live", broadcast=True).apublish("again"))
            assert ws.recv(timeout=30) == "again"

    def test_a_user_is_known(self):
        client = Client()
        client.force_login(User.objects.create_user("alice"))
        with self.open("/ws/live?subscribe-user", client) as ws:
            Publisher("live", users=["bob", "alice"]).publish("for you")
            assert ws.recv(timeout=30) == "for you"

    def test_pages_are_served(self):
        with self.open("/ws/live?subscribe-broadcast"):
            assert self.client.get("/").status_code == 200


class StaticLiveTests(LiveTests, StaticLiveServerTestCase):
    pass
