"""The pages: one to choose a room, and the room."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch
from django.views.decorators.cache import never_cache

from .consumers import MAX_NAME, MAX_TEXT

ROOMS = ["lobby", "kitchen", "workshop"]
"""The rooms to choose from; any other name opens a new one."""


@never_cache
def index(request: HttpRequest) -> HttpResponse:
    """Return the page with the rooms, or redirect to the room that its form names."""
    status = 200
    if name := request.GET.get("room"):
        try:
            return redirect("room", name)
        except NoReverseMatch:
            status = 400
    context = {"rooms": ROOMS, "bad": status == 400}
    return render(request, "consumers_chat/index.html", context, status=status)


@never_cache
def room(request: HttpRequest, room: str) -> HttpResponse:
    """Return the page of a room."""
    context = {"room": room, "max_name": MAX_NAME, "max_text": MAX_TEXT}
    return render(request, "consumers_chat/room.html", context)
