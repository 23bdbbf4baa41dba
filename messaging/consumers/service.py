"""The service socket: publishes in, answers out when durable, as many under way as the Journal takes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from apps_registry.models import Scope, ServiceKey
from apps_registry.services import authenticate_key
from messaging.consumers.base import SocketConsumer
from messaging.log.answers import Answer
from messaging.protocol import frames, wire
from messaging.protocol.errors import ProtocolError
from messaging.publishing import request


class ServiceConsumer(SocketConsumer):
    frame_rate = False
    key: ServiceKey

    async def hello(self, text: str) -> None:
        frame = frames.decode_service(text, max_depth=settings.MEANWHILE_MAX_DEPTH)
        if not isinstance(frame, frames.ServiceHello):
            raise ProtocolError("hello_expected")
        self.key = await self.node.reader.ask(lambda: authenticate_key(frame.key))
        self.link.send(
            wire.frame(
                "welcome",
                frame.id,
                service=self.key.service.name,
                app=self.key.service.app.name,
                scopes=self.key.scopes,
                server_time=wire.instant(datetime.now(UTC)),
            )
        )

    def frame(self, text: str) -> None:
        frame = frames.decode_service(text, max_depth=settings.MEANWHILE_MAX_DEPTH)
        try:
            if isinstance(frame, frames.Publish):
                self._publish(frame)
            elif isinstance(frame, frames.Ping):
                self.link.send(wire.frame("pong", frame.id))
            else:
                raise ProtocolError("invalid", "There was a hello already.")
        except ProtocolError as error:
            self.link.error(error, frame.id)

    def _publish(self, frame: frames.Publish) -> None:
        if Scope.PUBLISH not in self.key.scopes:
            raise ProtocolError("wrong_scope")

        def done(outcome: Any) -> None:
            if isinstance(outcome, Answer):
                re = "" if frame.id is None else f'"re":{frame.id},'
                self.link.send(f'{{"type":"published",{re}"items":{outcome.items}}}')
            else:
                self.link.error(outcome, frame.id)

        self.node.journal.submit(request(frame.messages, key=self.key), done)
