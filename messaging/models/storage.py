from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Value
from django.db.models.functions import Coalesce

from apps_registry.models import App

#: An app counts as full from this part of its limit on: a message that does not fit leaves some of it unused.
FULL = 0.99


class AppStorageQuerySet(models.QuerySet["AppStorage"]):
    def with_limit(self) -> AppStorageQuerySet:
        """Adds `limit` (bytes); 0: unbounded."""
        return self.annotate(limit=Coalesce("app__storage_limit", Value(settings.MEANWHILE_APP_BYTES)))

    def full(self) -> AppStorageQuerySet:
        """Those that have hardly room for another message."""
        return self.with_limit().filter(limit__gt=0, stored__gte=F("limit") * FULL)


class AppStorage(models.Model):
    """How many bytes an app's messages and values take, as of the last round (`log/storage.py`)."""

    app = models.OneToOneField(App, models.CASCADE, primary_key=True, related_name="storage")
    stored = models.BigIntegerField(default=0)

    objects = AppStorageQuerySet.as_manager()

    class Meta:
        verbose_name = verbose_name_plural = "storage of apps"

    def __str__(self) -> str:
        return f"{self.app_id}: {self.stored}"


class StorageChange(models.Model):
    """A transaction stored so many bytes more for an app, or removed them. Added up and taken away by the next round.

    Rows are only added, as in `OnlineDue`: one row per app that is changed would make all its publishers wait for each
    other. Without a constraint in the database, whose check would lock the app's row.
    """

    app = models.ForeignKey(App, models.CASCADE, related_name="+", db_constraint=False, db_index=False)
    stored = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.app_id}: {self.stored:+}"
