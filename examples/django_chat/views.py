"""The pages: three chats and the echo. Each takes what its form sends and publishes it."""

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
    """Show what there is to try."""

    template_name = "django_chat/index.html"


@method_decorator(never_cache, name="dispatch")
class PublishingView(FormView):
    """Publish what a form says; the scripts of the pages get 204, other browsers the page again."""

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
        """Say what is wrong with the form."""
        if self.by_script:
            errors = [text for texts in form.errors.values() for text in texts]
            return JsonResponse({"error": " ".join(errors)}, status=status)
        return self.render_to_response(self.get_context_data(form=form), status=status)

    @property
    def by_script(self) -> bool:
        """Whether a script of ours asks."""
        return self.request.headers.get("Accept") == "application/json"

    @property
    def name(self) -> str:
        """The name under which one writes."""
        return self.request.user.get_username()


class HallView(PublishingView):
    """Talk to everybody. The page sends by its websocket; this view is for those without script."""

    template_name = "django_chat/hall.html"
    form_class = MessageForm

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return redirect("login")
        return super().post(request, *args, **kwargs)

    def publish(self, text: str) -> None:
        """Send it to everybody."""
        Publisher("hall", broadcast=True).publish(signed(self.name, text))


class LettersView(LoginRequiredMixin, PublishingView):
    """Write to one person; one's own pages get it too."""

    template_name = "django_chat/letters.html"
    form_class = LetterForm

    def publish(self, text: str, to: Any) -> None:
        """Send it to that user, and to the writer."""
        person = to.get_username()
        publisher = Publisher("letters", users=[person, SELF], request=self.request)
        publisher.publish(signed(self.name, text, to=person))


class GroupsView(LoginRequiredMixin, PublishingView):
    """Write to one of one's groups."""

    template_name = "django_chat/groups.html"
    form_class = GroupForm

    def publish(self, text: str, to: Any) -> None:
        """Send it to the members."""
        Publisher("groups", groups=[to.name]).publish(signed(self.name, text, to=to.name))


class EchoView(PublishingView):
    """Give back what one types; who has not logged in has a session all the same."""

    template_name = "django_chat/echo.html"
    form_class = EchoForm

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        request.session.setdefault("visited", True)  # so that a cookie names it
        return super().get(request, *args, **kwargs)

    def publish(self, text: str, to: str) -> None:
        """Send it back."""
        if to == "user":
            publisher = Publisher("echo", users=[SELF], request=self.request)
            where = "all my browsers"
        else:
            publisher = Publisher("echo", sessions=[SELF], request=self.request)
            where = "this browser only"
        publisher.publish(signed(self.name or "you", text, to=where))
