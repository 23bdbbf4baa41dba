from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import BigIntegerField, Count, F, Min, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from messaging.admin import looks
from messaging.admin.monitor import Monitor
from messaging.models import Stream, Subscription

#: Subscribers on a stream's page.
SLOWEST = 20


@admin.register(Stream)
class StreamMonitor(Monitor):
    """The logs: how far each has got, what it still holds, and for whom."""

    list_display = (
        "name",
        "app",
        "kind",
        "head_at",
        "tail_at",
        "stored",
        "shed_so_far",
        "subscribers",
        "slowest",
        "behind",
        "closed",
    )
    list_filter = ("kind", "app", ("closed_at", admin.EmptyFieldListFilter))
    list_select_related = ("app",)
    search_fields = ("name",)
    fields = (
        "name",
        "app",
        "kind",
        "epoch",
        "head",
        "tail",
        "shed",
        "version",
        "created_at",
        "closed_at",
        "see_also",
        "slowest_first",
    )
    readonly_fields = ("see_also", "slowest_first")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Stream]:
        """With the number of subscribers, and the slowest: by the index (stream, processed)."""
        mine = Subscription.objects.filter(stream=OuterRef("pk"))
        by_stream = mine.order_by().values("stream")
        return (
            super()
            .get_queryset(request)
            .annotate(
                stored=F("head") - F("tail") + 1,
                members=Coalesce(Subquery(by_stream.annotate(n=Count("pk")).values("n")), 0),
                behind=F("head")
                - Subquery(by_stream.annotate(least=Min("processed")).values("least"), output_field=BigIntegerField()),
                slowest_id=Subquery(mine.order_by("processed").values("device")[:1]),
                slowest_name=Subquery(mine.order_by("processed").values("device__name")[:1]),
            )
        )

    @admin.display(description="head", ordering="head")
    def head_at(self, stream: Stream) -> str:
        return looks.number(stream.head)

    @admin.display(description="tail", ordering="tail")
    def tail_at(self, stream: Stream) -> str:
        return looks.number(stream.tail)

    @admin.display(description="stored", ordering="stored")
    def stored(self, stream: Any) -> str:
        return looks.number(stream.stored)

    @admin.display(description="shed", ordering="shed")
    def shed_so_far(self, stream: Stream) -> str:
        return looks.number(stream.shed) if stream.shed else looks.NOTHING

    @admin.display(ordering="members")
    def subscribers(self, stream: Any) -> str:
        return looks.number(stream.members)

    @admin.display(description="slowest subscriber", ordering="slowest_name")
    def slowest(self, stream: Any) -> str:
        if not stream.behind:
            return looks.NOTHING
        return format_html('<a href="{}">{}</a>', looks.device_page(stream.slowest_id), stream.slowest_name)

    @admin.display(description="its backlog", ordering="behind")
    def behind(self, stream: Any) -> str:
        return looks.NOTHING if stream.behind is None else looks.number(stream.behind)

    @admin.display(description="closed", ordering="closed_at")
    def closed(self, stream: Stream) -> str:
        return looks.moment(stream.closed_at)

    @admin.display(description="see also")
    def see_also(self, stream: Stream) -> str:
        lists = (
            ("its gaps", "gap", ""),
            ("its results", "result", ""),
            ("failed results", "result", "&status=problem"),
        )
        return format_html_join(
            " · ",
            '<a href="{}?stream__id__exact={}{}">{}</a>',
            ((reverse(f"admin:messaging_{model}_changelist"), stream.pk, more, text) for text, model, more in lists),
        )

    @admin.display(description=f"slowest subscribers (at most {SLOWEST})")
    def slowest_first(self, stream: Stream) -> str:
        slowest = stream.subscriptions.select_related("device").order_by("processed", "pk")[:SLOWEST]
        rows = (
            (
                looks.device_link(one.device),
                looks.number(one.received),
                looks.number(one.processed),
                looks.number(stream.head - one.processed),
                f"at {one.stopped_at}" if one.stopped_at else looks.NOTHING,
            )
            for one in slowest
        )
        return format_html(
            '<table class="mw-table"><tr><th>device<th>received<th>processed<th>backlog<th>stopped</tr>{}</table>',
            format_html_join("", "<tr><td>{}<td>{}<td>{}<td>{}<td>{}</tr>", rows),
        )
