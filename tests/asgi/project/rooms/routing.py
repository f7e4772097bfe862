"""The routes of the websockets."""

from channels.routing import URLRouter
from django.urls import path, re_path

from .consumers import (
    AsyncBlocks,
    AsyncCounts,
    AsyncRoom,
    Blocks,
    Counts,
    Sleeper,
    SyncRoom,
    Tells,
    WhoAmI,
)

of_a_year = URLRouter(
    [
        path("<slug:name>/", Tells.as_asgi(), {"kind": "of a year"}),
        re_path(r"^(\d+)/(\d+)/$", Tells.as_asgi()),
    ]
)

routes = [
    re_path(r"^ws/async/(?P<name>\w+)/$", AsyncRoom.as_asgi()),
    path("ws/sync/<slug:name>/", SyncRoom.as_asgi()),
    path("ws/sleeper/", Sleeper.as_asgi()),
    path("ws/blocks/", Blocks.as_asgi()),
    path("ws/async-blocks/", AsyncBlocks.as_asgi()),
    path("ws/counts/", Counts.as_asgi()),
    path("ws/async-counts/", AsyncCounts.as_asgi()),
    path("ws/years/<int:year>/", of_a_year),
    path("ws/me/", WhoAmI.as_asgi()),
]
