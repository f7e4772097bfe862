"""The URLs of the pages; the routes of the websockets are in routing.py."""

from django.contrib import admin
from django.http import HttpResponse
from django.urls import path, re_path

from . import views
from .routing import ROOM

urlpatterns = [
    path("", views.index, name="index"),
    re_path(rf"^chat/{ROOM}/$", views.room, name="room"),
    path("favicon.ico", lambda request: HttpResponse(status=204)),
    path("admin/", admin.site.urls),
]
