"""Pages: one that logs in, one that logs out, and one that publishes."""

import json

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth import get_user_model, login, logout
from django.http import HttpResponse
from django.urls import path


def log_in(request, name):
    user, _ = get_user_model().objects.get_or_create(username=name)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse(request.session.session_key)


def log_out(request):
    logout(request)
    return HttpResponse("out")


def say(request, name, text):
    layer = get_channel_layer()
    async_to_sync(layer.group_send)(f"room-{name}", {"type": "room.said", "text": text})
    return HttpResponse(json.dumps({"users": get_user_model().objects.count()}))


def home(request):
    return HttpResponse("home")


urlpatterns = [
    path("", home),
    path("login/<str:name>", log_in),
    path("logout", log_out),
    path("say/<str:name>/<str:text>", say),
]
