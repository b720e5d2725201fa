"""The Python package lintel_forwarded in real apps: Flask and Django under gunicorn, FastAPI under uvicorn, with the app
servers' own reading of the headers turned off, so that what the app sees is the package's doing.

Peer 127.0.0.1 is trusted, 127.0.0.2 is not. Nothing that an untrusted peer sends may change what the app sees.
"""
from lintel_test import *

PACKAGE = pathlib.Path(LINTEL).parent / "python"

FLASK_APP = """
import lintel_forwarded
from flask import Flask, jsonify, request, url_for

def make():
    app = Flask(__name__)
    @app.route("/<path:path>")
    def seen(path):
        return jsonify(remote_addr=request.remote_addr, scheme=request.scheme, host=request.host,
                       url=url_for("seen", path=path, _external=True), server_port=request.environ["SERVER_PORT"],
                       headers=sorted((name.lower(), value) for name, value in request.headers))
    return app

fixed, full = make(), make()
fixed.wsgi_app = lintel_forwarded.ProxyFix(fixed.wsgi_app, trusted=["127.0.0.1"], x_for=1, x_proto=1)
full.wsgi_app = lintel_forwarded.Forwarded(full.wsgi_app, trusted=["127.0.0.1"], source="x-forwarded",
                                           accept=["for", "proto", "host", "port"], served=["app.test"],
                                           public_ports=[PUBLIC_PORT])

def app(environ, start_response):
    return (full if environ["PATH_INFO"].startswith("/full") else fixed)(environ, start_response)
"""

DJANGO_APP = """
import lintel_forwarded
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import re_path

def seen(request, path):
    headers = sorted((name.lower(), value) for name, value in request.headers.items())
    return JsonResponse({"remote_addr": request.META["REMOTE_ADDR"], "scheme": request.scheme,
                         "host": request.get_host(), "url": request.build_absolute_uri(),
                         "server_port": request.get_port(), "headers": headers})

urlpatterns = [re_path("^(.*)$", seen)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["app.test"], SECRET_KEY="for this test only")
app = lintel_forwarded.ProxyFix(get_wsgi_application(), trusted=["127.0.0.1"], x_for=1, x_proto=1)
"""

FASTAPI_APP = """
import lintel_forwarded
from fastapi import FastAPI, Request, WebSocket

def make():
    app = FastAPI()
    @app.get("/{path:path}", name="seen")
    def seen(request: Request, path: str):
        return {"remote_addr": request.client.host, "scheme": request.url.scheme, "host": request.headers["host"],
                "url": str(request.url_for("seen", path=path)), "server_port": str(request.scope["server"][1]),
                "headers": sorted(request.headers.items())}
    @app.websocket("/{path:path}")
    async def socket(socket: WebSocket, path: str):
        await socket.accept()
        await socket.send_text(f"{socket.client.host} {socket.url.scheme} {socket.headers['host']}")
        await socket.close()
    return app

fixed, full = make(), make()
fixed.add_middleware(lintel_forwarded.ProxyFixASGI, trusted=["127.0.0.1"], x_for=1, x_proto=1)
full.add_middleware(lintel_forwarded.ForwardedASGI, trusted=["127.0.0.1"], source="x-forwarded",
                    accept=["for", "proto", "host", "port"], served=["app.test"], public_ports=[PUBLIC_PORT])

async def app(scope, receive, send):
    await (full if scope.get("path", "").startswith("/full") else fixed)(scope, receive, send)
"""

