from django.urls import path

from . import views

urlpatterns = [
    path("", views.page),
    path("enter", views.enter),
    path("leave", views.leave),
    path("new-password", views.new_password),
    path("note", views.note),
    path("tell/<facility>", views.tell),
    path("undo", views.undo),
    path("make/<name>", views.make),
    path("session/<change>", views.session),
    path("async-session/<change>", views.async_session),
]
