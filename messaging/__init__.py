"""Delivery. Django code publishes with `messaging.publish(...)` or `await messaging.apublish(...)`."""

from __future__ import annotations

from typing import Any

__all__ = ["apublish", "publish"]


def __getattr__(name: str) -> Any:
    """Late, because models cannot be imported before Django is set up."""
    if name in __all__:
        from messaging import publishing

        return getattr(publishing, name)
    raise AttributeError(name)
