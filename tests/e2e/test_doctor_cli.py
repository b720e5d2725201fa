"""`lintel doctor` as a command: exit codes, what it sends, apps that speak TLS or listen for everybody."""
import http.server
import json
import shutil
import ssl
import subprocess
import tempfile
import threading
import unittest

from lintel_test import *  # noqa: F403


class App(http.server.ThreadingHTTPServer):
    """Answers with answer(headers) -> (status, fields, body), and keeps what it was asked. headers.path is the path."""
    daemon_threads = True

    def __init__(self, test, answer, host="127.0.0.1", tls=None):
        self.asked, app = [], self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                app.asked.append((self.command, self.path, dict(self.headers)))
                self.headers.path = self.path
                status, fields, body = answer(self.headers)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **fields}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_HEAD = do_GET

            def log_message(self, *_):
                pass

        super().__init__((host, 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=self.serve_forever)
        thread.start()
        test.addCleanup(thread.join)
        test.addCleanup(self.server_close)
        test.addCleanup(self.shutdown)

    def handle_error(self, request, client_address):
        pass

    @property
    def port(self):
        return self.server_address[1]


def doctor(*words):
    return subprocess.run([LINTEL, "doctor", *map(str, words)], capture_output=True, text=True, timeout=120, check=False)


def redirect_as_told(headers):
    return 302, {"Location": f"{headers.get('X-Forwarded-Proto', 'http')}://{headers['Host']}/next"}, b""


def redirect_to_http(headers):
    return 302, {"Location": f"http://{headers['Host']}/next"}, b""


class DoctorCommand(unittest.TestCase):
    def report(self, code, *words):
        done = doctor(*words, "--json")
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def ids(self, report):
        return sorted(finding["id"] for finding in report["findings"])

    def test_a_wrong_command_line_is_told_with_what_is_meant(self):
        for words, hint in (((), "lintel doctor 5000"), (("nonsense",), "lintel doctor 5000"), (("ftp://x/",), "a URL"),
                            (("5000", "--for", "mars"), "heroku"), (("5000", "--path", "x"), "begins with /"),
                            (("5000", "--host", "a b"), "public name")):
            with self.subTest(words):
                done = doctor(*words)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(hint, done.stderr)

    def test_an_app_that_is_not_there(self):
        done = doctor(free_port())
        self.assertEqual((done.returncode, done.stdout), (3, ""), done.stderr)
        self.assertIn("start the app", done.stderr)

    def test_it_asks_as_lintel_would_and_never_posts(self):
        app = App(self, lambda _: (200, {"Content-Type": "text/html"},
                                   b"<form method=post action=/pay><input type=password></form><a href=/delete>x</a>"))
        report = self.report(1, app.port, "--host", "shop.example.com", "--path", "/asked")
        self.assertEqual(report["verdict"], "unknown")
        self.assertTrue(report["try"])
        self.assertEqual({method for method, _, _ in app.asked}, {"GET"})
        self.assertNotIn("/delete", [path for _, path, _ in app.asked])
        schemes = [headers["X-Forwarded-Proto"] for _, path, headers in app.asked if path == "/asked"]
        self.assertEqual(sorted(schemes)[:2], ["http", "https"])
        for _, _, headers in app.asked:
            self.assertEqual(headers["Host"], "shop.example.com")
            self.assertIn(headers["X-Forwarded-Host"], ("shop.example.com", "doctor.invalid"))

    def test_the_platforms_hops_are_in_the_lines(self):
        app = App(self, lambda headers: (302, {"Server": "Werkzeug/3.1.8", **redirect_to_http(headers)[1]}, b""))
        report = self.report(1, app.port, "--for", "fly")
        self.assertIn("app.wsgi_app = ProxyFix(app.wsgi_app, x_for=2, x_proto=1)", report["findings"][0]["fix"]["lines"])
        self.assertEqual(report["platform"]["name"], "fly")

    def test_an_app_that_speaks_tls_with_a_certificate_of_its_own(self):
        folder = tempfile.mkdtemp(prefix="lintel-doctor-")
        self.addCleanup(shutil.rmtree, folder, True)
        certificate = CertificateAuthority(folder).issue("localhost")
        app = App(self, redirect_to_http, tls=certificate)
        for target in (app.port, f"https://127.0.0.1:{app.port}"):
            self.assertEqual(self.ids(self.report(1, target)), ["scheme-untrusted"])

    def test_an_app_that_everybody_on_the_network_reaches(self):
        app = App(self, lambda headers: (200, {}, b"plain"), host="0.0.0.0")
        report = self.report(1, app.port)
        self.assertEqual(self.ids(report), ["app-reachable-directly"])
        self.assertIn("0.0.0.0", report["findings"][0]["symptom"])

    def test_an_app_that_answers_garbage_or_nothing_does_not_hang_it(self):
        app = App(self, lambda headers: (200, {"Content-Length": "5000000"}, b"<a href='" + b"x" * 2_000_000))
        report = self.report(1, app.port)
        self.assertEqual(report["verdict"], "unknown")

    def test_an_app_that_refuses_the_made_up_name(self):
        def answer(headers):
            return (200, {}, b"ok") if headers["Host"].startswith("127.0.0.1") else (400, {}, b"Bad Request")
        report = self.report(1, App(self, answer).port)
        self.assertEqual(self.ids(report), ["host-refused"])

    def test_an_app_that_believes_its_proxy_is_healthy(self):
        app = App(self, lambda headers: redirect_as_told(headers) if headers.path == "/login" else (200, {}, b"fine"))
        report = self.report(0, app.port, "--path", "/login")
        self.assertEqual((report["verdict"], report["findings"]), ("healthy", []))


if __name__ == "__main__":
    unittest.main()
