"""The API's description."""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from messaging.protocol.codes import CODES
from tests.api.test_tenants import ALL

CREDENTIALS = {"device": "deviceToken", "publish": "serviceKey", "read": "serviceKey", "manage": "serviceKey"}


def test_the_description_is_valid_and_complete() -> None:
    """`spectacular` ends with an error at the first warning."""
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=io.StringIO())


@pytest.fixture(scope="module")
def described() -> dict:
    return SchemaGenerator().get_schema(request=None, public=True)


def test_every_operation_is_described_with_its_credential_and_refusals(described: dict) -> None:
    operations = {
        (method.upper(), path): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }
    assert len(operations) == len(ALL)
    for case in ALL:
        (operation,) = [
            found
            for (method, path), found in operations.items()
            if method == case.method and same(path, f"/api/v1/{case.path}")
        ]
        assert operation["security"] == [{CREDENTIALS[case.by]: []}]
        refusals = {status for status in operation["responses"] if int(status) >= 400}
        assert {"401", "403", "500", "503"} <= refusals
        for status in refusals:
            assert list(operation["responses"][status]["content"]) == ["application/problem+json"]


def test_every_operation_has_a_summary_of_its_own_and_stands_with_its_own_kind(described: dict) -> None:
    """Swagger UI shows the summary beside the path, and a part per tag."""
    operations = [operation for methods in described["paths"].values() for operation in methods.values()]

    summaries = [operation.get("summary", "") for operation in operations]

    assert len(set(summaries)) == len(summaries) == len(ALL)
    for summary in summaries:
        assert 0 < len(summary) <= 60, summary
        assert summary[0].isupper(), summary
        assert not summary.endswith("."), summary
    parts = {"deviceToken": "For devices", "serviceKey": "For services"}
    for operation in operations:
        (credential,) = operation["security"][0]
        assert operation["tags"] == [parts[credential]]
    assert sorted(tag["name"] for tag in described["tags"]) == sorted(parts.values())


def test_the_description_of_an_operation_names_the_scope_it_needs(described: dict) -> None:
    for case in ALL:
        (operation,) = [
            methods[case.method.lower()]
            for path, methods in described["paths"].items()
            if same(path, f"/api/v1/{case.path}") and case.method.lower() in methods
        ]
        said = operation.get("description", "")

        assert said.count("Scope: ") == (case.by != "device")
        assert said.endswith(f"Scope: {case.by}.") == (case.by != "device")
        # The words for whoever writes views stay inside.
        assert "SERVICE_KEY" not in said
        assert "DEVICE_TOKEN" not in said


def same(template: str, path: str) -> bool:
    parts, others = template.split("/"), path.split("/")
    return len(parts) == len(others) and all(a == b or a.startswith("{") for a, b in zip(parts, others, strict=True))


def test_the_refusals_named_are_codes_of_the_registry(described: dict) -> None:
    for methods in described["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    codes = response["description"].partition(": ")[2].rstrip(".").split(", ")
                    assert {CODES[code].status for code in codes} == {int(status)}


@pytest.mark.django_db
def test_it_is_served_and_can_be_browsed() -> None:
    schema = Client().get("/api/schema")
    docs = Client().get("/api/docs")

    assert schema.status_code == 200
    assert b"openapi: 3" in schema.content
    assert docs.status_code == 200
    assert b"swagger-ui" in docs.content
    assert b"cdn." not in docs.content
    assert Client().options("/api/docs").status_code == 405
