"""One device through one plan: its network breaks, heals, and then it must be current."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from tests.faults.auditor import Violation, audit
from tests.faults.history import Joined, Settled, Wants
from tests.network.account import Account, Line
from tests.network.back_end import BackEnd
from tests.network.phones import Phones
from tests.network.plan import Plan
from tests.network.proxy import Proxy
from tests.network.record import Record
from tests.servers import PLAIN, Server

#: Seconds after the network healed.
DEADLINE = 30.0
#: Seconds the service goes on after that: what is new meets what was missed.
BEYOND = 0.5


@dataclass
class Outcome:
    plan: Plan
    lacks: list[str]
    violations: list[Violation]
    #: Seconds from the healing until it was current.
    took: float
    struck: dict[str, int]
    #: What the device said, and how the history reads, for people.
    lines: list[Line] = field(repr=False)
    story: list[str] = field(repr=False)

    @property
    def fine(self) -> bool:
        return not self.lacks and not self.violations

    def __str__(self) -> str:
        return f"SEED={self.plan.seed}: {self.plan}\n  after {self.took:.1f} s {self.lacks} {self.violations}"


class Trip:
    def __init__(self, plan: Plan, *, servers: list[Server], key: str, phones: Phones) -> None:
        self._plan = plan
        self._servers = servers
        self._key = key
        self._phones = phones
        self._device = f"phone-{plan.seed}"
        self._record = Record()
        self._account = Account(self._device)
        self._lines: list[Line] = []
        self._proxy = Proxy([server.port for server in servers], seed=plan.seed)

    async def run(self) -> Outcome:
        token, streams = await self._register()
        service = BackEnd(
            base=self._servers[-1].base, key=self._key, streams=streams, record=self._record, seed=self._plan.seed
        )
        await self._proxy.open()
        try:
            publishing = asyncio.create_task(service.publish())
            self._phones.listen(self._device, self._hear)
            url = f"http://127.0.0.1:{self._proxy.port}"
            self._phones.tell("start", self._device, url=url, token=token, resume=self._plan.mode)
            healed = await self._suffer(service)
            await publishing
            lacks = await self._become_current(service, token, healed)
            took = time.monotonic() - healed
            await service.read_feed()
            return self._outcome(lacks, took)
        finally:
            self._phones.tell("stop", self._device)
            await self._proxy.close()

    async def _register(self) -> tuple[str, list[str]]:
        async with httpx.AsyncClient(
            verify=PLAIN, base_url=self._servers[0].base, headers={"Authorization": f"Bearer {self._key}"}, timeout=30
        ) as http:
            answer = await http.post("/api/v1/devices", json={"device": self._device, "streams": ["room:lobby"]})
        assert answer.status_code == 201, answer.text
        streams = answer.json()["streams"]
        self._record.add(*(Joined(self._device, stream, 0) for stream in streams))
        return answer.json()["token"], streams

    def _hear(self, line: Line) -> None:
        self._lines.append(line)
        self._record.add(*self._account.events(line), at=line["at"])

    # --- the trouble -------------------------------------------------------------------------------------------------

    async def _suffer(self, service: BackEnd) -> float:
        """Lives through the plan. → when the network healed."""
        plan, proxy = self._plan, self._proxy
        events: list[tuple[float, Callable[[], None]]] = []
        for fault in plan.faults:
            events.append((fault.at, lambda fault=fault: proxy.strike(fault)))  # type: ignore[misc]
            events.append((fault.at + fault.seconds, lambda fault=fault: proxy.end(fault)))  # type: ignore[misc]
        for away in plan.absences:
            events.append((away.at, lambda: self._tell("background")))
            events.append((away.at + away.seconds, lambda: self._tell("foreground")))
        events.append((plan.seconds, self._heal))
        events.append((plan.seconds + BEYOND, lambda: setattr(service, "over", True)))
        begin = time.monotonic()
        for at, happens in sorted(events, key=lambda event: event[0]):
            await asyncio.sleep(begin + at - time.monotonic())
            happens()
        return begin + plan.seconds

    def _tell(self, what: str) -> None:
        self._lines.append({"kind": what, "at": time.monotonic()})
        self._phones.tell(what, self._device)

    def _heal(self) -> None:
        """The network is whole again, and the platform says so, as browsers do; what was lost in it stays lost."""
        self._proxy.heal()
        self._tell("online")

    # --- the end -----------------------------------------------------------------------------------------------------

    async def _become_current(self, service: BackEnd, token: str, healed: float) -> list[str]:
        """→ what is still missing when the time is up."""
        current, end = self._record.current, healed + DEADLINE
        await self._record.until(lambda: not current.lacks(), end - time.monotonic())
        stands = await service.look(self._device, token)
        while current.owes(stands) and time.monotonic() < end:
            await self._record.grown(1, 0.2)  # results are confirmed to the device before anybody else could know
            stands = await service.look(self._device, token)
        missing = current.lacks() + current.owes(stands)
        if missing:
            self._phones.tell("inspect", self._device)
            await self._record.until(lambda: self._lines[-1]["kind"] == "inspected", 2)
        # What was confirmed until here, the server must know.
        self._record.add(Wants(self._device, "foreground"), *stands)
        self._record.add(Settled(self._device))
        return missing

    def _outcome(self, lacks: list[str], took: float) -> Outcome:
        struck = dict(self._proxy.struck)
        events = self._record.in_order()
        story = [str(event) for event in events]
        return Outcome(self._plan, lacks, audit(events), took, struck, self._lines, story)


async def travel(plans: list[Plan], *, servers: list[Server], keys: list[str], at_once: int) -> list[Outcome]:
    """Each plan with an app and a device of its own, so many at once."""
    room = asyncio.Semaphore(at_once)

    async def one(plan: Plan, key: str, phones: Phones) -> Outcome:
        async with room:
            return await Trip(plan, servers=servers, key=key, phones=phones).run()

    async with contextlib.AsyncExitStack() as stack:
        phones = await stack.enter_async_context(Phones.open())
        return await asyncio.gather(*(one(plan, key, phones) for plan, key in zip(plans, keys, strict=True)))
