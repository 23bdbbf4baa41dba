"""How much a key, a device, an app may ask for: token buckets, one for all processes where Redis is there.

A process takes tokens from the common bucket in small portions and spends them here, so that a publish costs no round
trip; never are more spent than the bucket gave. What a process took and did not spend within a second is lost.
"""

from __future__ import annotations

import math
import threading
import time
from typing import NamedTuple

from django.conf import settings

from messaging.live.shared import Shared
from messaging.protocol.bucket import Bucket
from messaging.protocol.errors import ProtocolError

#: A portion is this part of what may pass in a second, and is spent within so many seconds.
PART, FRESH = 20, 1.0
#: Buckets that are remembered; those that must be full again go first.
MOST = 10_000

_TAKE = """
local rate, cost, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = math.min(rate, (tonumber(kept[1]) or rate) + (now - (tonumber(kept[2]) or now)) * rate)
local missing = math.min(cost, rate) - tokens
if missing > 0 then return {0, math.floor(tokens), tostring(missing / rate)} end
local given = math.max(cost, math.min(wanted, math.floor(tokens)))
tokens = tokens - given
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((rate - tokens) / rate * 1000) + 1000)
return {given, math.floor(tokens), '0'}
"""


class Rule(NamedTuple):
    """So much a second, and as much at once. `policy`: its name in the RateLimit fields."""

    policy: str
    rate: int
    key: str


def rule(policy: str, who: int) -> Rule:
    """publish, read, manage: of a key; device: of a device; bytes: of an app. The rate is MEANWHILE_RATE_…"""
    return Rule(policy, getattr(settings, f"MEANWHILE_RATE_{policy.upper()}"), f"rate:{policy}:{who}")


class Verdict(NamedTuple):
    """`wait`: seconds until it may pass; 0: it has passed. `remaining`: what may still pass at once."""

    rule: Rule
    wait: float
    remaining: int

    def check(self) -> None:
        """Raises `rate_limited`."""
        if self.wait:
            raise ProtocolError(
                "rate_limited",
                f"{self.rule.policy}: {self.rule.rate} a second.",
                retry_after_ms=max(1, math.ceil(self.wait * 1000)),
            )

    def policy(self) -> str:
        """An item of the field RateLimit-Policy: the quota and its window."""
        return f'"{self.rule.policy}";q={self.rule.rate};w=1'

    def state(self) -> str:
        """An item of the field RateLimit: what remains, and in how many seconds there is more."""
        return f'"{self.rule.policy}";r={self.remaining};t={math.ceil(self.wait) or 1}'


class _Portion:
    """Tokens taken from the common bucket and not spent yet."""

    __slots__ = ("left", "remaining", "until")

    def __init__(self) -> None:
        self.left, self.remaining, self.until = 0, 0, 0.0


class Limits:
    """From any thread. `spend` may ask Redis; `spend_here` never does."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._lock = threading.Lock()
        self._buckets: dict[str, Bucket] = {}
        self._portions: dict[str, _Portion] = {}

    def spend(self, rule: Rule, cost: int = 1) -> Verdict:
        """Takes the cost, or says when it may be asked again. More than a second's worth passes when nothing else did
        for a second, and is owed.
        """
        verdict = self.spend_here(rule, cost)
        if verdict is not None:
            return verdict
        answer = self._shared.run(_TAKE, rule.key, rule.rate, cost, max(cost, rule.rate // PART))
        if answer is None:
            return self._alone(rule, cost)
        given, remaining, wait = int(answer[0]), max(int(answer[1]), 0), float(answer[2])
        with self._lock:
            portion = self._portions.setdefault(rule.key, _Portion())
            now = time.monotonic()
            if given:
                portion.left = (portion.left if portion.until > now else 0) + given - cost
                portion.until = now + FRESH
            portion.remaining = remaining
            self._forget()
            return Verdict(rule, wait, remaining + portion.left)

    def spend_here(self, rule: Rule, cost: int = 1) -> Verdict | None:
        """The verdict where this process can give it by itself, else None."""
        if not self._shared.there:
            return self._alone(rule, cost)
        with self._lock:
            portion = self._portions.get(rule.key)
            if portion is None or portion.left < cost or portion.until <= time.monotonic():
                return None
            portion.left -= cost
            return Verdict(rule, 0, portion.remaining + portion.left)

    def _alone(self, rule: Rule, cost: int) -> Verdict:
        now = time.monotonic()
        with self._lock:
            bucket = self._buckets.get(rule.key)
            if bucket is None:
                self._forget()
                bucket = self._buckets[rule.key] = Bucket(rate=rule.rate, burst=rule.rate, now=now)
            wait = bucket.spend(now, cost)
            return Verdict(rule, wait, max(int(bucket.tokens), 0))

    def _forget(self) -> None:
        """Under the lock. Old entries come first; one that is asked for again begins anew: at most a second's worth."""
        for entries in (self._buckets, self._portions):
            while len(entries) > MOST:
                del entries[next(iter(entries))]