E, C = "6.6.6.6", "203.0.113.9"
SPOOFS = [
    [("X-Forwarded-For", E)],
    [("X-Forwarded-For", f"{E}, 10.0.0.7")],
    [("X-Forwarded-For", E), ("X-Forwarded-For", C)],
    [("X_Forwarded_For", E), ("X.Forwarded.For", E)],
    [("X_Forwarded_Proto", "https")],
    [("X-Forwarded-Proto", "https")],
    [("X-Forwarded-Proto", "javascript")],
    [("X-Forwarded-Host", "evil.test"), ("X-Forwarded-Port", "8080"), ("X-Forwarded-Prefix", "//evil.test")],
    [("Forwarded", f"for={E};proto=https;host=evil.test")],
    [("X-Real-IP", E), ("CF-Connecting-IP", E), ("True-Client-IP", E), ("X-Client-IP", E), ("Fly-Client-IP", E)],
    [("Front-End-Https", "on"), ("X-Forwarded-Ssl", "on"), ("X-Url-Scheme", "https"), ("X-Forwarded-Protocol", "ssl")],
    [("X-Forwarded-For", ", ".join([E] * 40)), ("X-Forwarded-Proto", "https," * 40)],
    [("X-Forwarded-For", f'{E}, "'), ("X-Forwarded-Proto", '"')],
    [("X-Original-URL", "/admin"), ("X-Rewrite-URL", "/admin"), ("Remote-User", "admin"), ("Proxy", "http://evil.test")],
]
GARBAGE = [("X-Forwarded-For", "bogus!"), ("X-Forwarded-Proto", "javascript"), ("X-Forwarded-For", f'{E}, "'),
           ("X-Forwarded-For", ", ".join(["10.0.0.7"] * 40))]


class Seen:
    """What an app saw, from its answer."""

    def __init__(self, response):
        self.__dict__.update(json.loads(response.body))


