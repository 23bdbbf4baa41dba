from __future__ import annotations

from django.db import transaction

from apps_registry.models import Device
from messaging.log import presence, returns
from messaging.log.effects import Effects
from messaging.log.presence import Arrival, Departure, Here, Lease, NoticeGiven, Polling
from messaging.models import Presence, Resume, Stream
from messaging.operations import close_room
from messaging.protocol.errors import ProtocolError
from tests.conftest import World


def enter(device: Device, state: str = "foreground", seq: int = 1, mode: str = "pull") -> Here:
    with transaction.atomic():
        (here,) = presence.enter([Arrival(device.pk, state, seq, mode, "node-1")], Effects())
    assert isinstance(here, Here)
    return here


def notice(device: Device, state: str, seq: int, generation: int | None = None) -> Here | ProtocolError:
    with transaction.atomic():
        (outcome,) = presence.notice([NoticeGiven(device.pk, state, seq, generation)], Effects())
    return outcome


def state(device: Device) -> tuple[str, int, int]:
    row = Presence.objects.get(device=device)
    return row.state, row.state_seq, row.generation


def test_each_connection_gets_the_next_generation(world: World, phone: Device) -> None:
    assert [enter(phone).generation, enter(phone).generation] == [1, 2]


def test_two_hellos_of_a_device_in_one_batch_get_two_generations(world: World, phone: Device) -> None:
    with transaction.atomic():
        both = presence.enter([Arrival(phone.pk, "foreground", seq, "pull", "n") for seq in (1, 2)], Effects())

    assert [here.generation for here in both if isinstance(here, Here)] == [1, 2]
    assert state(phone) == ("foreground", 2, 2)


def test_the_cut_is_the_head_at_the_hello(world: World, phone: Device) -> None:
    world.publish("device:phone")

    heads = {entry.stream: entry.head for entry in enter(phone).entries}

    assert heads == {"device:phone": 1, "room:lobby": 0, "user:ann": 0}


def test_an_older_notice_changes_nothing_and_gets_the_current_state(world: World, phone: Device) -> None:
    enter(phone, seq=5)
    notice(phone, "background", 7, 1)

    late = notice(phone, "foreground", 6, 1)

    assert isinstance(late, Here)
    assert (late.state, late.state_seq, late.entries) == ("background", 7, [])
    assert state(phone) == ("background", 7, 1)


def test_a_foreground_notice_gets_the_cuts(world: World, phone: Device) -> None:
    enter(phone)
    notice(phone, "background", 2, 1)
    world.publish("device:phone")

    back = notice(phone, "foreground", 3, 1)

    assert isinstance(back, Here)
    assert [entry.head for entry in back.entries if entry.stream == "device:phone"] == [1]


def test_a_notice_of_an_older_generation_is_refused(world: World, phone: Device) -> None:
    enter(phone)
    enter(phone)

    refused = notice(phone, "background", 9, 1)

    assert isinstance(refused, ProtocolError)
    assert refused.code.name == "superseded"
    assert state(phone)[0] == "foreground"


def test_a_notice_over_http_does_not_bring_an_offline_device_online(world: World, phone: Device) -> None:
    enter(phone)
    with transaction.atomic():
        presence.leave([Departure(phone.pk, 1)], Effects())

    notice(phone, "background", 9)

    assert state(phone)[0] == "offline"


def test_only_the_generation_that_set_it_clears_the_presence(world: World, phone: Device) -> None:
    enter(phone)
    enter(phone)
    with transaction.atomic():
        presence.leave([Departure(phone.pk, 1)], Effects())
    still = state(phone)[0]
    with transaction.atomic():
        presence.leave([Departure(phone.pk, 2)], Effects())

    assert (still, state(phone)[0]) == ("foreground", "offline")


def test_a_lease_that_ran_out_is_offline_and_a_renewed_one_is_not(world: World, phone: Device, tablet: Device) -> None:
    enter(phone)
    enter(tablet)
    Presence.objects.update(last_seen="2020-01-01T00:00:00Z")
    with transaction.atomic():
        presence.renew([Lease(tablet.pk, 1, "foreground")], Effects())

    assert presence.expire(Effects(), lease=60) == 1
    assert (state(phone)[0], state(tablet)[0]) == ("offline", "foreground")


def test_who_was_taken_for_offline_while_the_database_was_away_is_there_again(world: World, phone: Device) -> None:
    enter(phone)
    Presence.objects.update(last_seen="2020-01-01T00:00:00Z")
    presence.expire(Effects(), lease=60)

    with transaction.atomic():
        presence.renew([Lease(phone.pk, 0, "background"), Lease(phone.pk, 1)], Effects())
    before = state(phone)[0]
    with transaction.atomic():
        presence.renew([Lease(phone.pk, 1, "background")], Effects())

    assert (before, state(phone)[0]) == ("offline", "background")


def test_the_timeline_has_a_row_for_each_return(world: World, phone: Device) -> None:
    enter(phone)
    notice(phone, "background", 2, 1)
    world.publish("device:phone")
    notice(phone, "foreground", 3, 1)
    with transaction.atomic():
        returns.finish([returns.Finished(phone.pk, 1, pages=2)])

    rows = Resume.objects.order_by("id").values_list("cause", "mode", "pending", "pages", "outcome")
    assert list(rows) == [("connect", "pull", 0, 0, "complete"), ("notice", "pull", 1, 2, "complete")]
    assert Resume.objects.latest("id").cuts == {"device:phone": 1, "room:lobby": 0, "user:ann": 0}


def test_a_return_cut_short_is_interrupted(world: World, phone: Device) -> None:
    world.publish("device:phone")
    enter(phone)
    with transaction.atomic():
        presence.leave([Departure(phone.pk, 1)], Effects())

    assert list(Resume.objects.values_list("outcome", flat=True)) == ["interrupted"]


# --- who polls hears of a closing -----------------------------------------------------------------------------------


def poll(*polling: Polling) -> list[bool]:
    with transaction.atomic():
        return presence.poll(polling, Effects())


def close_lobby() -> int:
    lobby = Stream.objects.get(name="room:lobby")
    close_room(lobby)
    return lobby.pk


def test_a_closing_is_told_once_to_who_polls(phone: Device) -> None:
    poll(Polling(phone.pk))
    close_lobby()

    assert [poll(Polling(phone.pk)), poll(Polling(phone.pk))] == [[True], [False]]


def test_a_closing_that_came_after_the_answer_was_read_is_told_at_the_next_pull(phone: Device) -> None:
    poll(Polling(phone.pk))
    close_lobby()
    poll(Polling(phone.pk, told=[]))  # read before the closing, written down after it

    assert [poll(Polling(phone.pk)), poll(Polling(phone.pk))] == [[True], [False]]


def test_a_closing_that_the_answer_told_is_not_told_again(phone: Device) -> None:
    poll(Polling(phone.pk))
    lobby = close_lobby()
    poll(Polling(phone.pk, told=[lobby]))

    assert poll(Polling(phone.pk)) == [False]


def test_of_two_pulls_in_one_batch_the_one_that_is_still_to_be_read_tells(phone: Device) -> None:
    poll(Polling(phone.pk))
    close_lobby()

    assert poll(Polling(phone.pk, told=[]), Polling(phone.pk)) == [True, True]
    assert poll(Polling(phone.pk)) == [False]
