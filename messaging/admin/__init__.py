"""The monitors: what waits for whom, and why. One file each; importing them registers them."""

from messaging.admin import dashboard, devices, gaps, results, resumes, storage, streams, webhooks

__all__ = ["dashboard", "devices", "gaps", "results", "resumes", "storage", "streams", "webhooks"]