class Apps(LintelTestCase):
    """gunicorn and uvicorn once for all tests, and a lintel in front of each."""

    @classmethod
    def configure(cls):
        cls.public_port = free_port()
        cls.ports = {}
        gunicorn = ["-m", "gunicorn", "--forwarded-allow-ips=", "--workers=1", "--threads=2", "--log-level=warning"]
        cls.start_app("flask", FLASK_APP, lambda port: [*gunicorn, f"--bind=127.0.0.1:{port}", "flask_app:app"])
        cls.start_app("django", DJANGO_APP, lambda port: [*gunicorn, f"--bind=127.0.0.1:{port}", "django_app:app"])
        cls.start_app("fastapi", FASTAPI_APP, lambda port: ["-m", "uvicorn", "--no-proxy-headers", "--host=127.0.0.1",
                                                            f"--port={port}", "--log-level=warning", "fastapi_app:app"])
        sites = [cls.site(to=[f"http://127.0.0.1:{cls.ports['flask']}"], public_ports=[cls.public_port]),
                 cls.site(hosts=["fastapi.app.test"], to=[f"http://127.0.0.1:{cls.ports['fastapi']}"])]
        return sites, {}

    @classmethod
    def start_app(cls, name, source, command):
        port = cls.ports[name] = free_port()
        (cls.folder / f"{name}_app.py").write_text(source.replace("PUBLIC_PORT", str(cls.public_port)))
        log = open(cls.folder / f"{name}.log", "wb")
        cls.addClassCleanup(log.close)
        process = python_app(*command(port), cwd=cls.folder, stdout=log, env={
            "PYTHONPATH": f"{PACKAGE}:{cls.folder}", "PYTHONDONTWRITEBYTECODE": "1"})
        cls.addClassCleanup(end_process, process)

        def listening():
            if process.poll() is not None:
                raise AssertionError(f"{name} ended:\n{(cls.folder / f'{name}.log').read_text()[-3000:]}")
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        wait_until(listening, f"{name} to listen", 60)

    def ask(self, app, headers=(), path="/fix/page", source="127.0.0.1", host="app.test"):
        with RawClient(self.ports[app], source=source) as client:
            return client.request(get(path, headers=headers, host=host))

    def assert_untouched_by_spoofs(self, app, path):
        """The answer to an untrusted peer is that of a request without the forged lines, to the last header."""
        honest = self.ask(app, path=path, source="127.0.0.2")
        self.assertEqual(honest.status, 200, honest.body)
        seen = Seen(honest)
        self.assertEqual((seen.remote_addr, seen.scheme, seen.host), ("127.0.0.2", "http", "app.test"))
        for spoof in SPOOFS:
            for headers in (spoof, [("Connection", ", ".join(name for name, _ in spoof))] + spoof):
                answered = self.ask(app, headers, path, "127.0.0.2")
                self.assertEqual(answered.status, 200, (headers, answered.body))
                got = Seen(answered)
                if headers is not spoof:
                    got.headers = [line for line in got.headers if line[0] != "connection"]
                self.assertEqual(vars(got), vars(seen), headers)

    def test_an_untrusted_peer_cannot_forge_what_flask_sees(self):
        self.assert_untouched_by_spoofs("flask", "/fix/page")
        self.assert_untouched_by_spoofs("flask", "/full/page")

    def test_an_untrusted_peer_cannot_forge_what_django_sees(self):
        self.assert_untouched_by_spoofs("django", "/page")

    def test_an_untrusted_peer_cannot_forge_what_fastapi_sees(self):
        self.assert_untouched_by_spoofs("fastapi", "/fix/page")
        self.assert_untouched_by_spoofs("fastapi", "/full/page")

    def test_a_trusted_peer_is_believed(self):
        for app in ("flask", "django", "fastapi"):
            for path in ("/fix/page", "/full/page"):
                seen = Seen(self.ask(app, [("X-Forwarded-For", f"{E}, {C}"), ("X-Forwarded-Proto", "https")], path))
                self.assertEqual((seen.remote_addr, seen.scheme, seen.url), (C, "https", f"https://app.test{path}"), app)

    def test_garbage_of_a_trusted_peer_is_refused_with_its_code(self):
        for app in ("flask", "django", "fastapi"):
            for path in ("/fix/page", "/full/page"):
                for name, value in GARBAGE:
                    answered = self.ask(app, [(name, value)], path)
                    code = "forwarded-too-long" if len(value) > 100 else "forwarded-garbage"
                    self.assertEqual((answered.status, answered.error), (400, code), (app, path, name, value))
        for app in ("flask", "fastapi"):
            log = (self.folder / f"{app}.log").read_text()
            self.assertRegex(log, r"refused a request of peer 127\.0\.0\.1: forwarded-garbage in X-Forwarded-For", app)

    def test_only_served_names_get_through_the_whole_engine(self):
        for app in ("flask", "fastapi"):
            for headers, host, status, code in (
                    ([], "evil.test", 421, "host-not-served"),
                    ([("X-Forwarded-Host", "evil.test")], "app.test", 421, "host-not-served"),
                    ([("X-Forwarded-Host", "a@app.test")], "app.test", 400, "host-invalid"),
                    ([], "app.test:9999", 421, "host-port"),
                    ([("X-Forwarded-Host", "app.test"), ("X-Forwarded-Proto", "https")], "app.test", 200, None)):
                answered = self.ask(app, headers, "/full/page", host=host)
                self.assertEqual((answered.status, answered.error), (status, code), (app, headers, host))

    def test_the_app_gets_fresh_single_lines_from_the_whole_engine(self):
        for app in ("flask", "fastapi"):
            seen = Seen(self.ask(app, [("X-Forwarded-For", f"{E}, {C}"), ("X-Forwarded-Proto", "https"),
                                       ("X-Forwarded-Host", f"app.test:{self.public_port}"), ("Forwarded", f"for={E}")],
                                 "/full/page"))
            forwarded = {name: value for name, value in seen.headers if name.startswith(("x-f", "f", "x-real"))}
            self.assertEqual(forwarded, {"x-forwarded-for": C, "x-forwarded-proto": "https", "x-real-ip": C,
                                         "x-forwarded-host": f"app.test:{self.public_port}",
                                         "x-forwarded-port": str(self.public_port)}, app)
            self.assertEqual(seen.url, f"https://app.test:{self.public_port}/full/page", app)

    def test_an_alias_beside_the_proxys_line_is_dropped_where_names_are_kept(self):
        """uvicorn hands names over as they came; WSGI merges them, which docs/library.md says."""
        for path in ("/fix/page", "/full/page"):
            seen = Seen(self.ask("fastapi", [("X-Forwarded-For", C), ("X_Forwarded_For", E)], path))
            self.assertEqual(seen.remote_addr, C)
            self.assertNotIn(E, str(seen.headers))

    def test_behind_lintel_the_client_is_the_one_on_the_tls_connection(self):
        for host in ("app.test", "fastapi.app.test"):
            for path in ("/fix/page", "/full/page") if host == "app.test" else ("/fix/page",):
                for spoof in [[], *SPOOFS]:
                    with RawClient(self.lintel.https, tls=True, sni=host, source="127.0.0.2") as client:
                        answered = client.request(get(path, headers=spoof, host=host))
                    self.assertEqual(answered.status, 200, (spoof, answered.body))
                    seen = Seen(answered)
                    self.assertEqual((seen.remote_addr, seen.scheme, seen.url),
                                     ("127.0.0.2", "https", f"https://{host}{path}"), spoof)

    def test_websockets(self):
        upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                   ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
        claims = [("X-Forwarded-For", C), ("X-Forwarded-Proto", "wss")]
        for path in ("/fix/page", "/full/page"):
            for source, wanted in (("127.0.0.1", f"{C} wss app.test"), ("127.0.0.2", "127.0.0.2 ws app.test")):
                with RawClient(self.ports["fastapi"], source=source) as client:
                    self.assertEqual(client.request(get(path, headers=[*upgrade, *claims])).status, 101)
                    self.assertEqual(client.read_exactly(2), bytes([0x81, len(wanted)]))
                    self.assertEqual(client.read_exactly(len(wanted)).decode(), wanted)
            refused = self.ask("fastapi", [*upgrade, ("X-Forwarded-For", "bogus!")], path)
            self.assertEqual(refused.status, 403, "what uvicorn answers to a socket that is not accepted")


