"""Pages of the site under test."""

from django.contrib.auth import (
    SESSION_KEY,
    authenticate,
    login,
    logout,
    update_session_auth_hash,
)
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render

from wsredis.adapters.django import SELF, Publisher


def page(request):
    return render(request, "chatsite/page.html")


def enter(request):
    login(request, authenticate(request, **request.GET.dict()))
    return HttpResponse("welcome")


def leave(request):
    logout(request)
    return HttpResponse("good bye")


def new_password(request):
    request.user.set_password("another secret")
    request.user.save()
    update_session_auth_hash(request, request.user)
    return HttpResponse("changed")


def note(request):
    """Send the visitor a message about themselves."""
    publisher = Publisher(
        request.GET["facility"], users=[SELF], sessions=[SELF], groups=[SELF], request=request
    )
    publisher.publish(request.GET["text"])
    return JsonResponse({"channels": publisher.channels})


async def tell(request, facility):
    """Publish without blocking the thread."""
    count = await Publisher(facility, broadcast=True).apublish(request.GET["text"])
    return HttpResponse(str(count))


def undo(request):
    """Make somebody, tell of it, and take it back."""
    with transaction.atomic():
        User.objects.create(username="nobody")
        print("about to publish", flush=True)
        Publisher("undone", broadcast=True).publish("too early")
        transaction.set_rollback(True)
    return HttpResponse("undone")


def make(request, name):
    User.objects.create(username=name)
    return HttpResponse("made")


SESSION_CHANGES = {
    "flush": lambda session, user: session.flush(),
    "delete": lambda session, user: session.delete(),
    "cycle_key": lambda session, user: session.cycle_key(),
    "clear": lambda session, user: session.clear(),
    "change_user": lambda session, user: session.update({SESSION_KEY: user}),
    "forget_user": lambda session, user: session.pop(SESSION_KEY),
    "put": lambda session, user: session.update({"basket": [7]}),
    "look": lambda session, user: session.get("basket"),
    "nothing": lambda session, user: None,
}


def session(request, change):
    """Change the visitor's session without Django's functions for login and logout."""
    SESSION_CHANGES[change](request.session, request.GET.get("user"))
    return HttpResponse("done")


async def async_session(request, change):
    """Do the same with the methods for asyncio."""
    change = getattr(request.session, f"a{change}")
    await change()
    return HttpResponse("done")
