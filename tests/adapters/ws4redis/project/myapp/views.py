"""A page, a login without a password, and views that publish and fetch."""

from django.contrib.auth import login
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.shortcuts import render
from ws4redis.publisher import RedisPublisher
from ws4redis.redis_store import SELF, RedisMessage


def page(request):
    return render(request, "page.html")


def enter(request, name):
    user, _ = User.objects.get_or_create(username=name)
    user.groups.add(Group.objects.get_or_create(name="chatters")[0])
    login(request, user, "django.contrib.auth.backends.ModelBackend")
    return HttpResponse(request.session.session_key)


def send(request):
    """Publish ``message`` to what ``to`` names: broadcast, or SELF as one of three lists."""
    to = request.GET["to"]
    audience = {"broadcast": True} if to == "broadcast" else {to: [SELF]}
    publisher = RedisPublisher(facility="foobar", request=request, **audience)
    publisher.publish_message(RedisMessage(request.GET["message"]))
    return HttpResponse("sent")


def last(request):
    return HttpResponse(RedisPublisher().fetch_message(request, "foobar", request.GET["of"]))
