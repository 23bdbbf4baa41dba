"""The device socket: frame in, one call, frame out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from apps_registry.models import Device
from messaging import rooms
from messaging.consumers.base import SocketConsumer
from messaging.live.session import Session
from messaging.log.cursors import Receipt, Report, Saved
from messaging.log.presence import Arrival, Here, NoticeGiven
from messaging.log.reading import Entry
from messaging.log.verbs import Joining, Leaving
from messaging.protocol import frames, rules, wire
from messaging.protocol.errors import ProtocolError
from messaging.protocol.reports import special_offsets
from messaging.protocol.window import Window

#: Clocks differ: a token is good for so long after its time (s).
LEEWAY = 30


class DeviceConsumer(SocketConsumer):
    session: Session | None = None
    token_ends = 0.0

    # --- hello -------------------------------------------------------------------------------------------------------

    async def hello(self, text: str) -> None:
        frame = frames.decode_device(text, max_depth=settings.MEANWHILE_MAX_DEPTH)
        if not isinstance(frame, frames.Hello):
            raise ProtocolError("hello_expected")
        opened = await self.node.door.ask(frame.token)
        device = opened.device
        if not self.node.hub.may_take_over(device.pk, time.monotonic()):
            raise ProtocolError("too_many_frames", "Too many connections of this device replace each other.")
        await self.admit(device.app_id)
        self.device = device
        self._moving = asyncio.Lock()
        self.token_ends = opened.claims.expires_at + LEEWAY
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(outcome: Here | ProtocolError) -> None:
            # In the very call in which the commit is told: what is committed later finds the session registered.
            if settled.done():
                return
            try:
                if isinstance(outcome, ProtocolError):
                    raise outcome
                self._welcome(frame, outcome)
                settled.set_result(None)
            except Exception as error:
                settled.set_exception(error)

        self.node.journal.submit(Arrival(device.pk, frame.state, frame.state_seq, frame.resume, self.node.name), done)
        await settled

    def _welcome(self, frame: frames.Hello, here: Here) -> None:
        self.session = session = Session(
            link=self,
            device_id=self.device.pk,
            device=self.device.name,
            app_id=self.device.app_id,
            here=here,
            mode=frame.resume,
            window=Window(max_count=settings.MEANWHILE_WINDOW, max_bytes=settings.MEANWHILE_WINDOW_BYTES),
            fetch=self.node.hub.fetch,
            token_version=self.device.token_version,
        )
        self.send(
            wire.frame(
                "welcome",
                frame.id,
                device=self.device.name,
                generation=here.generation,
                server_time=wire.instant(datetime.now(UTC)),
                ping_interval_ms=int(settings.MEANWHILE_PING_INTERVAL * 1000),
                window=settings.MEANWHILE_WINDOW,
                state=here.state,
                state_seq=here.state_seq,
                resume=frame.resume,
                streams=[entry.as_frame() for entry in here.entries],
            )
        )
        self.node.hub.register(session, here.entries, frame.positions)

    # --- the session's link ------------------------------------------------------------------------------------------

    def send(self, text: str) -> None:  # type: ignore[override]
        self.link.send(text)

    @property
    def blocked(self) -> bool:
        return self.link.blocked

    def bye(self, code: str, *, detail: str = "", retry_after_ms: int = 0) -> None:
        self.link.bye(code, detail=detail, retry_after_ms=retry_after_ms)

    def check(self, now: float) -> None:
        if time.time() > self.token_ends:
            self.bye("token_expired")
        elif self.link.blocked_since is not None and now - self.link.blocked_since > settings.MEANWHILE_STALL_TIMEOUT:
            self.bye("too_slow")
        elif (
            self.session
            and self.session.state == rules.FOREGROUND
            and now - self.last_heard > settings.MEANWHILE_SILENCE
        ):
            self.bye("silent")

    def opened(self) -> None:
        if self.session:
            self.session.pump()

    def gone(self) -> None:
        if self.session:
            self.node.hub.gone(self.session)

    # --- frames ------------------------------------------------------------------------------------------------------

    def frame(self, text: str) -> None:
        frame = frames.decode_device(text, max_depth=settings.MEANWHILE_MAX_DEPTH)
        assert self.session
        try:
            _HANDLERS[type(frame)](self, self.session, frame)
        except ProtocolError as error:
            self.link.error(error, frame.id)

    def _answer(self, id: int | None, found: Callable[[Any], None]) -> Callable[[Any], None]:
        """What is done with an outcome: an error goes out as a frame."""

        def done(outcome: Any) -> None:
            if isinstance(outcome, ProtocolError):
                self.link.error(outcome, id)
            else:
                found(outcome)

        return done

    def _second_hello(self, session: Session, frame: frames.Hello) -> None:
        raise ProtocolError("invalid", "There was a hello already.")

    def _ack(self, session: Session, frame: frames.Ack) -> None:
        way = session.ways.get(frame.stream)
        if way is None:
            raise ProtocolError("unknown_stream")
        if frame.epoch and frame.epoch != way.epoch:
            raise ProtocolError("epoch_changed", "", stream=frame.stream, epoch=way.epoch, processed=way.processed)
        session.ack(frame.stream, frame.upto)
        self.node.journal.submit(Receipt(way.subscription_id, upto=frame.upto))
        session.pump()

    def _ack_latest(self, session: Session, frame: frames.AckLatest) -> None:
        way = session.ways.get(frame.stream)
        if way is None:
            raise ProtocolError("unknown_stream")
        self.node.journal.submit(Receipt(way.subscription_id, version=frame.version))

    def _results(self, session: Session, frame: frames.Results) -> None:
        def saved(outcome: Saved) -> None:
            stopped = {} if outcome.stopped is None else {"stopped": outcome.stopped}
            told = wire.frame("results_saved", frame.id, stream=outcome.stream, processed=outcome.processed, **stopped)
            self.send(told)

        way = session.ways.get(frame.stream)
        # Results are of the history this connection was told of, also where they do not say so.
        epoch = frame.epoch or (way.epoch if way else "")
        special = special_offsets(frame.exceptions, frame.values, max_value=settings.MEANWHILE_MAX_DATA)
        report = Report(session.device_id, frame.stream, frame.upto, epoch, special)
        self.node.journal.submit(report, self._answer(frame.id, saved))

    def _notice(self, session: Session, frame: frames.Notice) -> None:
        def saved(here: Here) -> None:
            session.set_state(here.state, here.state_seq)
            self.send(
                wire.frame(
                    "notice_saved",
                    frame.id,
                    state=here.state,
                    state_seq=here.state_seq,
                    streams=[entry.as_frame() for entry in here.entries],
                )
            )
            if here.entries and here.state == rules.FOREGROUND:
                self.node.hub.resume(session, here.entries)

        given = NoticeGiven(session.device_id, frame.state, frame.state_seq, session.generation, session.mode)
        self.node.journal.submit(given, self._answer(frame.id, saved))

    def _ping(self, session: Session, frame: frames.Ping) -> None:
        self.send(wire.frame("pong", frame.id))

    def _join(self, session: Session, frame: frames.Join) -> None:
        rooms.check_room(frame.stream)
        self.node.hub.run(self._in_turn(self._join_if_allowed, session, frame))

    def _leave(self, session: Session, frame: frames.Leave) -> None:
        rooms.check_room(frame.stream)
        self.node.hub.run(self._in_turn(self._leave_room, session, frame))

    async def _in_turn(
        self,
        move: Callable[[Session, Any], Coroutine[Any, Any, None]],
        session: Session,
        frame: frames.Join | frames.Leave,
    ) -> None:
        """Joins and leaves are taken as they were sent: a leave must not overtake a join whose rights are looked up."""
        async with self._moving:
            try:
                await move(session, frame)
            except ProtocolError as error:
                self.link.error(error, frame.id)

    async def _join_if_allowed(self, session: Session, frame: frames.Join) -> None:
        """The rights are read anew: they may have changed since the hello."""
        device = await self.node.reader.ask(lambda: Device.objects.filter(pk=session.device_id).first())
        rooms.check_may_join(device, frame.stream)

        def joined(entry: Entry) -> None:
            self.send(wire.frame("joined", frame.id, **entry.as_frame()))
            self.node.hub.join(session, entry)

        self.node.journal.submit(
            Joining(session.app_id, session.device_id, frame.stream), self._answer(frame.id, joined)
        )

    async def _leave_room(self, session: Session, frame: frames.Leave) -> None:
        def left(outcome: None) -> None:
            self.node.hub.leave(session, frame.stream)
            self.send(wire.frame("left", frame.id, stream=frame.stream))

        self.node.journal.submit(Leaving(session.device_id, frame.stream), self._answer(frame.id, left))

    def _refresh(self, session: Session, frame: frames.Refresh) -> None:
        self.node.hub.run(self._take_token(session, frame))

    async def _take_token(self, session: Session, frame: frames.Refresh) -> None:
        try:
            opened = await self.node.door.ask(frame.token)
        except ProtocolError as error:
            self.link.error(error, frame.id)
            return
        except Exception as error:
            self.link.error(ProtocolError(getattr(error, "code", "bad_token")), frame.id)
            return
        if opened.device.pk != session.device_id:
            self.link.error(ProtocolError("bad_token", "This is another device's token."), frame.id)
            return
        self.token_ends = opened.claims.expires_at + LEEWAY
        session.token_version = opened.device.token_version
        ends = wire.instant(datetime.fromtimestamp(opened.claims.expires_at, UTC))
        self.send(wire.frame("refreshed", frame.id, expires_at=ends))


_HANDLERS: dict[type[Any], Callable[[DeviceConsumer, Session, Any], None]] = {
    frames.Hello: DeviceConsumer._second_hello,
    frames.Ack: DeviceConsumer._ack,
    frames.AckLatest: DeviceConsumer._ack_latest,
    frames.Results: DeviceConsumer._results,
    frames.Notice: DeviceConsumer._notice,
    frames.Ping: DeviceConsumer._ping,
    frames.Join: DeviceConsumer._join,
    frames.Leave: DeviceConsumer._leave,
    frames.Refresh: DeviceConsumer._refresh,
}
