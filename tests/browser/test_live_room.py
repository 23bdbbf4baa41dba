"""Three phones side by side in one room. A proxy, not the page, cuts the connection of one while the show goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.conftest import as_make_run, service_of
from tests.browser.wire import Wire
from tests.servers import Server, free_port
from tests.waiting import until

pytestmark = pytest.mark.browser

#: Keeps every bullet chat that phone B shows: on the screen they fly by.
LISTEN = """() => {
  window.shownByB = [];
  const sky = document.querySelector('[data-phone="b"] .flyby');
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) for (const node of addedNodes) window.shownByB.push(node.textContent);
  }).observe(sky, { childList: true });
}"""


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def wire(port: int) -> Iterator[Wire]:
    laid = Wire(f"http://127.0.0.1:{port}")
    yield laid
    laid.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, port: int, wire: Wire) -> Iterator[Server]:
    """The server as `make run` starts it, which one phone reaches through the wire."""
    origins = f"http://127.0.0.1:{port},{wire.base}"
    with as_make_run(Server(tmp_path_factory.mktemp("live-room"), port=port), MEANWHILE_ORIGINS=origins) as running:
        yield running


@pytest.fixture(scope="module")
def show(house: Server) -> Iterator[httpx.Client]:
    """The service that publishes into the room."""
    with service_of(house, "live-room", "show", "publish", "read", "manage") as client:
        yield client


class Room:
    """The page with its three phones, and the room's service."""

    def __init__(self, page: Page, show: httpx.Client) -> None:
        self.page = page
        self.show = show
        self.name = page.locator("#room-name").inner_text()

    def phone(self, letter: str) -> Locator:
        return self.page.locator(f'[data-testid="phone"][data-phone="{letter}"]')

    def device(self, letter: str) -> str:
        return f"{self.name.removeprefix('room:')}-{letter}"

    def came(self, letter: str, way: str) -> Locator:
        return self.phone(letter).get_by_test_id(f"came-{way}")

    def expect_processed(self, letter: str, offset: int) -> None:
        cell = self.phone(letter).locator(f'[data-testid="cell"][data-offset="{offset}"]')
        expect(cell).to_have_attribute("data-status", "processed")

    def cells(self, letter: str, after: int) -> list[dict[str, Any]]:
        """What the phone's lane shows above an offset, in the order in which it was handed over."""
        lane = self.phone(letter).get_by_test_id("cell")
        found: list[dict[str, Any]] = lane.evaluate_all("(cells) => cells.map(({ dataset }) => ({ ...dataset }))")
        for cell in found:
            cell.update({number: int(cell[number] or 0) for number in ("offset", "turn", "times")})
        return sorted((cell for cell in found if cell["offset"] > after), key=lambda cell: int(cell["turn"]))

    def seen_by_the_server(self) -> dict[str, Any]:
        seen: dict[str, Any] = self.show.get("/demo/live-room/room", params={"room": self.name}).json()
        return seen

    def publish(self, *messages: tuple[str, object]) -> list[dict[str, Any]]:
        """When the room has sent what it took before, so that its rate sheds nothing. → the items."""
        until(lambda: self.seen_by_the_server()["ahead"] < 0.2, "the room is at rest")
        drafts = [{"to": self.name, "name": name, "data": data} for name, data in messages]
        answer = self.show.post("/api/v1/messages", json={"messages": drafts})
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        assert not [item for item in items if item.get("shed") or item.get("problem")]
        return items

    def results_of(self, letter: str, after: int) -> list[int]:
        """The offsets the service was told of as processed by the phone."""
        feed = self.show.get("/api/v1/results", params={"limit": 2000}).json()["items"]
        rows = [row for row in feed if (row["device"], row["stream"]) == (self.device(letter), self.name)]
        assert {row["status"] for row in rows} == {"processed"}
        offsets = sorted(offset for row in rows for offset in range(row["from"], row["upto"] + 1))
        return [offset for offset in offsets if offset > after]


