"""Who calls the API in tests: a device or a service with its credential, speaking JSON."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpResponse
from django.test import Client

from apps_registry import services
from apps_registry.devices import issue_token
from apps_registry.models import Device, Service


class Caller:
    """`answer = phone.get("/api/v1/me")`; `answer.json()` is what the server said."""

    def __init__(self, credential: str = "") -> None:
        self._client = Client(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {credential}"} if credential else {}

    def get(self, path: str, **query: Any) -> HttpResponse:
        return self._client.get(path, query, headers=self.headers)

    def post(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        return self.call("POST", path, body, **headers)

    def put(self, path: str) -> HttpResponse:
        return self.call("PUT", path)

    def patch(self, path: str, body: Any) -> HttpResponse:
        return self.call("PATCH", path, body)

    def delete(self, path: str) -> HttpResponse:
        return self.call("DELETE", path)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        """A body that is text or bytes goes out as it is."""
        raw = b"" if body is None else body if isinstance(body, str | bytes) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.generic(
            method, path, raw, content_type="application/json", headers={**self.headers, **named}
        )


def device_caller(device: Device) -> Caller:
    return Caller(issue_token(device=device, life=3600)[0])


def service_caller(service: Service, *scopes: str) -> Caller:
    """With a key of these scopes, all of them where none is named."""
    return Caller(services.create_key(service=service, scopes=scopes or services.ALL_SCOPES)[1])


def problem(answer: HttpResponse) -> tuple[int, str]:
    """Status and code of a refusal, which must be a whole RFC 9457 problem."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.content
    said = answer.json()
    assert {"type", "title", "status", "detail", "code", "temporary"} <= said.keys()
    assert said["status"] == answer.status_code
    assert said["type"] == f"urn:meanwhile:error:{said['code']}"
    return answer.status_code, said["code"]
