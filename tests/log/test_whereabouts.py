"""What services are told of where devices are: who comes and what it says at once, who went after the leave delay."""

from __future__ import annotations

from django.db import transaction
from pytest_django import Settings

from apps_registry.models import Device
from messaging.log import presence, whereabouts
from messaging.log.effects import Effects
from messaging.log.presence import Arrival, Departure, NoticeGiven, Polling
from messaging.models import Presence
from tests.conftest import World

LONG_AGO = "2020-01-01T00:00:00Z"


def enter(device: Device, state: str = "foreground", seq: int = 1) -> list[int]:
    """The apps whose services are told."""
    effects = Effects()
    with transaction.atomic():
        presence.enter([Arrival(device.pk, state, seq, "pull", "node-1")], effects)
    return effects.presences


def notice(device: Device, state: str, seq: int) -> list[int]:
    effects = Effects()
    with transaction.atomic():
        presence.notice([NoticeGiven(device.pk, state, seq)], effects)
    return effects.presences


def leave(device: Device) -> list[int]:
    effects = Effects()
    with transaction.atomic():
        presence.leave([Departure(device.pk, Presence.objects.get(device=device).generation)], effects)
    return effects.presences


def delay_is_over(*devices: Device) -> None:
    """As if they had been heard of last long ago."""
    Presence.objects.filter(device__in=devices).update(last_seen=LONG_AGO)


def told_by_round(**options: int) -> list[tuple[str, str]]:
    told = Presence.objects.filter(device__in=whereabouts.tell_due(Effects(), **options))
    return list(told.values_list("device__name", "told_state"))


def test_who_comes_and_who_says_where_it_is_is_told_of_at_once(world: World, phone: Device) -> None:
    told = [enter(phone), notice(phone, "background", 2), notice(phone, "foreground", 3)]

    assert told == [[world.app.pk]] * 3
    assert told_by_round() == []


def test_who_stays_away_is_told_of_when_the_delay_is_over_and_once(world: World, phone: Device) -> None:
    enter(phone)

    at_the_end = leave(phone)
    too_early = told_by_round()
    delay_is_over(phone)
    effects = Effects()
    told = whereabouts.tell_due(effects)

    assert (at_the_end, too_early, told) == ([], [], [phone.pk])
    row = Presence.objects.get(device=phone)
    assert list(Presence.objects.as_told()) == [(phone.pk, "phone", "offline", row.changed_at, row.told_at)]
    assert effects.presences == [world.app.pk]
    assert told_by_round() == []


def test_a_quick_return_tells_nothing(phone: Device) -> None:
    enter(phone)
    leave(phone)

    back = enter(phone)
    delay_is_over(phone)

    assert (back, told_by_round()) == ([], [])


def test_a_quick_return_in_another_state_tells_that_state_alone(world: World, phone: Device) -> None:
    enter(phone, "foreground")
    leave(phone)

    back = enter(phone, "background", 2)

    assert back == [world.app.pk]
    assert Presence.objects.get(device=phone).told_state == "background"


def test_a_return_after_the_delay_is_told(world: World, phone: Device) -> None:
    enter(phone)
    leave(phone)
    delay_is_over(phone)
    told_by_round()

    assert enter(phone) == [world.app.pk]


def test_a_return_by_polling_counts_as_any_other(world: World, phone: Device) -> None:
    def poll() -> list[int]:
        effects = Effects()
        with transaction.atomic():
            presence.poll([Polling(phone.pk)], effects)
        return effects.presences

    first = poll()
    again = poll()

    assert (first, again) == ([world.app.pk], [])


def test_who_was_held_by_a_killed_process_is_told_of_by_any_other(phone: Device) -> None:
    enter(phone)
    delay_is_over(phone)

    before = told_by_round()
    presence.expire(Effects(), lease=60)

    assert (before, told_by_round()) == ([], [("phone", "offline")])


def test_the_delay_is_a_setting(phone: Device, settings: Settings) -> None:
    settings.MEANWHILE_LEAVE_DELAY = 0
    enter(phone)
    leave(phone)

    assert told_by_round() == [("phone", "offline")]


def test_a_round_is_bounded(world: World) -> None:
    devices = [world.device(f"d{n}") for n in range(5)]
    for device in devices:
        enter(device)
        leave(device)
    delay_is_over(*devices)

    assert [len(told_by_round(most=3)) for _ in range(3)] == [3, 2, 0]


def test_services_read_what_was_told_not_what_is(world: World, phone: Device) -> None:
    enter(phone)
    came = Presence.objects.get(device=phone).told_at
    leave(phone)

    rows = list(Presence.objects.changes(app_id=world.app.pk, after=(came, 0)))

    assert rows == [(phone.pk, "phone", "foreground", came, came)]
