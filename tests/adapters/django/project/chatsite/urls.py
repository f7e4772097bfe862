from django.urls import path

from . import views

urlpatterns = [
    path("", views.page),
    path("enter", views.enter),
    path("note", views.note),
]
