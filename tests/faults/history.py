"""What happened, as those who took part saw it: the auditor's only input.

An actor writes an event before it does what may have an effect (Asked, Reported, Wants, Removable), and after it heard
of one (Confirmed, Saved, Agreed). So the order of two events of one actor is the order in which they were true.
"""

from __future__ import annotations

from dataclasses import dataclass

# --- services --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """An `every` message is about to be published; `message` is its text and its id, used once.

    `mortal`: with a ttl so short that it may expire before somebody has it. `quiet`: its type requires no result.
    """

    service: str
    stream: str
    message: str
    mortal: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Confirmed:
    stream: str
    message: str
    offset: int


@dataclass(frozen=True, slots=True)
class Valued:
    """A `latest` value was confirmed."""

    stream: str
    key: str
    version: int


@dataclass(frozen=True, slots=True)
class Removable:
    """From now on these offsets may be told as a gap of this reason: somebody purged them, or let their time pass."""

    stream: str
    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True)
class Heard:
    """An item of a service's results feed."""

    service: str
    device: str
    stream: str
    first: int
    last: int
    status: str


@dataclass(frozen=True, slots=True)
class FeedRead:
    """The feed was read to its end, and nothing is under way: all that was ever confirmed must have been in it."""

    service: str


# --- devices ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Joined:
    """The device is in the stream: what is published above `at` is for it."""

    device: str
    stream: str
    at: int


@dataclass(frozen=True, slots=True)
class Adopted:
    """A store that has no position took the server's."""

    device: str
    stream: str
    at: int


@dataclass(frozen=True, slots=True)
class Came:
    """A welcome."""

    device: str
    generation: int


@dataclass(frozen=True, slots=True)
class Stands:
    """What the server says of a stream in its welcome, with which it answers the device's last Wants."""

    device: str
    stream: str
    processed: int
    received: int
    head: int


@dataclass(frozen=True, slots=True)
class Handed:
    """The app's handler began with a message."""

    device: str
    stream: str
    offset: int
    message: str


@dataclass(frozen=True, slots=True)
class Returned:
    """The handler is through with it, and the store knows."""

    device: str
    stream: str
    offset: int
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    """The handler failed on it, and the stream waits there: the store is where it was before, or is set back to it."""

    device: str
    stream: str
    offset: int


@dataclass(frozen=True, slots=True)
class WentOn:
    """The server's cursor was beyond what the stream waited at: so is the store."""

    device: str
    stream: str
    upto: int


@dataclass(frozen=True, slots=True)
class Told:
    """The app was told of a gap, and the store knows."""

    device: str
    stream: str
    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True)
class Killed:
    """The app was killed; its store is what it was."""

    device: str


@dataclass(frozen=True, slots=True)
class Reported:
    """Results are about to be sent. `stopped`: and the failure at which the stream waits."""

    device: str
    stream: str
    upto: int
    stopped: int | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """Results are confirmed. `stopped`: and that the stream waits there."""

    device: str
    stream: str
    processed: int
    stopped: int | None = None


@dataclass(frozen=True, slots=True)
class Wants:
    """The device is about to say which state it is in."""

    device: str
    state: str


@dataclass(frozen=True, slots=True)
class Agreed:
    """The server confirmed the state."""

    device: str
    state: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A `latest` value reached the device."""

    device: str
    stream: str
    key: str
    version: int


@dataclass(frozen=True, slots=True)
class Passed:
    """A `transient` message reached the device."""

    device: str
    stream: str


@dataclass(frozen=True, slots=True)
class Settled:
    """The device is in the foreground, connected, and nothing is under way: it must have all there is."""

    device: str


# --- operators -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decreed:
    """What a failure does from now on, where its type may stop: whether the stream waits, or goes on."""

    stops: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """Where the admin says that a device waits in a stream."""

    device: str
    stream: str
    offset: int | None


@dataclass(frozen=True, slots=True)
class Restored:
    """An older database was put back: what the stream had above `head` is history that was lost."""

    stream: str
    head: int


Event = (
    Asked
    | Confirmed
    | Valued
    | Removable
    | Heard
    | FeedRead
    | Joined
    | Adopted
    | Came
    | Stands
    | Handed
    | Returned
    | Stopped
    | WentOn
    | Told
    | Killed
    | Reported
    | Saved
    | Wants
    | Agreed
    | Shown
    | Passed
    | Settled
    | Decreed
    | Waiting
    | Restored
)
