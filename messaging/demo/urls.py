from django.urls import path

from messaging.demo import live_room, views

urlpatterns = [
    path("", views.index, name="test-client"),
    path("demo/device", views.device),
    path("demo/publish", views.publish),
    path("demo/results", views.results),
    path("live-room/", live_room.index, name="live-room"),
    path("demo/live-room/device", live_room.device),
    path("demo/live-room/publish", live_room.publish),
    path("demo/live-room/close", live_room.close),
    path("demo/live-room/room", live_room.room),
]
