from django.http import HttpResponse
from django.urls import path

urlpatterns = [
    path("", lambda request: HttpResponse('<!doctype html><title>Clock</title><a href="/time">time</a>')),
    path("time", lambda request: HttpResponse("noon", content_type="text/plain")),
]
