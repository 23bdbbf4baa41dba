from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("messaging.api.urls")),
    path("", include("messaging.demo.urls")),
]

handler400 = "messaging.api.problems.bad_request"
handler404 = "messaging.api.problems.not_found"
handler500 = "messaging.api.problems.server_error"
