from django.urls import path

from messaging.consumers.device import DeviceConsumer
from messaging.consumers.service import ServiceConsumer

websocket_urlpatterns = [
    path("ws/device", DeviceConsumer.as_asgi()),
    path("ws/service", ServiceConsumer.as_asgi()),
]
