"""Who is the client of a request, for WSGI and ASGI apps: Lintel's trust engine.

    app.wsgi_app = lintel_forwarded.ProxyFix(app.wsgi_app, trusted=["127.0.0.1"], x_for=1, x_proto=1)     # Flask
    app.add_middleware(lintel_forwarded.ProxyFixASGI, trusted=["127.0.0.1"])                              # FastAPI
    application = lintel_forwarded.Forwarded(application, trusted=["10.0.0.0/8"], source="x-forwarded")   # any WSGI
"""
from ._library import Engine, Fix, Fixed, Identity, Refused, is_managed, version
from .asgi import ForwardedASGI, ProxyFixASGI
from .wsgi import Forwarded, ProxyFix

__version__ = version()
__all__ = ["Engine", "Fix", "Fixed", "Forwarded", "ForwardedASGI", "Identity", "ProxyFix", "ProxyFixASGI", "Refused",
           "is_managed"]