@pytest.fixture
def room(context: BrowserContext, house: Server, wire: Wire, show: httpx.Client) -> Iterator[Room]:
    """The scene, open; phone B reaches the server through the wire."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{house.base}/live-room/?b={wire.base}")
    opened = Room(page, show)
    for letter in "abc":
        expect(opened.phone(letter)).to_have_attribute("data-state", "live")
    yield opened
    page.close()
    assert errors == []


@pytest.mark.parametrize("told", [True, False], ids=["and both ends are told", "and nobody is told"])
def test_a_hundred_gifts_and_three_commands_that_went_by_are_found_in_order_and_no_bullet_chat(
    room: Room, wire: Wire, told: bool
) -> None:
    (before,) = room.publish(("gift", {"from": "Ann", "what": "the first"}))
    for letter in "abc":
        room.expect_processed(letter, before["offset"])
    room.page.evaluate(LISTEN)
    connections = wire.connections

    wire.cut(told=told)
    sent: list[dict[str, Any]] = []
    for n in range(1, 11):
        gifts = [("gift", {"from": "Bo", "what": f"gift {n}.{each}"}) for each in range(10)]
        chats = [("chat", {"text": f"while cut {n}.{each}"}) for each in range(5)]
        commands = [("command", {"do": "camera", "to": 1 + n % 3})] if n in {3, 6, 10} else []
        items = room.publish(*gifts, *chats, *commands)
        sent += [item for item in items if "offset" in item]
    last = sent[-1]["offset"]
    for letter in "ac":
        room.expect_processed(letter, last)
    expect(room.came("b", "never")).to_have_text("50")
    cut_off = room.cells("b", before["offset"])
    processed_while_cut = room.results_of("b", before["offset"])
    wire.mend()
    room.expect_processed("b", last)
    expect(room.phone("b")).to_have_attribute("data-state", "live")
    room.publish(("chat", {"text": "after"}), ("gift", {"from": "Ann", "what": "the last"}))
    for letter in "abc":
        room.expect_processed(letter, last + 1)
    room.page.wait_for_function("() => window.shownByB.includes('after')")

    expected = [item["offset"] for item in sent]
    assert len(expected) == 103
    assert expected == list(range(before["offset"] + 1, last + 1))
    assert [(cell["offset"], cell["status"]) for cell in cut_off] == [(offset, "waiting") for offset in expected]
    assert processed_while_cut == []
    assert wire.connections > connections
    # each once, in order, replayed to B and live to the others; then B is live again
    for letter, path in (("a", "live"), ("b", "replayed"), ("c", "live")):
        cells = room.cells(letter, before["offset"])
        assert [cell["offset"] for cell in cells] == [*expected, last + 1]
        assert [cell["path"] for cell in cells] == [path] * 103 + ["live"]
        assert {cell["times"] for cell in cells} == {1}
    assert [cell["name"] for cell in room.cells("b", before["offset"])].count("command") == 3
    expect(room.phone("b").get_by_test_id("caption")).to_contain_text("103 replayed, in order")
    # of the bullet chat of that time nothing came, then or later
    assert room.page.evaluate("() => window.shownByB") == ["after"]
    expect(room.came("b", "never")).to_have_text("50")
    expect(room.came("a", "never")).to_have_text("0")
    expect(room.came("b", "gap")).to_have_text("0")
    # the services and the server know
    for letter in "abc":
        until(lambda at=letter: room.results_of(at, before["offset"]) == [*expected, last + 1], f"results of {letter}")
    told_by_server = {one["device"]: one["processed"] for one in room.seen_by_the_server()["devices"]}
    assert told_by_server == {room.device(letter): last + 1 for letter in "abc"}


@pytest.fixture
def slow_room(show: httpx.Client) -> Iterator[None]:
    """A rate that a busy minute passes also where the machine is busy, too."""
    rate = show.get("/api/v1/app").json()["room_rate"]
    show.patch("/api/v1/app", json={"room_rate": 5}).raise_for_status()
    yield
    show.patch("/api/v1/app", json={"room_rate": rate}).raise_for_status()


@pytest.mark.usefixtures("slow_room")
def test_the_pages_own_buttons_tell_the_story_and_end_the_room(room: Room) -> None:
    page = room.page
    head = room.seen_by_the_server()["head"]
    page.get_by_test_id("guide-1").click()
    expect(room.phone("b").get_by_test_id("stage")).to_have_attribute("data-away", "tunnel")
    room.phone("c").get_by_test_id("background").click()
    expect(room.phone("c")).to_have_attribute("data-state", "background")
    page.get_by_test_id("guide-2").click()
    expect(page.get_by_test_id("send-busy")).to_be_disabled()
    expect(page.get_by_test_id("send-busy")).to_be_enabled()
    page.get_by_test_id("guide-3").click()
    room.phone("c").get_by_test_id("background").click()
    for letter in "bc":
        expect(room.phone(letter).get_by_test_id("caption")).to_contain_text("in order")
    page.get_by_test_id("send-close").click()
    for letter in "abc":
        expect(room.phone(letter).get_by_test_id("stage")).to_have_attribute("data-closed", "true")

    # 80 gifts, a question, a packet, two commands; the rate sheds gifts and packets, never commands; then the last word
    lanes = {letter: room.cells(letter, head) for letter in "abc"}
    shed = [cell["offset"] for cell in lanes["a"] if cell["status"] == "gap"]
    told = [page.get_by_test_id(f"sent-{kind}").get_attribute("data-shed") for kind in ("gift", "packet", "quiz")]
    assert len(shed) == sum(map(int, filter(None, told))) > 0
    for letter, path in (("a", "live"), ("b", "replayed"), ("c", "pulled")):
        handed = [cell for cell in lanes[letter] if cell["status"] != "gap"]
        gaps = {cell["offset"] for cell in lanes[letter] if cell["status"] == "gap"}
        assert [cell["offset"] for cell in handed] == sorted(set(range(head + 1, head + 86)) - gaps)
        assert gaps - set(shed) <= {head + 1}  # the question, if its time was over
        assert {cell["path"] for cell in handed[:-1]} == {path}
        assert [cell["name"] for cell in handed].count("command") == 3
    assert int(room.came("b", "never").inner_text()) == int(room.came("c", "never").inner_text()) > 0
    # closed for good: nothing can be sent here, and a new room is a new beginning
    expect(page.get_by_test_id("send-gift")).to_be_disabled()
    page.get_by_test_id("new-room").click()
    expect(page.locator("#room-name")).to_have_text(f"{room.name}-2")
    for letter in "abc":
        expect(room.phone(letter)).to_have_attribute("data-state", "live")
    page.get_by_test_id("send-gift").click()
    for letter in "abc":
        expect(room.came(letter, "live")).to_have_text("1")
