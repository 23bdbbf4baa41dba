"""What all monitors share: they are looked at, never edited, and stay quick on large tables."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property

#: Rows a list can be paged through; who looks for older ones filters.
MOST = 10_000

#: Digits of an id that any column takes.
LONGEST_ID = 18

SPANS = {"1h": ("the last hour", timedelta(hours=1)), "24h": ("the last 24 hours", timedelta(hours=24))}


class BoundedPaginator(Paginator):
    """Counts no further than MOST: a full count of millions of rows would cost more than the page."""

    @cached_property
    def count(self) -> int:
        return self.object_list.order_by().values("pk")[:MOST].count()  # type: ignore[union-attr,no-any-return]


class Monitor(admin.ModelAdmin):
    """Read-only: no row is added, changed or deleted here, whoever asks."""

    actions: Any = ()
    list_per_page = 50
    paginator = BoundedPaginator
    show_full_result_count = False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """None for what no row can have as an id: SQLite raises OverflowError where the key is another row's."""
        if not is_id(object_id):
            return None
        return super().get_object(request, object_id, from_field)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def is_id(text: str) -> bool:
    """Whether it may be the id of a row. `isdigit` would let "²" pass, which is no int."""
    return text.isdecimal() and len(text) <= LONGEST_ID


def within(field: str) -> type[admin.SimpleListFilter]:
    """A filter by age: `?within=24h`."""

    class Within(admin.SimpleListFilter):
        title = "age"
        parameter_name = "within"

        def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
            return [(name, title) for name, (title, _) in SPANS.items()]

        def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
            chosen = SPANS.get(self.value() or "")
            return rows.filter(**{f"{field}__gte": timezone.now() - chosen[1]}) if chosen else rows

    return Within
