"""Outbound frames as text. A message is encoded once, whoever receives it: parts are joined, never decoded again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from messaging.protocol.errors import ProtocolError

_encode = msgspec.json.Encoder().encode
quote = json.dumps


def dumps(value: Any) -> str:
    """Compact JSON text."""
    return _encode(value).decode()


def octets(text: str) -> int:
    """Bytes of the text in UTF-8. Bounds are in bytes; ASCII, which most text is, says so without being looked at."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def instant(moment: datetime) -> str:
    """`2026-11-22T10:00:00.000Z`"""
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def message_parts(stream: str, name: str, service: str | None, *, stops: bool) -> tuple[str, str, str]:
    """What stands before the offset, the time and the data of a `message`, without the opening brace.

    stops: its type says that the stream waits where a handler fails on it.
    """
    by = f'"{service}"' if service else "null"
    said = ',"on_failure":"stop"' if stops else ""
    return f'"stream":"{stream}","offset":', f',"name":"{name}","time":"', f'","service":{by}{said},"data":'


def message_item(
    *, stream: str, offset: int, name: str, time: str, service: str | None, payload: str, stops: bool = False
) -> str:
    """The members of a `message` without the opening brace: frames and pages put their own beginning before it."""
    before_offset, before_time, before_data = message_parts(stream, name, service, stops=stops)
    return f"{before_offset}{offset}{before_time}{time}{before_data}{payload}}}"


def again(item: str) -> str:
    """The same message, marked as one the device acknowledged before."""
    before, data, after = item.partition('"data":')
    return f'{before}"redelivered":true,{data}{after}'


def latest_item(
    *, stream: str, name: str, key: str, version: int, coalesced: int, time: str, service: str | None, payload: str
) -> str:
    by = f'"{service}"' if service else "null"
    return (
        f'"stream":"{stream}","name":"{name}","key":{quote(key)},"version":{version},"coalesced":{coalesced},'
        f'"time":"{time}","service":{by},"data":{payload}}}'
    )


def transient_item(*, stream: str, name: str, time: str, service: str | None, payload: str) -> str:
    by = f'"{service}"' if service else "null"
    return f'"stream":"{stream}","name":"{name}","time":"{time}","service":{by},"data":{payload}}}'


def message_frame(item: str) -> str:
    return '{"type":"message",' + item


def messages_frame(items: Iterable[str]) -> str:
    return '{"type":"messages","items":[{' + ",{".join(items) + "]}"


def latest_frame(item: str) -> str:
    return '{"type":"latest",' + item


def transient_frame(item: str) -> str:
    return '{"type":"transient",' + item


def frame(kind: str, re: int | None = None, **members: Any) -> str:
    """Any other frame; `re` only where the request had an id."""
    head: dict[str, Any] = {"type": kind} if re is None else {"type": kind, "re": re}
    return dumps({**head, **members})


def gap_frame(stream: str, from_offset: int, to_offset: int, reason: str) -> str:
    return frame("gap", stream=stream, **{"from": from_offset, "to": to_offset}, reason=reason)


def error_frame(error: ProtocolError, re: int | None = None) -> str:
    members: dict[str, Any] = {"code": error.code.name, "title": error.code.title}
    if error.detail:
        members["detail"] = error.detail
    return frame("error", re, **members, temporary=error.code.temporary, **error.extra)
