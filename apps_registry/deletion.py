"""Deleting in the admin: only what nothing stored depends on, and found out without reading what does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from django.contrib import admin
from django.db import models
from django.db.models import ForeignObjectRel
from django.http import HttpRequest


class OnlyUnused(admin.ModelAdmin):
    """Django's own page lists every row that would go with it: an app's would be read for minutes, then refused."""

    #: Models that refer to it and are not to go with it.
    kept_for: ClassVar[tuple[str, ...]] = ()
    #: What the operator may do where it is in use.
    instead: ClassVar[str] = ""

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        """By name, not as a tree of links. What monitors forbid for their own rows does not keep an empty app."""
        chosen = list(objs)
        names = [str(row) for row in chosen]
        used_by = list(self._used_by(chosen))
        if used_by:
            return names, {}, set(), [*(f"{kind} of it" for kind in used_by), *([self.instead] if self.instead else [])]
        _, counts, _, protected = super().get_deleted_objects(chosen, request)
        return names, counts, set(), protected

    def _used_by(self, rows: Iterable[models.Model]) -> Iterator[str]:
        """What refers to one of the rows, in the plural. A query for each kind.

        LIMIT: messages have no index by service; for a service that never published all are looked through.
        """
        for relation in self.model._meta.get_fields(include_hidden=True):
            if isinstance(relation, ForeignObjectRel) and relation.related_model._meta.model_name in self.kept_for:
                found = relation.related_model._base_manager.filter(**{f"{relation.field.name}__in": rows})
                if relation.one_to_many and found.exists():
                    yield str(relation.related_model._meta.verbose_name_plural).capitalize()
