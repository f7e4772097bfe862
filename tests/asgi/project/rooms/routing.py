"""The routes of the websockets."""

from django.urls import path, re_path

from .consumers import AsyncRoom, Sleeper, SyncRoom, WhoAmI

routes = [
    re_path(r"^ws/async/(?P<name>\w+)/$", AsyncRoom.as_asgi()),
    path("ws/sync/<slug:name>/", SyncRoom.as_asgi()),
    path("ws/sleeper/", Sleeper.as_asgi()),
    path("ws/me/", WhoAmI.as_asgi()),
]
