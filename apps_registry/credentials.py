"""Service keys: `mw_<prefix>_<secret>`. PURE. The prefix finds the key, of the secret only a digest is stored.

A plain SHA-256 is enough: the secret is 256 random bits, there is nothing to guess that a slow hash would protect.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from typing import NamedTuple

PREFIX_ALPHABET = string.digits + string.ascii_lowercase
SECRET_ALPHABET = string.digits + string.ascii_letters
PREFIX_LENGTH = 12
SECRET_LENGTH = 43

# Letters and digits alone: a double click selects all of it, and "_" separates the parts for certain.
_KEY = re.compile(rf"mw_([0-9a-z]{{{PREFIX_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})")


class NewKey(NamedTuple):
    text: str
    prefix: str
    digest: str


def make() -> NewKey:
    """A new key: the text for its owner (to be shown once), prefix and digest to store."""
    prefix = _random(PREFIX_ALPHABET, PREFIX_LENGTH)
    secret = _random(SECRET_ALPHABET, SECRET_LENGTH)
    return NewKey(f"mw_{prefix}_{secret}", prefix, digest(secret))


def parse(text: str) -> tuple[str, str] | None:
    """(prefix, secret) of what has the form of a key, else None."""
    match = _KEY.fullmatch(text)
    return (match[1], match[2]) if match else None


def digest(secret: str) -> str:
    """SHA-256 in 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret: str, stored_digest: str) -> bool:
    """True if the digest is this secret's; takes the same time wherever they differ."""
    return hmac.compare_digest(digest(secret).encode(), stored_digest.encode())


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
