"""What a device asks and says over HTTP: pull, notices, who am I. Its results are in results.py."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from msgspec import Struct
from rest_framework.request import Request

from apps_registry.authentication import DeviceAuthentication
from apps_registry.models import Device
from messaging.api import params, shapes, telling, waiting
from messaging.api.cors import CrossOrigin
from messaging.api.edge import answer, decoded, device_of, text_answer
from messaging.api.parsers import JSONTextParser, body_text
from messaging.api.schema import CURSOR, FOR_DEVICES, WITH_BODY, asks, counts, described
from messaging.live import node
from messaging.live.limits import rule
from messaging.log import pending, reading
from messaging.log.pending import Asked
from messaging.log.presence import Here, NoticeGiven, Polling
from messaging.models import Presence
from messaging.protocol.errors import ProtocolError
from messaging.protocol.frames import Position, State

#: Seconds a pull may wait.
LONGEST_WAIT = 60


class DeviceView(CrossOrigin):
    """For devices: `Authorization: Bearer DEVICE_TOKEN`."""

    authentication_classes = (DeviceAuthentication,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.spend(request, (rule("device", device_of(request).pk), 1))


class Pending(DeviceView):
    @described(
        "pending",
        "Pull everything not processed",
        {200: shapes.PendingPage},
        "invalid",
        "unknown_stream",
        "position_gone",
        *FOR_DEVICES,
        query=[
            asks("stream", str, "Only this stream. Without: all of the device's, merged by (time, stream, offset)."),
            counts("after", "Of `stream`: the client's own position, where it is ahead of the server's."),
            counts("until", "Of `stream`: no further than this."),
            asks("epoch", str, "Of `stream`: the history `after` is of."),
            counts(
                "wait", "Where there is nothing: waits for it, so many seconds at most.", least=1, most=LONGEST_WAIT
            ),
            counts("limit", "Messages of a page.", least=1, most=settings.MEANWHILE_PAGE_MAX),
            CURSOR,
        ],
    )
    def get(self, request: Request) -> HttpResponse:
        device = device_of(request)
        asked = _asked(request)
        seconds = params.whole(request, "wait", least=1, most=LONGEST_WAIT)
        waited = waiting.has_waited(request._request)
        may_wait = seconds is not None and not asked.cursor and not waited
        page = pending.page(device_id=device.pk, asked=asked)
        # After the page: a closing before this was read, or makes it be read again; one after it ends the wait.
        closing = _polls(device) if may_wait else False
        if closing:
            page = pending.page(device_id=device.pk, asked=asked)
        if waited:
            told = [entry.stream_id for entry in page.entries if entry.closed]
            node.current().journal.submit(Polling(device.pk, told))
        session = node.current().hub.sessions.get(device.pk)
        if session:
            session.pages += 1
        headers = {"Link": f'<{request.path}?limit={asked.limit}&cursor={page.next}>; rel="next"'} if page.next else {}
        response = text_answer(page.text, headers=headers)
        if may_wait and seconds and page.nothing and not closing:
            everything = not asked.stream
            waiting.leave(response, waiting.Waiting(device.pk, page.entries, seconds, everything))
        return response


def _polls(device: Device) -> bool:
    """A pull that may wait counts as presence. → whether one of the device's streams was closed since its last word."""
    here = node.current()
    if here.draining:
        raise ProtocolError("restart")
    closing: bool = here.journal.call(Polling(device.pk))
    return closing


def _asked(request: Request) -> Asked:
    asked = Asked(
        limit=params.whole(request, "limit", least=1, most=settings.MEANWHILE_PAGE_MAX)
        or min(settings.MEANWHILE_PAGE, settings.MEANWHILE_PAGE_MAX),
        stream=params.word(request, "stream"),
        after=params.whole(request, "after"),
        until=params.whole(request, "until"),
        epoch=params.word(request, "epoch"),
        cursor=params.word(request, "cursor"),
    )
    alone = asked.after is None and asked.until is None and not asked.epoch
    if not (asked.stream or asked.cursor or alone):
        raise ProtocolError("invalid", "after, until and epoch need stream.")
    return asked


class NoticeBody(Struct):
    state: State
    state_seq: Position


class Notices(DeviceView):
    """Works as `fetch(…, {keepalive: true})` while the page goes away."""

    parser_classes = (JSONTextParser,)

    @described(
        "notices",
        "Tell of background or foreground",
        {200: shapes.NoticeSaved},
        *WITH_BODY,
        *FOR_DEVICES,
        request=shapes.NoticeBody,
    )
    def post(self, request: Request) -> HttpResponse:
        said = decoded(body_text(request), NoticeBody)
        given = NoticeGiven(device_of(request).pk, said.state, said.state_seq)
        here: Here = node.current().journal.call(given)
        streams = [entry.as_frame() for entry in here.entries]
        return answer({"state": here.state, "state_seq": here.state_seq, "streams": streams})


class Me(DeviceView):
    @described("me", "See who I am and where my streams stand", {200: shapes.Me}, *FOR_DEVICES)
    def get(self, request: Request) -> HttpResponse:
        device = device_of(request)
        return answer(
            {
                "device": device.name,
                "user": device.user,
                "app": device.app.name,
                "presence": telling.presence(Presence.objects.filter(device=device).first()),
                "streams": [entry.as_frame() for entry in reading.entries([device.pk])[device.pk]],
            }
        )
