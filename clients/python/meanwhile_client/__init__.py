"""A client of Meanwhile for asyncio: `Service` publishes and hears of results, `Device` handles what it gets."""

from meanwhile_client.device import Device
from meanwhile_client.errors import ConnectionLost, MeanwhileError
from meanwhile_client.items import Gap, Latest, Message, Stopped, Transient
from meanwhile_client.service import Service
from meanwhile_client.store import FileStore, MemoryStore, Store

__all__ = [
    "ConnectionLost",
    "Device",
    "FileStore",
    "Gap",
    "Latest",
    "MeanwhileError",
    "MemoryStore",
    "Message",
    "Service",
    "Stopped",
    "Store",
    "Transient",
]
