"""One POST: to an address that was looked at, within its time, without following anybody anywhere."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
import ssl

import certifi
import httpx
from django.conf import settings

from apps_registry.endpoints import Address, address_problem
from messaging.webhooks import schedule, signing
from messaging.webhooks.claims import Answer, Job

#: Addresses of a name that are tried.
MOST_ADDRESSES = 4
#: Characters of an error that is kept.
MOST_WORDS = 120


class Refused(Exception):
    """No address of the host may be called."""


def client() -> httpx.AsyncClient:
    """A new connection for each delivery: nothing is ever sent over one that was made for another host or has gone
    stale. Neither redirects nor proxies of the environment.
    """
    return httpx.AsyncClient(
        verify=_trusted(ssl.get_default_verify_paths()),
        follow_redirects=False,
        trust_env=False,
        timeout=settings.MEANWHILE_WEBHOOK_TIMEOUT,
        limits=httpx.Limits(max_keepalive_connections=0),
        headers={"user-agent": "Meanwhile", "content-type": "application/json", "accept-encoding": "identity"},
    )


@functools.lru_cache(maxsize=1)
def _trusted(system: ssl.DefaultVerifyPaths) -> ssl.SSLContext:
    """The system's authorities, which are looked for at these places, and certifi's. To read them takes 40 ms."""
    trusted = ssl.create_default_context()
    trusted.load_verify_locations(certifi.where())
    return trusted


async def post(client: httpx.AsyncClient, job: Job) -> Answer:
    """What the receiver answers. Of its body nothing is read; never raises for what a receiver or a URL does."""
    try:
        async with asyncio.timeout(settings.MEANWHILE_WEBHOOK_TIMEOUT):
            response = await _post(client, job)
    except TimeoutError:
        return Answer(error=f"no answer within {settings.MEANWHILE_WEBHOOK_TIMEOUT:g} s")
    except (Refused, httpx.ConnectError) as error:
        return Answer(error=str(error)[:MOST_WORDS] or "no connection")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        # What other errors say may repeat what the receiver sent.
        return Answer(error=f"no answer: {type(error).__name__}")
    answer = Answer(response.status_code, wait=schedule.retry_after(response.headers.get("retry-after"), job.at))
    if not answer.delivered:
        answer.error = f"HTTP {response.status_code}"
    return answer


async def _post(client: httpx.AsyncClient, job: Job) -> httpx.Response:
    """Names are resolved here and the address is what is connected to: what was looked at is what is called."""
    url = httpx.URL(job.url)
    host = url.raw_host.decode()
    signed = signing.headers(message_id=job.message_id, at=job.at, body=job.body, secrets=job.secrets)
    addresses = await _addresses(host, url.port or {"http": 80, "https": 443}[url.scheme])
    for place, address in enumerate(addresses, 1):
        request = client.build_request(
            "POST",
            url.copy_with(host=str(address)),
            content=job.body.encode(),
            headers={**signed, "host": url.netloc.decode()},
            extensions={"sni_hostname": host},
        )
        try:
            response = await client.send(request, stream=True)
        except httpx.ConnectError:
            if place == len(addresses):
                raise
        else:
            await response.aclose()
            return response
    raise Refused("the host has no address")


async def _addresses(host: str, port: int) -> list[Address]:
    """Those of the host that may be called. Raises Refused."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refused("the host name cannot be resolved") from None
    problem = "the host has no address"
    allowed: list[Address] = []
    for *_, place in found:
        address = ipaddress.ip_address(str(place[0]))
        problem = address_problem(address, private_allowed=settings.MEANWHILE_WEBHOOK_PRIVATE) or problem
        if not address_problem(address, private_allowed=settings.MEANWHILE_WEBHOOK_PRIVATE):
            allowed.append(address)
    if not allowed:
        raise Refused(problem)
    return list(dict.fromkeys(allowed))[:MOST_ADDRESSES]
