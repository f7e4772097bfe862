"""The URLs of the pages; the websockets below /ws/ are not in Django's URLs."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpResponse
from django.urls import path

from . import views

login = LoginView.as_view(template_name="django_chat/login.html", redirect_authenticated_user=True)
logout = LogoutView.as_view(next_page="index")

urlpatterns = [
    path("", views.IndexView.as_view(), name="index"),
    path("hall/", views.HallView.as_view(), name="hall"),
    path("letters/", views.LettersView.as_view(), name="letters"),
    path("groups/", views.GroupsView.as_view(), name="groups"),
    path("echo/", views.EchoView.as_view(), name="echo"),
    path("favicon.ico", lambda request: HttpResponse(status=204)),
    path("login/", login, name="login"),
    path("logout/", logout, name="logout"),
    path("admin/logout/", logout),  # redirects to a page of ours, which tells the other tabs
    path("admin/", admin.site.urls),
]
