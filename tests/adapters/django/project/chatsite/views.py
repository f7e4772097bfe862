"""Pages of the site under test."""

from django.contrib.auth import authenticate, login
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render

from wsredis.adapters.django import SELF, Publisher


def page(request):
    return render(request, "chatsite/page.html")


def enter(request):
    login(request, authenticate(request, **request.GET.dict()))
    return HttpResponse("welcome")


def note(request):
    """Send the visitor a message about themselves."""
    publisher = Publisher(
        request.GET["facility"], users=[SELF], sessions=[SELF], groups=[SELF], request=request
    )
    publisher.publish(request.GET["text"])
    return JsonResponse({"channels": publisher.channels})
