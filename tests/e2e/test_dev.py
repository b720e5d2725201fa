"""`lintel dev` with ordinary apps (the examples): names, ports, findings."""
import json
import os
import pathlib
import shutil
import socket
import ssl
import tempfile
import unittest

from dev_test import APP, PATIENCE, PYTHON, CutOff, Dev, WebSocket, app, listens
from lintel_test import ROOT, end_process, free_port, python_app, wait_until

EXAMPLES = ROOT / "examples"


class Examples(unittest.TestCase):
    """Each kept example simply works, with the line of its README."""

    def start(self, example, *app, **options):
        return Dev(self, *app, cwd=EXAMPLES / example, **options)

    def test_flask_run_on_its_own_port(self):
        """app.run() ignores PORT: the real port is found, and the app knows that it is on https."""
        dev = self.start("flask-hello", PYTHON, "-c", f"import app; app.app.run(port={free_port()})")
        facts = dev.curl("/json").json()
        self.assertEqual(facts["facts"]["wsgi.url_scheme"], "https")
        self.assertEqual(facts["facts"]["url_for(…, _external=True)"], f"https://localhost:{dev.port}/")
        self.assertEqual(facts["headers"]["X-Forwarded-Proto"], "https")
        self.assertIn("<span class=\"scheme https\">https</span>", dev.curl("/", name="flask-hello.localhost").body)

    def test_flask_adhoc(self):
        """An app that speaks TLS by itself is spoken to in TLS, and that it is not verified is said."""
        dev = self.start("flask-adhoc", PYTHON, "-c",
                         f"import app; app.app.run(port={free_port()}, ssl_context='adhoc')")
        self.assertEqual(dev.curl().json()["scheme"], "https")
        dev.wait_for(r"forwarding to https://127\.0\.0\.1:\d+ .*not verified")

    def test_flask_debug_reloader(self):
        """A request that comes while the reloader restarts the app gets the new code's answer, not an error."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-flask-"))
        self.addCleanup(shutil.rmtree, folder, True)
        source = (EXAMPLES / "flask-debug/app.py").read_text()
        (folder / "app.py").write_text(source)
        dev = Dev(self, PYTHON, "-m", "flask", "--debug", "run", cwd=folder)
        self.assertIn("hello over https", dev.curl().body)
        (folder / "app.py").write_text(source.replace('"hello"', '"a longer hello"'))

        def answers_with_the_new_code():
            try:
                answer = dev.curl()
            except CutOff:
                return False
            self.assertEqual(answer.status, 200, answer.body)
            return "a longer hello over https" in answer.body
        wait_until(answers_with_the_new_code, "the new code", PATIENCE)

    def test_gunicorn(self):
        dev = self.start("gunicorn-hello", PYTHON, "-m", "gunicorn", "app:app")
        seen = dev.curl().json()
        self.assertEqual((seen["scheme"], seen["host"]), ("https", f"localhost:{dev.port}"))

    def test_uvicorn(self):
        """uvicorn reads no PORT and trusts only 127.0.0.1."""
        dev = self.start("uvicorn-hello", PYTHON, "-m", "uvicorn", "app:app", "--port", str(free_port()))
        self.assertEqual(dev.curl().json()["scheme"], "https")
        self.assertNotIn("Invalid HTTP request", dev.output())

    def test_node(self):
        dev = self.start("node-hello", "node", "server.js")
        self.assertEqual(dev.curl("/x").json(),
                         {"scheme": "https", "host": f"localhost:{dev.port}", "path": "/x"})

    def test_node_with_an_inspector(self):
        """The inspector listens before the app and on a lower port."""
        dev = self.start("node-hello", "node", "--inspect=127.0.0.1:9229", "server.js")
        self.assertEqual(dev.curl("/x").json()["path"], "/x")

    def test_hmr(self):
        """The page loads and its WebSocket hears of a change."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-hmr-"))
        self.addCleanup(shutil.rmtree, folder, True)
        (folder / "message.txt").write_text("before\n")
        dev = self.start("hmr-dev-server", "node", "server.js", env={"HMR_FOLDER": str(folder)})
        self.assertIn("__hmr", dev.curl(name="hmr-dev-server.localhost").body)
        with WebSocket(dev, "/__hmr", protocol="hmr") as websocket:
            self.assertEqual(json.loads(websocket.receive()), {"type": "connected"})
            (folder / "message.txt").write_text("after\n")
            self.assertEqual(json.loads(websocket.receive()), {"type": "update", "text": "after\n"})

    def test_websocket_echo(self):
        dev = self.start("websocket-echo", PYTHON, "server.py")
        dev.wait_for("forwarding to")
        with WebSocket(dev, "/") as websocket:
            websocket.send("hello")
            self.assertEqual(websocket.receive(), "hello")


