from django.http import HttpResponse
from django.shortcuts import redirect
from django.template import engines
from django.urls import path

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Django and its forms</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 36rem; margin: 3rem auto; padding: 0 1rem; }
  dt { font-weight: 500; } dd { margin: 0; font-family: ui-monospace, monospace; }
</style>
</head>
<body>
<h1>{% if name %}Signed by {{ name }}{% else %}Nobody has signed{% endif %}</h1>
<form method="post" action="/sign">{% csrf_token %}
<label>Your name <input name="name" value="Ada" required></label> <button id="sign">Sign</button>
</form>
<dl><dt>This app thinks it is at</dt><dd id="base">{{ base }}</dd></dl>
</body>
</html>"""


def index(request):
    context = {"name": request.session.get("name"), "base": request.build_absolute_uri("/")}
    return HttpResponse(engines["django"].from_string(PAGE).render(context, request))


def sign(request):
    request.session["name"] = request.POST["name"][:80]
    return redirect("/")


urlpatterns = [path("", index), path("sign", sign)]
