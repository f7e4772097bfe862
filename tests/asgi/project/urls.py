"""Pages that log in and out, change passwords, publish, and tell of this process."""

import json
import os

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth import get_user_model, login, logout
from django.http import HttpResponse
from django.urls import path
from rooms.apps import queries
from rooms.consumers import blocked

from wsredis import disconnect


def log_in(request, name):
    user, _ = get_user_model().objects.get_or_create(username=name)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    if "seconds" in request.GET:
        request.session.set_expiry(int(request.GET["seconds"]))
    return HttpResponse(request.session.session_key)


def log_out(request):
    logout(request)
    return HttpResponse("out")


def say(request, name, text):
    layer = get_channel_layer()
    async_to_sync(layer.group_send)(f"room-{name}", {"type": "room.said", "text": text})
    return HttpResponse(json.dumps({"users": get_user_model().objects.count()}))


def change_password(request, name):
    user = get_user_model().objects.get(username=name)
    user.set_password("another")
    user.save()
    return HttpResponse("changed")


def end(request, name):
    return HttpResponse(str(disconnect(user=name)))


def release(request, name):
    blocked[name].set()
    return HttpResponse("released")


def seen_queries(request):
    """Answer with the queries of this process since the last time."""
    found, queries[:] = list(queries), []
    return HttpResponse(json.dumps(found))


def open_databases(request):
    """Answer with the number of open connections to the database, on Linux."""
    database = str(settings.DATABASES["default"]["NAME"])
    found = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{number}") == database
        except FileNotFoundError:  # that of this listing
            continue
    return HttpResponse(str(found))


def home(request):
    return HttpResponse("home")


urlpatterns = [
    path("", home),
    path("login/<str:name>", log_in),
    path("logout", log_out),
    path("password/<str:name>", change_password),
    path("disconnect/<str:name>", end),
    path("release/<str:name>", release),
    path("queries", seen_queries),
    path("databases", open_databases),
    path("say/<str:name>/<str:text>", say),
]
