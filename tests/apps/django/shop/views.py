from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse


def index(request):
    return render(request, "index.html", {"logo": request.build_absolute_uri("/static/logo.png")})


def login(request):
    request.session["user"] = "ada"
    return redirect(request.build_absolute_uri(reverse("account")))


def account(request):
    return JsonResponse({"user": request.session.get("user"), "address": request.META["REMOTE_ADDR"]})


def order(request):
    if request.method == "POST":
        return HttpResponse("ordered")
    return render(request, "order.html")
