from django.urls import path

from messaging.demo import views

urlpatterns = [
    path("", views.index, name="test-client"),
    path("demo/device", views.device),
    path("demo/publish", views.publish),
    path("demo/results", views.results),
]
