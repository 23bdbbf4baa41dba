from __future__ import annotations

import io
import re
import socket

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError

from apps_registry.models import App, MessageType, Service, ServiceKey
from apps_registry.services import MOST_KEYS, authenticate_key, create_key, set_type
from messaging.demo.content import APP
from messaging.models import Stream

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    said = io.StringIO()
    call_command("setup_demo", *arguments, stdout=said)
    return said.getvalue()


def test_it_makes_the_app_with_its_services_types_and_room() -> None:
    run()

    assert list(Service.objects.filter(app__name="demo").values_list("name", flat=True)) == [
        "game",
        "room-host",
        "weather",
    ]
    assert dict(MessageType.objects.filter(app__name="demo").values_list("name", "delivery")) == {
        "walk": "every",
        "turn": "every",
        "sit": "every",
        "weather": "latest",
        "gift": "every",
        "chat": "transient",
    }
    assert Stream.objects.filter(app__name="demo", name="room:lobby", kind="room").exists()


def test_it_makes_the_live_room_scene_with_a_rate_and_priorities() -> None:
    run()

    types = MessageType.objects.filter(app__name="live-room")
    assert {one.name: (one.delivery, one.priority, one.ttl_seconds) for one in types} == {
        "chat": ("transient", "low", None),
        "gift": ("every", "normal", None),
        "packet": ("every", "normal", None),
        "quiz": ("every", "normal", 20),
        "command": ("every", "control", None),
        "room.online": ("latest", "normal", None),
    }
    assert App.objects.get(name="live-room").room_rate == 20
    assert list(Service.objects.filter(app__name="live-room").values_list("name", flat=True)) == ["show"]


def test_it_prints_the_addresses_of_test_client_admin_and_api_docs() -> None:
    said = run("127.0.0.1:8123")

    assert "http://127.0.0.1:8123/\n" in said
    assert "http://127.0.0.1:8123/admin/\n" in said
    assert "http://127.0.0.1:8123/api/docs\n" in said


def test_the_admin_login_has_a_random_password_that_is_printed_once() -> None:
    first, second = run(), run()

    password = re.search(r"admin / (\S+)", first)[1]
    admin = get_user_model().objects.get(username="admin")
    assert len(password) >= 16
    assert admin.is_superuser
    assert admin.check_password(password)
    assert password not in second
    assert "changepassword admin" in second


def test_an_admin_that_was_there_is_left_alone() -> None:
    get_user_model().objects.create_superuser("admin", password="made by somebody else")

    said = run()

    assert "admin /" not in said
    assert get_user_model().objects.get(username="admin").check_password("made by somebody else")


def test_the_key_of_the_game_service_works_and_is_printed_once() -> None:
    first, second = run(), run()

    key = re.search(r"Bearer (mw_[^']+)'", first)[1]
    assert str(authenticate_key(key).service) == "demo/game"
    assert "Bearer" not in second


def test_run_again_it_keeps_what_was_changed_in_the_admin() -> None:
    run()
    set_type(app=App.objects.get(name="demo"), name="weather", delivery="every")
    Service.objects.get(name="weather").delete()

    run()

    assert MessageType.objects.get(name="weather").delivery == "every"
    assert Service.objects.filter(app__name="demo").count() == 3


def test_a_taken_port_is_said_before_anything_is_made_or_promised() -> None:
    said = io.StringIO()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(CommandError, match=rf"127\.0\.0\.1:{port} .*PORT"):
            call_command("setup_demo", f"127.0.0.1:{port}", "--serve", stdout=said)

    assert said.getvalue() == ""
    assert not App.objects.exists()


@pytest.mark.parametrize("address", ["127.0.0.1:nine", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:"])
def test_a_port_that_is_none_is_said(address: str) -> None:
    with pytest.raises(CommandError, match=r"PORT=8001"):
        call_command("setup_demo", address, "--serve")
    assert not App.objects.exists()


def test_without_the_flag_it_says_that_the_page_will_not_be_shown(settings) -> None:
    settings.MEANWHILE_DEMO = False

    assert "MEANWHILE_DEMO=1" in run()


def test_demo_traffic_says_when_its_service_has_all_its_keys() -> None:
    run()
    service = Service.objects.filter(app__name=APP).order_by("pk").first()
    assert service
    while ServiceKey.objects.filter(service=service, revoked_at=None).count() < MOST_KEYS:
        create_key(service=service, scopes=["publish"])

    with pytest.raises(CommandError, match=f"at most {MOST_KEYS} keys"):
        call_command("demo-traffic")
