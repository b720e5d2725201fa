from django.urls import path

from shop import views

urlpatterns = [
    path("", views.index),
    path("login", views.login),
    path("account", views.account, name="account"),
    path("order", views.order),
]
