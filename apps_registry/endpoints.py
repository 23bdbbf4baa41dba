"""Where webhooks may go. PURE: the words of a URL, and addresses; whoever connects resolves names and asks here."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

LONGEST_URL = 2048

#: Where clouds tell a machine its own credentials: no webhook has business there, whatever the settings say.
METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)

#: NAT64: the last four bytes are an IPv4 address.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: A backslash, a space or a control character means one thing to one reader of URLs and another to the next.
_PLAIN = re.compile(r"[!-\[\]-~]+")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def url_problem(url: str) -> str:
    """Why this is no URL for a webhook; "" if it is one."""
    if len(url) > LONGEST_URL:
        return f"At most {LONGEST_URL} characters."
    if not _PLAIN.fullmatch(url):
        return "Printable ASCII only, without spaces and backslashes (host names in punycode, the rest %-encoded)."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "This is not a URL."
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        return "Say https://host/path or http://host/path."
    if parts.username is not None or parts.password is not None:
        return "No user name and password: the signature says who we are."
    if parts.fragment:
        return "No fragment."
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return address_problem(address, private_allowed=True)


def address_problem(address: Address, *, private_allowed: bool) -> str:
    """Why no webhook goes to this address; "" if one may. Looks through IPv6 forms of IPv4 addresses."""
    for one in (address, *_within(address)):
        if one in METADATA or one.is_link_local or one.is_multicast or one.is_unspecified or _broadcast(one):
            return "Not to this address: link-local, metadata, multicast and unspecified ones are never called."
        if not private_allowed and not one.is_global:
            return "Not to a private address (MEANWHILE_WEBHOOK_PRIVATE)."
    return ""


def _within(address: Address) -> list[ipaddress.IPv4Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


def _broadcast(address: Address) -> bool:
    return address == ipaddress.IPv4Address("255.255.255.255")
