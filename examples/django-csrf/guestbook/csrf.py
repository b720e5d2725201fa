"""The check of Origin that Django has had since 4.0, for Django 3.2: a form must come from the address that the app
believes to have, or from one in CSRF_TRUSTED_ORIGINS."""
from django.conf import settings
from django.middleware.csrf import CsrfViewMiddleware


class OriginCheck(CsrfViewMiddleware):
    def process_view(self, request, callback, args, kwargs):
        origin = request.META.get("HTTP_ORIGIN")
        safe = request.method in ("GET", "HEAD", "OPTIONS", "TRACE") or getattr(callback, "csrf_exempt", False)
        own = f"{'https' if request.is_secure() else 'http'}://{request.get_host()}"
        if origin and not safe and origin not in (own, *settings.CSRF_TRUSTED_ORIGINS):
            return self._reject(request, f"Origin checking failed - {origin} does not match any trusted origins.")
        return super().process_view(request, callback, args, kwargs)
