"""Static files are looked for once in a test run: each of Django's test clients would look for them anew, 70 ms."""

from __future__ import annotations

from typing import Any

from whitenoise.middleware import WhiteNoiseMiddleware

_find = WhiteNoiseMiddleware.add_files_from_finders
_found: dict[str, Any] = {}


def _add_files_from_finders(middleware: WhiteNoiseMiddleware) -> None:
    if not _found:
        _find(middleware)
        _found.update(middleware.files)
    middleware.files.update(_found)


def remember() -> None:
    WhiteNoiseMiddleware.add_files_from_finders = _add_files_from_finders
