"""The tables: what is delivered, and the proof."""

from messaging.models.idempotency import IdempotentAnswer
from messaging.models.latest import LatestReceipt, LatestValue
from messaging.models.lineage import Lineage
from messaging.models.message import Gap, GapReason, Message
from messaging.models.online import OnlineDue, RoomOnline
from messaging.models.presence import Presence, PresenceState, Resume, ResumeOutcome
from messaging.models.result import Feed, Result, ResultStatus
from messaging.models.storage import AppStorage, StorageChange
from messaging.models.stream import Stream, StreamKind, new_epoch
from messaging.models.subscription import Subscription, SubscriptionQuerySet
from messaging.models.webhook import DeliveryState, FallenBehind, WebhookDelivery, WebhookEvent, WebhookPresence

__all__ = [
    "AppStorage",
    "DeliveryState",
    "FallenBehind",
    "Feed",
    "Gap",
    "GapReason",
    "IdempotentAnswer",
    "LatestReceipt",
    "LatestValue",
    "Lineage",
    "Message",
    "OnlineDue",
    "Presence",
    "PresenceState",
    "Result",
    "ResultStatus",
    "Resume",
    "ResumeOutcome",
    "RoomOnline",
    "StorageChange",
    "Stream",
    "StreamKind",
    "Subscription",
    "SubscriptionQuerySet",
    "WebhookDelivery",
    "WebhookEvent",
    "WebhookPresence",
    "new_epoch",
]
