from __future__ import annotations

from django.urls import path

from messaging.api import device, devices, results, service_messages

urlpatterns = [
    # For devices.
    path("api/v1/pending", device.Pending.as_view()),
    path("api/v1/notices", device.Notices.as_view()),
    path("api/v1/me", device.Me.as_view()),
    # For both: devices POST, services GET.
    path("api/v1/results", results.Results.as_view()),
    # For services.
    path("api/v1/messages", service_messages.Messages.as_view()),
    path("api/v1/devices", devices.Devices.as_view()),
    path("api/v1/devices/<str:device>", devices.OneDevice.as_view()),
    path("api/v1/devices/<str:device>/token", devices.Token.as_view()),
    path("api/v1/devices/<str:device>/revoke", devices.Revoke.as_view()),
]
