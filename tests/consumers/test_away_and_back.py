from __future__ import annotations

from typing import Any

from tests.consumers.actors import Phone, Service, entry, messages


def turns(stream: str, *data: Any) -> list[dict[str, Any]]:
    return [{"to": stream, "name": "turn", "data": one} for one in data]


async def test_messages_wait_and_the_pull_gives_them_up_to_the_cut(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()
    await phone.notice(socket, "background")
    await game_service.publish_all(*turns(phone.stream, *range(20)))

    await socket.messages(20)  # what was pushed meanwhile: nobody acknowledges it, so it counts as not delivered
    back = await phone.notice(socket, "foreground")
    await game_service.publish_all(*turns(phone.stream, *range(20, 25)))
    live = await socket.messages(5)
    page = await phone.pending(stream=phone.stream, until=20, limit=12)
    rest = await phone.pending(cursor=page["next"])

    assert entry(back, phone.stream)["cut"] == 20
    assert [one["offset"] for one in live] == [21, 22, 23, 24, 25]
    assert [one["offset"] for one in page["messages"] + rest["messages"]] == list(range(1, 21))
    assert rest["next"] is None
    saved = await socket.ask("results", stream=phone.stream, upto=25)
    assert saved["processed"] == 25


async def test_every_messages_are_pushed_in_the_background_up_to_the_window(
    phone: Phone, game_service: Service
) -> None:
    socket, _ = await phone.connect()
    await phone.notice(socket, "background")

    await game_service.publish_all(*turns(phone.stream, *range(70)))

    assert len(await socket.messages(64)) == 64


async def test_a_pull_changes_nothing(phone: Phone, game_service: Service) -> None:
    await game_service.publish_all(*turns(phone.stream, 1, 2, 3))

    first = await phone.pending()
    again = await phone.pending()
    _, welcome = await phone.connect()

    assert first == again
    assert entry(welcome, phone.stream)["processed"] == 0


async def test_the_newest_value_per_key_comes_back_with_what_it_stands_for(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()
    await game_service.publish(phone.stream, "weather", "fog", key="berlin")
    await socket.expect("latest")
    await socket.send("ack_latest", stream=phone.stream, version=1)
    await phone.notice(socket, "background")

    for value in ("rain", "hail", "sun"):
        await game_service.publish(phone.stream, "weather", value, key="berlin")
    await game_service.publish(phone.stream, "weather", "snow", key="oslo")
    silent = await socket.quiet()
    await phone.notice(socket, "foreground")
    values = [await socket.expect("latest"), await socket.expect("latest")]

    assert silent == []
    assert [(v["key"], v["data"], v["coalesced"], v["version"]) for v in values] == [
        ("berlin", "sun", 3, 4),
        ("oslo", "snow", 1, 5),
    ]
    assert await socket.quiet() == []


async def test_an_older_notice_gets_the_current_state(phone: Phone) -> None:
    socket, _ = await phone.connect(state_seq=10)
    await socket.ask("notice", state="background", state_seq=12)

    late = await socket.ask("notice", state="foreground", state_seq=11)

    assert (late["state"], late["state_seq"], late["streams"]) == ("background", 12, [])


async def test_in_hold_mode_nothing_above_the_cut_comes_before_the_results(phone: Phone, game_service: Service) -> None:
    await game_service.publish_all(*turns(phone.stream, *range(3)))
    socket, welcome = await phone.connect(resume="hold")
    await game_service.publish_all(*turns(phone.stream, 3, 4))

    held = await socket.quiet()
    page = await phone.pending(stream=phone.stream, until=3)
    await socket.ask("results", stream=phone.stream, upto=2)
    still = await socket.quiet()
    await socket.send("results", stream=phone.stream, upto=3, id=1)
    frames = await socket.until("results_saved")
    while len(messages(frames)) < 2:
        frames.append(await socket.receive())
    flushed = messages(frames + await socket.quiet())

    assert entry(welcome, phone.stream)["cut"] == 3
    assert [one["offset"] for one in page["messages"]] == [1, 2, 3]
    assert (held, still) == ([], [])
    assert [one["offset"] for one in flushed] == [4, 5]


async def test_a_hold_ends_by_itself_in_time(phone: Phone, game_service: Service) -> None:
    await game_service.publish_all(*turns(phone.stream, 1, 2))
    socket, _ = await phone.connect(resume="hold")
    await game_service.publish(phone.stream, "turn", 3)

    released = await socket.expect("message")

    assert released["offset"] == 3


async def test_a_hold_does_not_hold_up_other_streams(phone: Phone, game_service: Service) -> None:
    await game_service.publish(phone.stream)
    socket, _ = await phone.connect(resume="hold")

    await game_service.publish(phone.room, "gift")

    assert [(one["stream"], one["offset"]) for one in await socket.messages(1)] == [(phone.room, 1)]


async def test_replay_sends_what_was_missed_over_the_socket_and_says_when_it_is_all(
    phone: Phone, game_service: Service
) -> None:
    await game_service.publish_all(*turns(phone.stream, *range(5)))
    socket, _ = await phone.connect(resume="replay", positions={phone.stream: {"processed": 2}})

    frames = await socket.caught_up()

    assert [one["offset"] for one in messages(frames)] == [3, 4, 5]
    caught = {frame["stream"]: frame["upto"] for frame in frames if frame["type"] == "caught_up"}
    assert caught == {phone.stream: 5, phone.room: 0, f"user:{phone.user}": 0}


async def test_replay_of_more_than_the_window_goes_on_with_the_receipts(phone: Phone, game_service: Service) -> None:
    await game_service.publish_all(*turns(phone.stream, *range(300)))
    socket, _ = await phone.connect(resume="replay")
    got: list[int] = []

    while len(got) < 300:
        frame = await socket.receive()
        if frame["type"] == "caught_up":
            assert frame["stream"] != phone.stream
        new = messages([frame])
        got += [one["offset"] for one in new]
        if new:
            await socket.send("ack", stream=phone.stream, upto=got[-1])

    assert got == list(range(1, 301))
    assert (await socket.expect("caught_up"))["upto"] == 300


async def test_what_was_acknowledged_before_is_marked_when_it_comes_again(phone: Phone, game_service: Service) -> None:
    first, _ = await phone.connect()
    await game_service.publish_all(*turns(phone.stream, 1, 2))
    await first.messages(2)
    await first.send("ack", stream=phone.stream, upto=1)
    await first.quiet()

    second, _ = await phone.connect(resume="replay")
    frames = await second.caught_up()

    assert [(one["offset"], one.get("redelivered")) for one in messages(frames)] == [(1, True), (2, None)]


async def test_a_position_of_another_history_is_reset(phone: Phone, game_service: Service) -> None:
    await game_service.publish_all(*turns(phone.stream, 1, 2, 3))
    socket, _ = await phone.connect(
        resume="replay",
        positions={
            phone.stream: {"processed": 3, "epoch": "0123456789abcdef"},
            phone.room: {"processed": 99},
        },
    )

    frames = await socket.caught_up()

    gaps = [(f["stream"], f["from"], f["to"], f["reason"]) for f in frames if f["type"] == "gap"]
    assert sorted(gaps) == sorted([(phone.stream, 1, 0, "reset"), (phone.room, 1, 0, "reset")])
    assert [one["offset"] for one in messages(frames)] == [1, 2, 3]


async def test_a_notice_over_http_counts_like_one_over_the_socket(phone: Phone, game_service: Service) -> None:
    socket, _ = await phone.connect()

    answer = await phone.http_at_first.post("/api/v1/notices", json={"state": "background", "state_seq": 50})
    await game_service.publish(phone.stream, "weather", "rain", key="here")
    seen = await socket.quiet()

    assert (answer.status_code, answer.json()["state"]) == (200, "background")
    assert seen == []


async def test_a_foreground_notice_over_http_begins_the_replay_on_the_open_socket(
    phone: Phone, game_service: Service
) -> None:
    socket, _ = await phone.connect(resume="replay")
    await socket.caught_up()
    await game_service.publish_all(*[{"to": phone.stream, "name": "turn", "data": n} for n in range(3)])
    await socket.messages(3)
    await socket.ask("results", stream=phone.stream, upto=1)

    for state in ("background", "foreground"):
        phone.seq += 1
        answer = await phone.http.post("/api/v1/notices", json={"state": state, "state_seq": phone.seq})
    frames = await socket.caught_up()

    assert (answer.json()["state"], entry(answer.json(), phone.stream)["cut"]) == ("foreground", 3)
    assert [one["offset"] for one in messages(frames)] == [2, 3]
    caught = {frame["stream"]: frame["upto"] for frame in frames if frame["type"] == "caught_up"}
    assert caught == {phone.stream: 3, f"user:{phone.user}": 0, phone.room: 0}
