"""The pages: three chats and the echo. Each publishes the messages that its form sends."""

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.forms import Form
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import FormView, TemplateView

from wsredis import BrokerUnavailable
from wsredis.adapters.django import SELF, Publisher

from .channels import MAX_TEXT, signed
from .forms import EchoForm, GroupForm, LetterForm, MessageForm


@method_decorator(never_cache, name="dispatch")
class IndexView(TemplateView):
    """The index of the chats."""

    template_name = "django_chat/index.html"


@method_decorator(never_cache, name="dispatch")
class PublishingView(FormView):
    """A page that publishes its form's messages; answers 204 to scripts, else with the page."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(max_text=MAX_TEXT, **kwargs)

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "user": self.request.user}

    def form_valid(self, form: Form) -> HttpResponse:
        try:
            self.publish(**form.cleaned_data)
        except BrokerUnavailable:
            form.add_error(None, "Redis does not answer, so nothing was sent.")
            return self.refuse(form, 503)
        return HttpResponse(status=204) if self.by_script else redirect(self.request.path)

    def form_invalid(self, form: Form) -> HttpResponse:
        return self.refuse(form, 400)

    def refuse(self, form: Form, status: int) -> HttpResponse:
        """Return the errors of the form."""
        if self.by_script:
            errors = [text for texts in form.errors.values() for text in texts]
            return JsonResponse({"error": " ".join(errors)}, status=status)
        return self.render_to_response(self.get_context_data(form=form), status=status)

    @property
    def by_script(self) -> bool:
        """Whether the request comes from the page's script."""
        return self.request.headers.get("Accept") == "application/json"

    @property
    def name(self) -> str:
        """The name of the user."""
        return self.request.user.get_username()


class HallView(PublishingView):
    """The chat of all users, whose page sends over the websocket, or here without JavaScript."""

    template_name = "django_chat/hall.html"
    form_class = MessageForm

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return redirect("login")
        return super().post(request, *args, **kwargs)

    def publish(self, text: str) -> None:
        """Publish a message to all clients."""
        Publisher("hall", broadcast=True).publish(signed(self.name, text))


class LettersView(LoginRequiredMixin, PublishingView):
    """The chat with one user; the sender's own pages get the messages too."""

    template_name = "django_chat/letters.html"
    form_class = LetterForm

    def publish(self, text: str, to: Any) -> None:
        """Publish a message to a user, and to the sender."""
        person = to.get_username()
        publisher = Publisher("letters", users=[person, SELF], request=self.request)
        publisher.publish(signed(self.name, text, to=person))


class GroupsView(LoginRequiredMixin, PublishingView):
    """The chat with one of the user's groups."""

    template_name = "django_chat/groups.html"
    form_class = GroupForm

    def publish(self, text: str, to: Any) -> None:
        """Publish a message to the members of a group."""
        Publisher("groups", groups=[to.name]).publish(signed(self.name, text, to=to.name))


class EchoView(PublishingView):
    """A page that sends messages back to the user; anonymous users have a session too."""

    template_name = "django_chat/echo.html"
    form_class = EchoForm

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        request.session.setdefault("visited", True)  # so that there is a session cookie
        return super().get(request, *args, **kwargs)

    def publish(self, text: str, to: str) -> None:
        """Publish a message to all browsers of the user, or to this session."""
        if to == "user":
            publisher = Publisher("echo", users=[SELF], request=self.request)
            where = "all my browsers"
        else:
            publisher = Publisher("echo", sessions=[SELF], request=self.request)
            where = "this browser only"
        publisher.publish(signed(self.name or "you", text, to=where))
