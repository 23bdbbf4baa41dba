from __future__ import annotations

from django.urls import path

from messaging.api import (
    acks,
    app,
    device,
    devices,
    health,
    memberships,
    message_state,
    metrics,
    problems,
    results,
    schema,
    service_accounts,
    service_messages,
    streams,
    types,
    webhooks,
)

urlpatterns = [
    # For devices.
    path("api/v1/pending", device.Pending.as_view()),
    path("api/v1/acks", acks.Acks.as_view()),
    path("api/v1/notices", device.Notices.as_view()),
    path("api/v1/me", device.Me.as_view()),
    path("api/v1/me/streams/<str:stream>", memberships.Membership.as_view()),
    # For both: devices POST, services GET.
    path("api/v1/results", results.Results.as_view()),
    # For services.
    path("api/v1/messages", service_messages.Messages.as_view()),
    path("api/v1/messages/<str:stream>/<int:offset>", message_state.MessageState.as_view()),
    path("api/v1/devices", devices.Devices.as_view()),
    path("api/v1/devices/<str:device>", devices.OneDevice.as_view()),
    path("api/v1/devices/<str:device>/token", devices.Token.as_view()),
    path("api/v1/devices/<str:device>/revoke", devices.Revoke.as_view()),
    path("api/v1/streams", streams.Streams.as_view()),
    path("api/v1/streams/<str:stream>", streams.OneStream.as_view()),
    path("api/v1/streams/<str:stream>/members/<str:device>", streams.Member.as_view()),
    path("api/v1/streams/<str:stream>/purge", streams.Purge.as_view()),
    path("api/v1/streams/<str:stream>/close", streams.Close.as_view()),
    path("api/v1/types", types.Types.as_view()),
    path("api/v1/types/<str:name>", types.OneType.as_view()),
    path("api/v1/webhooks", webhooks.Webhooks.as_view()),
    path("api/v1/webhooks/<str:webhook>", webhooks.OneWebhook.as_view()),
    path("api/v1/webhooks/<str:webhook>/secret", webhooks.Secret.as_view()),
    path("api/v1/webhooks/<str:webhook>/test", webhooks.Test.as_view()),
    path("api/v1/webhooks/<str:webhook>/deliveries", webhooks.Deliveries.as_view()),
    path("api/v1/webhooks/<str:webhook>/deliveries/<str:delivery>/retry", webhooks.Retry.as_view()),
    path("api/v1/app", app.OwnApp.as_view()),
    path("api/v1/services", service_accounts.Services.as_view()),
    path("api/v1/keys", service_accounts.Keys.as_view()),
    path("api/v1/keys/<str:prefix>", service_accounts.OneKey.as_view()),
    path("api/v1/keys/<str:prefix>/rotate", service_accounts.Rotate.as_view()),
    # For people and tools.
    path("api/schema", schema.Schema.as_view(), name="schema"),
    path("api/docs", schema.Docs.as_view(url_name="schema")),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", metrics.metrics),
    # What comes here with `Upgrade` never gets as far as Django (config/asgi.py).
    path("ws/device", problems.upgrade_required),
    path("ws/service", problems.upgrade_required),
]
