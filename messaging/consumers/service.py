"""The service socket: publishes in, answers out when durable, as many under way as the Journal takes; and if it asked
for them at its hello, results and presence as they come.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.conf import settings

from apps_registry.models import Scope, ServiceKey
from apps_registry.services import authenticate_key
from messaging.consumers.base import SocketConsumer
from messaging.live.feeds import Follower
from messaging.live.limits import Rule
from messaging.log.answers import Answer, Request
from messaging.protocol import frames, wire
from messaging.protocol.errors import ProtocolError
from messaging.publishing import costs, request, rules


class ServiceConsumer(SocketConsumer):
    frame_rate = False
    key: ServiceKey
    followers: tuple[Follower, ...] = ()

    # --- hello -------------------------------------------------------------------------------------------------------

    async def hello(self, text: str) -> None:
        frame = frames.decode_service(text, max_depth=settings.MEANWHILE_MAX_DEPTH)
        if not isinstance(frame, frames.ServiceHello):
            raise ProtocolError("hello_expected")
        self.key = await self.node.reader.ask(lambda: authenticate_key(frame.key))
        if frame.listen and Scope.READ not in self.key.scopes:
            raise ProtocolError("wrong_scope", "To listen needs a key with the scope read.")
        feeds, service = self.node.feeds, self.key.service
        await self.admit(service.app_id)
        self.rules = rules(self.key)
        begin = await feeds.results_from(service.pk, frame.after) if "results" in frame.listen else None
        self.node.callers.add(self)
        self._welcome(frame, begin)
        if begin is not None:
            self.followers = (feeds.results(self.link, service.pk, begin),)
        if "presence" in frame.listen:
            self.followers = (*self.followers, await feeds.presence(self.link, service.app_id))

    def _welcome(self, frame: frames.ServiceHello, begin: int | None) -> None:
        following = {} if begin is None else {"position": begin}
        self.link.send(
            wire.frame(
                "welcome",
                frame.id,
                service=self.key.service.name,
                app=self.key.service.app.name,
                scopes=self.key.scopes,
                listen=sorted(set(frame.listen)),
                **following,
                server_time=wire.instant(datetime.now(UTC)),
            )
        )

    # --- the node's caller -------------------------------------------------------------------------------------------

    @property
    def key_id(self) -> int:
        return self.key.pk

    def bye(self, code: str, *, detail: str = "", retry_after_ms: int = 0) -> None:
        self.link.bye(code, detail=detail, retry_after_ms=retry_after_ms)

    def check(self, now: float) -> None:
        if self.link.blocked_since is not None and now - self.link.blocked_since > settings.MEANWHILE_STALL_TIMEOUT:
            self.bye("too_slow")

    def opened(self) -> None:
        self.node.feeds.wake(self.followers)

    def gone(self) -> None:
        self.node.callers.discard(self)
        for follower in self.followers:
            self.node.feeds.remove(follower)

    # --- frames ------------------------------------------------------------------------------------------------------

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

        asked = request(frame.messages, key=self.key)
        prices = list(zip(self.rules, costs(asked), strict=True))
        for place, (rule, cost) in enumerate(prices):
            verdict = self.node.limits.spend_here(rule, cost)
            if verdict is None:
                # Other processes are to be asked; the frames behind this one wait, so their order stays.
                self.first = self._publish_if_permitted(frame.id, asked, prices[place:])
                return
            verdict.check()
        self._submit(frame.id, asked)

    async def _publish_if_permitted(self, id: int | None, asked: Request, prices: Sequence[tuple[Rule, int]]) -> None:
        try:
            for rule, cost in prices:
                (await self.node.reader.ask(partial(self.node.limits.spend, rule, cost))).check()
            self._submit(id, asked)
        except ProtocolError as error:
            self.link.error(error, id)

    def _submit(self, id: int | None, asked: Request) -> None:
        def done(outcome: Any) -> None:
            if isinstance(outcome, Answer):
                re = "" if id is None else f'"re":{id},'
                self.link.send(f'{{"type":"published",{re}"items":{outcome.items}}}')
            else:
                self.link.error(outcome, id)

        self.node.journal.submit(asked, done)