class Names(unittest.TestCase):
    """Exactly its names are served: the guard against DNS rebinding."""

    @classmethod
    def setUpClass(cls):
        cls.test = unittest.TestCase()
        cls.dev = Dev(cls.test, *app("""
def answer(request):
    open('reached', 'a').write(request.headers['Host'] + '\\n')
    return b'hello', {}
serve()"""), options=["--name", "shop", "--allow-host", "extra.test"])
        cls.addClassCleanup(cls.test.doCleanups)
        cls.dev.wait_for("forwarding to")

    def test_its_own_names(self):
        for name in ("shop.localhost", "localhost", "127.0.0.1", "[::1]"):
            self.assertEqual(self.dev.curl(name=name).body, "hello", name)
        self.assertEqual(self.dev.curl("/", "--resolve", f"extra.test:{self.dev.port}:127.0.0.1", name="extra.test").body, "hello")

    def test_another_host_is_421_and_never_reaches_the_app(self):
        answer = self.dev.curl("/", "-H", "Host: evil.example")
        self.assertEqual(answer.status, 421)
        self.assertEqual(answer.headers["x-lintel-error"], "host-not-served")
        self.assertIn("--allow-host evil.example", answer.body)
        # A tunnel or a script may never show that body: the terminal says it too.
        self.dev.wait_for("lintel: host-not-served: evil.example is not served here.*--allow-host evil.example")
        self.assertNotIn("evil.example", (self.dev.folder / "reached").read_text()
                         if (self.dev.folder / "reached").exists() else "")

    def test_another_host_is_421_on_plain_http_too_and_gets_no_redirect(self):
        answer = self.dev.curl("/", "-H", "Host: evil.example", scheme="http")
        self.assertEqual(answer.status, 421)
        self.assertNotIn("location", answer.headers)

    def test_another_sni_is_421_and_no_certificate_is_made_for_it(self):
        at = f"evil.example:{self.dev.port}:127.0.0.1"
        answer = self.dev.curl("/", "--resolve", at, "-H", f"Host: shop.localhost:{self.dev.port}", name="evil.example", verify=False)
        self.assertEqual(answer.status, 421)
        context = ssl.create_default_context(cafile=str(self.dev.root))
        context.check_hostname = False
        with socket.create_connection(("127.0.0.1", self.dev.port)) as plain, \
                context.wrap_socket(plain, server_hostname="evil.example") as tls:
            names = [value for _, value in tls.getpeercert()["subjectAltName"]]
        self.assertNotIn("evil.example", names)

    def test_plain_http_on_the_same_port_is_sent_to_https(self):
        answer = self.dev.curl("/a?b=c", scheme="http", name="shop.localhost")
        self.assertEqual(answer.status, 308)
        self.assertEqual(answer.headers["location"], f"https://shop.localhost:{self.dev.port}/a?b=c")

    def test_the_first_line_is_the_address(self):
        self.assertEqual(self.dev.output().splitlines()[0], f"https://shop.localhost:{self.dev.port}/")
        self.assertRegex(self.dev.output(), rf"also https://localhost:{self.dev.port}/\n  -> .*\n")
        self.assertIn("lintel trust install", self.dev.output())


