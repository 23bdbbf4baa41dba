"""Actions that cannot be taken back ask first, on a page that names what they are about."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

#: Rows one question may be about: each is a field of the form that answers it.
MOST_ASKED = 500
#: Rows that are named on the page.
MOST_NAMED = 20


class Asking(admin.ModelAdmin):
    def ask(
        self, request: HttpRequest, rows: QuerySet[Any], action: str, question: str, button: str, **more: Any
    ) -> HttpResponse | None:
        """The page that asks, or says that it is too many; None when the answer was yes, and the action goes on."""
        if "confirmed" in request.POST:
            return None
        chosen = list(rows[: MOST_ASKED + 1])
        here = request.get_full_path()
        if len(chosen) > MOST_ASKED:
            self.message_user(request, f"Choose at most {MOST_ASKED}.", messages.ERROR)
            return HttpResponseRedirect(here)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{button}?",
            "question": question,
            "button": button,
            "action": action,
            "rows": chosen,
            "named": chosen[:MOST_NAMED],
            "here": here,
            "no": here,
            **more,
        }
        return TemplateResponse(request, "admin/ask.html", context)
