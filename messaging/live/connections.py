"""How many sockets an app may have open: over all processes where Redis is there, else in this one."""

from __future__ import annotations

from collections import Counter

from messaging.live.shared import Shared

#: Seconds a process's numbers count without being renewed: it may have been killed.
LEASE = 40

_ENTER = """
local limit, mine = tonumber(ARGV[3]), tonumber(ARGV[2])
local now = tonumber(redis.call('TIME')[1])
local others = 0
local all = redis.call('HGETALL', KEYS[1])
for place = 1, #all, 2 do
  local count, ends = string.match(all[place + 1], '(%d+):(%d+)')
  if tonumber(ends) < now then redis.call('HDEL', KEYS[1], all[place])
  elseif all[place] ~= ARGV[1] then others = others + tonumber(count) end
end
if limit > 0 and others + mine > limit then return {0} end
if mine > 0 then redis.call('HSET', KEYS[1], ARGV[1], mine .. ':' .. (now + tonumber(ARGV[4])))
else redis.call('HDEL', KEYS[1], ARGV[1]) end
redis.call('EXPIRE', KEYS[1], tonumber(ARGV[4]))
return {1}
"""


class Connections:
    """Counts on the loop; `permit` and `settle` ask Redis and belong into a thread."""

    def __init__(self, shared: Shared, node: str, limit: int) -> None:
        self._shared = shared
        self._node = node
        self._limit = limit
        self._here: Counter[int] = Counter()
        self._changed: set[int] = set()

    @property
    def common(self) -> bool:
        return self._shared.there

    def enter(self, app_id: int) -> bool:
        """Counts one more here; False, and not counted, if this process alone has the limit."""
        if self._here[app_id] >= self._limit:
            return False
        self._here[app_id] += 1
        return True

    def permit(self, app_id: int) -> bool:
        """Whether all processes together are within the limit, with what was entered here."""
        answer = self._shared.run(_ENTER, f"connections:{app_id}", self._node, self._here[app_id], self._limit, LEASE)
        return answer is None or bool(answer[0])

    def leave(self, app_id: int) -> None:
        """One less; other processes learn it within a repair interval."""
        self._here[app_id] -= 1
        self._changed.add(app_id)

    def settle(self, *, everything: bool = False) -> None:
        """Tells what has changed here, or renews everything."""
        changed, self._changed = self._changed, set()
        for app_id in [*self._here] if everything else changed:
            self._shared.run(_ENTER, f"connections:{app_id}", self._node, self._here[app_id], 0, LEASE)

    def count(self, app_id: int) -> int:
        """Of this process."""
        return self._here[app_id]
