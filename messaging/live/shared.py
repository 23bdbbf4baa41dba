"""What processes count together: small scripts in Redis, where there is one. Without it each process counts alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import redis

logger = logging.getLogger("meanwhile.limits")

#: Seconds: what an answer may take, and how long nobody asks after there was none.
PATIENCE, PAUSE = 0.25, 5.0


class Shared:
    """Runs scripts atomically; from any thread but the loop's. Redis away: None, and everybody counts alone.

    identify: the installation's name, asked for until there is one. Several on one Redis have the same ids.
    """

    def __init__(self, url: str, identify: Callable[[], str]) -> None:
        self._identify = identify
        self._installation = ""
        self._redis = (
            redis.Redis.from_url(url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE) if url else None
        )
        self._away_until = 0.0

    @property
    def there(self) -> bool:
        return self._redis is not None and time.monotonic() >= self._away_until

    def _named(self, key: str) -> str:
        self._installation = self._installation or self._identify()
        return f"meanwhile:{self._installation}:{key}"

    def run(self, script: str, key: str, *arguments: Any) -> list[Any] | None:
        if self._redis is None or not self.there:
            return None
        try:
            answer: list[Any] = self._redis.eval(script, 1, self._named(key), *arguments)
        except redis.RedisError as error:
            self._away_until = time.monotonic() + PAUSE
            logger.warning("limits are counted per process for a while: %s", type(error).__name__)
            return None
        return answer

    def close(self) -> None:
        if self._redis is not None:
            self._redis.close()
