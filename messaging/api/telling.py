"""How rows are told: the members of answers that more than one view gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from messaging.models import Presence
from messaging.protocol import wire


def moment(at: datetime | None) -> str | None:
    return wire.instant(at) if at else None


def presence(row: Presence | None) -> dict[str, Any]:
    """Where a device is; one that never came is offline."""
    row = row or Presence()
    return {
        "state": row.state,
        "state_seq": row.state_seq,
        "generation": row.generation,
        "last_seen": moment(row.last_seen),
        "connected_at": moment(row.connected_at),
    }
