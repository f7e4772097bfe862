from django.urls import path

from . import views

urlpatterns = [
    path("", views.page),
    path("login/<name>", views.enter),
    path("send", views.send),
    path("last", views.last),
]
