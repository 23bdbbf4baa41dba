"""How facts look: ages, moments, numbers, pills. A pill says in words what its colour says."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps_registry.models import Device
from messaging.models import DeliveryState, GapReason, PresenceState, ResultStatus, ResumeOutcome

NOTHING = "–"

_MARKS = {"good": "●", "mild": "◐", "none": "○", "bad": "▲"}
_TONES: dict[str, str] = {
    PresenceState.FOREGROUND: "good",
    PresenceState.BACKGROUND: "mild",
    PresenceState.OFFLINE: "none",
    ResumeOutcome.COMPLETE: "good",
    ResumeOutcome.RUNNING: "mild",
    ResumeOutcome.INTERRUPTED: "bad",
    ResultStatus.PROCESSED: "good",
    ResultStatus.FAILED: "bad",
    ResultStatus.REJECTED: "bad",
    ResultStatus.GAP: "mild",
    **dict.fromkeys(GapReason, "mild"),
    DeliveryState.OPEN: "mild",
    DeliveryState.DELIVERED: "good",
    DeliveryState.DEAD: "bad",
    "on": "good",
    "off": "bad",
    "revoked": "bad",
    "falling behind": "bad",
}
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def age(span: timedelta) -> str:
    """In the two largest units that count: "12 s", "3 min", "2 h 5 min", "4 d 3 h"."""
    seconds = max(int(span.total_seconds()), 0)
    for place, (unit, size) in enumerate(_UNITS):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            smaller, step = _UNITS[place + 1] if place < 2 else ("", 1)
            more = rest // step if smaller else 0
            return f"{whole} {unit} {more} {smaller}" if more else f"{whole} {unit}"
    return "0 s"


def took(span: timedelta) -> str:
    """A duration: below ten seconds with its milliseconds."""
    seconds = span.total_seconds()
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else age(span)


def moment(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S}" if when else NOTHING


def since(when: datetime | None, now: datetime, *, suffix: str = "") -> SafeString | str:
    """How long ago; the moment itself on pointing at it."""
    if when is None:
        return NOTHING
    return format_html('<time class="mw-nowrap" title="{} UTC">{}{}</time>', moment(when), age(now - when), suffix)


def number(count: int) -> str:
    """Digits in groups of three."""
    return f"{count:,}".replace(",", "\u202f")


def count(of: int, one: str) -> str:
    """ "1 message", "2 messages"."""
    return f"{number(of)} {one}{'' if of == 1 else 's'}"


def span(first: int, last: int) -> str:
    """A range of offsets."""
    return str(first) if first == last else f"{first}–{last}"


def pill(word: str) -> SafeString | str:
    if not word:
        return NOTHING
    tone = _TONES.get(word, "none")
    return format_html('<span class="mw-pill mw-{}"><i>{}</i>{}</span>', tone, _MARKS[tone], word)


def clamped(text: str) -> SafeString | str:
    """The first lines of what an app said; the whole of it on pointing at it."""
    return format_html('<div class="mw-clamp" title="{0}">{0}</div>', text) if text else NOTHING


def device_page(device_id: int) -> str:
    return reverse("admin:messaging_devicebacklog_change", args=[device_id])


def device_link(device: Device) -> SafeString:
    return format_html('<a href="{}">{}</a>', device_page(device.pk), device.name)


def stream_link(id: int, name: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse("admin:messaging_stream_change", args=[id]), name)
