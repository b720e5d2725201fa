"""`lintel doctor` against the frameworks that people use: misconfigured, with the printed fix, and without anything to
find. A wrong cause or a fix that does not work when it is pasted would send a developer the wrong way.

LINTEL_WRITE_TABLE=1 writes the rows of docs/doctor.md.
"""
import unittest

from doctor_apps import *  # noqa: F403
from lintel_test import *  # noqa: F403

GO_ENV = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local"}


def go_build(folder):
    """Both programs of the folder. Go's own cache makes the second build of a machine quick."""
    run(["go", "build", "-o", "bin/", "./shop", "./plain"], folder,
        {**GO_ENV, "GOPATH": str(folder.parent / "gopath")})


def server_version(server, framework):
    return lambda: f"{python_version(framework)} ({server} {python_version(server)})"


def go_version():
    text = subprocess.run(["go", "version"], capture_output=True, text=True, check=True).stdout
    return text.split()[2].removeprefix("go")


GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "1")
UVICORN = (PYTHON, "-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}")
RUNSERVER = (PYTHON, "manage.py", "runserver", "--noreload", "127.0.0.1:{port}")
CLIENT = "127.0.0.2"  # not the address that Lintel connects from
ABSOLUTE_URLS = frozenset({"scheme-untrusted", "mixed-content"})
COOKIE = (("cookie-without-secure", "cookie"),)
WITH_COOKIE = ABSOLUTE_URLS | {"cookie-without-secure"}

CASES = [
    Case("Go net/http", "go", "Go net/http", WITH_COOKIE, ("bin/shop",), sees_client=False, version=go_version, source="shop/main.go",
         places=COOKIE,
         plain=("bin/plain",), build=go_build),
    Case("Flask (app.run)", "flask", "Flask", WITH_COOKIE, (PYTHON, "app.py"), source="app.py",
         version=lambda: python_version("flask"), plain=(PYTHON, "plain.py")),
    Case("Flask, gunicorn", "flask", "Flask", WITH_COOKIE, (*GUNICORN, "app:app"), source="app.py",
         sees_client=False, version=server_version("gunicorn", "flask"), plain=(*GUNICORN, "plain:app"),
         env=(("FORWARDED_ALLOW_IPS", "172.17.0.1"),)),
    Case("FastAPI, uvicorn", "fastapi", "uvicorn (FastAPI, Starlette)", WITH_COOKIE, (*UVICORN, "--no-proxy-headers", "app:app"),
         source="app.py", places=COOKIE, version=server_version("uvicorn", "fastapi"), plain=(*UVICORN, "plain:app")),
    Case("Django (runserver)", "django", "Django", ABSOLUTE_URLS | {"csrf-origin"}, RUNSERVER, source="shop/settings.py",
         sees_client=False, version=lambda: python_version("django"), plain=(*RUNSERVER, "--settings=plain.settings")),
    Case("Django, gunicorn", "django", "Django", ABSOLUTE_URLS | {"csrf-origin"},
         (*GUNICORN, "--forwarded-allow-ips=172.17.0.1", "shop.wsgi"), source="shop/settings.py",
         sees_client=False, version=server_version("gunicorn", "django"), plain=(*GUNICORN, "plain.wsgi")),
    Case("Express", "express", "Express", ABSOLUTE_URLS, ("node", "app.js"), source="app.js",
         version=lambda: node_version("express"), plain=("node", "plain.js")),
    Case("Fastify", "fastify", "Fastify", ABSOLUTE_URLS, ("node", "app.js"), source="app.js",
         version=lambda: node_version("fastify"), plain=("node", "plain.js")),
    Case("Koa", "koa", "Koa", WITH_COOKIE, ("node", "app.js"), source="app.js",
         version=lambda: node_version("koa"), plain=("node", "plain.js")),
    # The same frameworks with another symptom.
    Case("Flask, gunicorn, over ::1 too", "flask", "Flask", frozenset({"trusts-loopback-v4-only", "cookie-without-secure"}),
         (*GUNICORN, "--bind", "[::1]:{port}", "app:app"), source="app.py", version=server_version("gunicorn", "flask"),
         lintel_page=""),
    Case("Django, SECURE_SSL_REDIRECT", "django", "Django", frozenset({"https-loop"}),
         (*RUNSERVER, "--settings=shop.forced"), source="shop/settings.py", version=lambda: python_version("django"),
         lintel_page=""),
    Case("Express, a sign-in form", "express", "Express", frozenset({"secure-cookie-suppressed"}), ("node", "signin.js"),
         source="signin.js", version=lambda: node_version("express"), lintel_page=""),
]


class Doctor(DoctorTestCase):
    cases = CASES

    def test_repaired_apps_behind_lintel(self):
        """The app says https to a client on https and http to one on http, whatever headers the client sends."""
        outcomes = [self.runner.outcome(case.title) for case in CASES if case.lintel_page]
        names = {outcome.case.title: f"app{number}.test" for number, outcome in enumerate(outcomes)}
        folder = self.runner.folder / "serve"
        folder.mkdir()
        cert = CertificateAuthority(folder / "ca").issue(*names.values())
        sites = [{"hosts": [names[outcome.case.title]], "certificate": {"file": cert[0], "key": cert[1]},
                  "to": [f"http://127.0.0.1:{outcome.app.port}"], "redirect_http": "off"} for outcome in outcomes]
        lintel = Serve(folder, sites)
        self.addCleanup(lintel.check_sanitizers)
        self.addCleanup(lintel.stop)
        for outcome in outcomes:
            with self.subTest(outcome.case.title):
                self._forge(lintel, names[outcome.case.title], outcome.case)

    def _forge(self, lintel, name, case):
        address = CLIENT if case.sees_client else "127.0.0.1"
        for scheme, other, port in (("https", "http", lintel.https), ("http", "https", lintel.http)):
            forged = [("X-Forwarded-Proto", other), ("X-Forwarded-For", "203.0.113.66"), ("X_Forwarded_Proto", other),
                      ("Forwarded", f"for=203.0.113.66;proto={other};host=evil.test"), ("X-Forwarded-Ssl", "on"),
                      ("X-Forwarded-Host", "evil.test"), ("Connection", "close, X-Forwarded-Proto")]
            for headers in ((), forged):
                with RawClient(port, tls=scheme == "https", sni=name) as client:
                    body = client.request(get(case.lintel_page, host=f"{name}:{port}", headers=headers)).body.decode()
                self.assertIn(f'"{scheme}://{name}:{port}/', body, headers)
                self.assertNotIn(f'"{other}://', body, headers)
                with RawClient(port, tls=scheme == "https", sni=name, source=CLIENT) as client:
                    answer = client.request(get("/account", host=f"{name}:{port}", headers=headers))
                self.assertEqual(json.loads(answer.body)["address"], address, headers)


Doctor.register()

if __name__ == "__main__":
    unittest.main()