class Ports(unittest.TestCase):
    def test_a_taken_port_is_exit_3_and_names_its_holder(self):
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            dev = Dev(self, *app(), port=holder.getsockname()[1])
            self.assertEqual(dev.wait_exit(), 3)
            self.assertIn(f"pid {os.getpid()}", dev.output())
            self.assertNotIn("app: listening", dev.output())

    def test_without_an_app_it_is_a_usage_error(self):
        dev = Dev(self)
        self.assertEqual(dev.wait_exit(), 2)
        self.assertIn("lintel dev 5000", dev.output())

    def test_an_app_that_runs_already(self):
        port = free_port()
        process = python_app("-c", APP + f"serve({port})")
        self.addCleanup(end_process, process)
        dev = Dev(self, options=[str(port)])
        wait_until(lambda: dev.curl().body == "hello", "the app", PATIENCE)

    def test_a_tls_app_that_runs_already(self):
        """The very first request gets its answer: it waits until it is known what the port speaks."""
        port = free_port()
        process = python_app("-c", f"import app; app.app.run(port={port}, ssl_context='adhoc')",
                             cwd=EXAMPLES / "flask-adhoc")
        self.addCleanup(end_process, process)
        wait_until(lambda: listens(port), "the app", PATIENCE)
        dev = Dev(self, options=[str(port)])
        self.assertEqual(dev.curl().json()["scheme"], "https")

    def test_an_app_that_is_down_is_502_with_the_way_to_start_it(self):
        port = free_port()
        dev = Dev(self, options=[str(port)])
        answer = dev.curl()
        self.assertEqual(answer.status, 502)
        self.assertEqual(answer.headers["x-lintel-error"], "upstream-refused")
        self.assertIn(str(port), answer.body)

    def test_the_port_is_remembered_for_the_folder(self):
        dev = Dev(self, *app())
        dev.wait_for("forwarding to")
        remembered = json.loads((dev.folder / "state/lintel/ports.json").read_text())
        self.assertEqual(list(remembered.values()), [dev.port])

    def test_an_app_on_ipv6_only_is_reached(self):
        dev = Dev(self, *app("""
import socket
http.server.ThreadingHTTPServer.address_family = socket.AF_INET6
serve(host='::1')"""))
        self.assertEqual(dev.curl().body, "hello")

    def test_as_scheme_http_shows_the_app_plain_http(self):
        dev = Dev(self, *app("""
def answer(request): return request.headers['X-Forwarded-Proto'].encode(), {}
serve()"""), options=["--as-scheme", "http"])
        self.assertEqual(dev.curl(scheme="http").body, "http")
        self.assertEqual(dev.curl().body, "https")

    def test_json_events(self):
        dev = Dev(self, *app(), options=["--json"])
        dev.wait_for('"app-up"')
        events = [json.loads(line) for line in dev.output().splitlines() if line.startswith("{")]
        self.assertEqual([event["event"] for event in events], ["listening", "app-up"])
        self.assertEqual(events[0]["url"], f"https://{dev.name}.localhost:{dev.port}/")


class Findings(unittest.TestCase):
    def test_each_cause_is_told_once(self):
        dev = Dev(self, *app("""
def answer(request):
    host = request.headers['Host']
    if request.path == '/login':
        return b'', {'Location': 'https://id.example/?redirect_uri=http%3A%2F%2F' + host.replace(':', '%3A') + '%2Fcb'}
    return b'', {'Location': 'http://' + host + '/next', 'Set-Cookie': 'session=1',
                 'Strict-Transport-Security': 'max-age=31536000'}
serve(host='0.0.0.0')"""))
        for _ in range(2):
            answer = dev.curl()
            self.assertEqual(answer.headers["location"], f"https://localhost:{dev.port}/next")
            self.assertIn("secure", answer.headers["set-cookie"].lower())
            self.assertNotIn("strict-transport-security", answer.headers)
            # A sign-in's own URL is never rewritten: the code exchange would then not match.
            self.assertIn("redirect_uri=http%3A", dev.curl("/login").headers["location"])
        output = dev.output()
        for text in ("does not know that its client is on https", "the cookie session without Secure",
                     "Strict-Transport-Security", "sign-in at id.example", "listens on 0.0.0.0:"):
            self.assertEqual(output.count(text), 1, text + "\n" + output)


if __name__ == "__main__":
    unittest.main()
