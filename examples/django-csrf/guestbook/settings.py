"""Without a database: the session is in its signed cookie. The line that tells Django about https is missing; README.md
is the story of that line."""
import os

import django

DEBUG = True
SECRET_KEY = os.environ.get("SECRET_KEY") or os.urandom(32).hex()
ROOT_URLCONF = "guestbook.urls"
# The line that Lintel names goes here.

SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
# Django compares Origin since 4.0; guestbook/csrf.py does the same for Debian 12's 3.2.
CSRF = "django.middleware.csrf.CsrfViewMiddleware" if django.VERSION >= (4,) else "guestbook.csrf.OriginCheck"
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware", CSRF]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates",
              "OPTIONS": {"context_processors": ["django.template.context_processors.request"]}}]