class WrongOptions(unittest.TestCase):
    """A policy that says something else than its author means must not start."""

    @classmethod
    def setUpClass(cls):
        sys.path.insert(0, str(PACKAGE))
        cls.addClassCleanup(sys.path.remove, str(PACKAGE))
        import lintel_forwarded
        cls.package = lintel_forwarded

    def test_they_are_errors_that_name_the_key(self):
        app, package = (lambda environ, start_response: []), self.package
        for make, word in ((lambda: package.ProxyFix(app, trusted=["10.0.0.300"]), "trusted"),
                           (lambda: package.ProxyFix(app, trusted=["0.0.0.0/0"]), "trusted"),
                           (lambda: package.ProxyFix(app, trusted=["10.0.0.0/8"], x_for=-1), "x_for"),
                           (lambda: package.ProxyFix(app, trusted=["10.0.0.0/8"], x_for="two"), "x_for"),
                           (lambda: package.Forwarded(app, source="x-forwarded"), "trusted"),
                           (lambda: package.Forwarded(app, trusted=["10.0.0.0/8"], source="x-forwarder"), "source"),
                           (lambda: package.Forwarded(app, rules=[{"peer": ["10.0.0.0/8"]}]), "peer"),
                           (lambda: package.Forwarded(app, served=["app.test:80"]), "served"),
                           (lambda: package.Forwarded(app, public_ports=[70000]), "public_port")):
            with self.assertRaisesRegex(ValueError, word):
                make()

    def test_nul_in_a_value_does_not_cut_it_short(self):
        fix = self.package.Fix(["10.0.0.0/8"])
        with self.assertRaises(self.package.Refused):
            fix.apply([b"10.0.0.2", b"", b"http", b"", b"", b"", b""], [(b"X-Forwarded-For", b"203.0.113.9\0x")])


if __name__ == "__main__":
    unittest.main()
