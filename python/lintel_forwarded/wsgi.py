"""WSGI middleware (Flask, Django, any WSGI app)."""
from ._common import Policy, answer_of, managed
from ._library import Fix, Refused

VARIABLES = ("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME")


def _octets(value):
    # Werkzeug's own server gives REMOTE_PORT as a number.
    return str(value or "").encode("latin-1", "replace")


def _header_name(key):
    return key[5:].replace("_", "-").encode("latin-1", "replace")


def _managed_keys(environ):
    return [key for key in environ if key.startswith("HTTP_") and managed(_header_name(key))]


def _refuse(refused, peer, start_response):
    status, phrase, headers, body = answer_of(refused, peer)
    start_response(f"{status} {phrase}", headers)
    return [body]


class ProxyFix:
    """Werkzeug's ProxyFix, but only for the peers in `trusted`, and only with values that are valid.

    Of any other peer the socket's facts stay, and the headers that apps believe (X-Forwarded-*, Forwarded, X-Real-IP,
    ...) are removed. A trusted peer's invalid header is answered with 400. docs/library.md lists the differences.
    """

    def __init__(self, app, trusted, x_for=1, x_proto=1, x_host=0, x_port=0, x_prefix=0, i_know=False):
        self.app = app
        self.fix = Fix(trusted, x_for, x_proto, x_host, x_port, x_prefix, i_know)

    def __call__(self, environ, start_response):
        peer = environ.get("REMOTE_ADDR") or ""
        if not self.fix.trusts(peer):
            for key in _managed_keys(environ):
                del environ[key]
            return self.app(environ, start_response)
        environ["werkzeug.proxy_fix.orig"] = {key: environ.get(key) for key in VARIABLES if key != "REMOTE_PORT"}
        given = [_octets(environ.get(key)) for key in VARIABLES]
        fields = [(_header_name(key), _octets(value)) for key, value in environ.items()
                  if key.startswith("HTTP_X_FORWARDED_")]
        try:
            fixed = self.fix.apply(given, fields)
        except Refused as refused:
            return _refuse(refused, peer, start_response)
        for key, before, after in zip(VARIABLES, given, fixed):
            if after.encode("latin-1") != before:
                environ[key] = after
        if not fixed.remote_port:
            environ.pop("REMOTE_PORT", None)
        return self.app(environ, start_response)


class Forwarded(Policy):
    """The whole trust engine. The app is told what a proxy of Lintel's would tell it: REMOTE_ADDR, wsgi.url_scheme,
    HTTP_HOST, SERVER_NAME, SERVER_PORT and SCRIPT_NAME speak of the client; every header that apps believe is removed
    and X-Forwarded-* written anew, one value each; environ["lintel.identity"] has the Identity. A request that must not
    be served is answered with 400 or 421 and its code in X-Lintel-Error."""

    def __call__(self, environ, start_response):
        peer = environ.get("REMOTE_ADDR") or ""
        fields = [(_header_name(key), _octets(value)) for key, value in environ.items() if key.startswith("HTTP_")]
        try:
            identity = self.engine.identify(peer, fields, _octets(environ.get("HTTP_HOST")),
                                            https=environ.get("wsgi.url_scheme") == "https",
                                            peer_port=_port(environ.get("REMOTE_PORT")),
                                            local_port=_port(environ.get("SERVER_PORT")))
        except Refused as refused:
            return _refuse(refused, peer, start_response)
        for key in [key for key in environ if key.startswith("HTTP_")]:
            if self.engine.removes(peer, _header_name(key)):
                del environ[key]
        for name, value in identity.headers:
            environ["HTTP_" + name.upper().replace("-", "_")] = value
        environ.update({"wsgi.url_scheme": identity.scheme, "HTTP_HOST": identity.authority,
                        "SERVER_NAME": identity.host, "SERVER_PORT": str(identity.port), "lintel.identity": identity})
        if identity.client:
            environ["REMOTE_ADDR"] = identity.client
        if identity.client_port:
            environ["REMOTE_PORT"] = str(identity.client_port)
        else:
            environ.pop("REMOTE_PORT", None)
        if identity.prefix:
            environ["SCRIPT_NAME"] = identity.prefix
        return self.app(environ, start_response)


def _port(value):
    text = str(value or "")
    return int(text) if text.isascii() and text.isdigit() and int(text) < 65536 else 0
