"""What protects a shared app from the public, with a real edge, real apps and real visitors: curl, raw requests, Chromium."""
import base64
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import unittest
import urllib.parse

from browser import Driver, trust
from clients import RawClient, get
from lintel_test import LINTEL, end_process, free_port, wait_until
from story import NODE_MODULES
from test_share import DOMAIN, Edge, EdgeTestCase

HERE = pathlib.Path(__file__).resolve().parent
PASSWORD = "correct horse: ü+%"
LOGIN = "/.well-known/lintel/login"
BROWSER = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")]
FORM = ("Content-Type", "application/x-www-form-urlencoded")
PATIENCE = 30


class GateTestCase(EdgeTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.secret = cls.class_folder / "password.txt"
        cls.secret.write_text(PASSWORD + "\n")

    def app(self, kind):
        """One of gate_apps.py; its port."""
        port = free_port()
        self.app_log = self.folder / f"{kind}.log"
        self.run_beside(["/usr/bin/python3", "-B", str(HERE / "gate_apps.py"), kind, str(port)], self.app_log)
        wait_until(lambda: self.listens(port), f"{kind} on {port}", PATIENCE)
        return port

    def run_beside(self, command, log, environment=None, cwd=None):
        with open(log, "ab") as output:
            process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd,
                                       env={**os.environ, "NO_PROXY": "*", "PYTHONUNBUFFERED": "1", **(environment or {})})
        self.addCleanup(end_process, process)

    @staticmethod
    def listens(port):
        try:
            RawClient(port).close()
            return True
        except OSError:
            return False

    def share_app(self, port, *arguments, **options):
        """(process, host) of a share of `port`."""
        share = self.start(str(port), *map(str, arguments), **options)
        return share, share.wait_event("connected")["url"].split("/")[2].split(":")[0]

    def client(self, host, edge=None, **options):
        return RawClient((edge or self.edge).port, tls=ssl.create_default_context(cafile=self.ca.cert), sni=host, **options)

    def fetch(self, host, path="/", headers=(), method="GET", body=None, edge=None, **options):
        with self.client(host, edge, **options) as client:
            return client.request(get(path, f"{host}:{(edge or self.edge).port}", headers, method, body=body))

    def post_login(self, host, password=PASSWORD, to="/", headers=()):
        body = urllib.parse.urlencode({"password": password, "to": to}).encode()
        return self.fetch(host, LOGIN, [FORM, *BROWSER, *headers], "POST", body=body)

    def log_in(self, host):
        """The Cookie header of a session."""
        answered = self.post_login(host)
        self.assertEqual(answered.status, 303, answered.body)
        return [("Cookie", answered.get("set-cookie").split(";")[0])]

    def assert_refused(self, answered, status, error):
        self.assertEqual((answered.status, answered.error), (status, error), answered.body[:300])


class Password(GateTestCase):
    def setUp(self):
        super().setUp()
        self.share_process, self.host = self.share_app(self.app("debug"), "--password", self.secret)

    def test_curl_logs_in_and_the_apps_authorization_header_stays_free(self):
        origin = f"https://{self.host}:{self.edge.port}"

        def curl(*arguments):
            done = subprocess.run(["curl", "-sS", "--noproxy", "*", "--max-time", "30", "--cacert", self.ca.cert, *arguments],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout
        jar = self.folder / "jar"
        refused = curl("-i", f"{origin}/headers")
        self.assertRegex(refused, "^HTTP/2 401")
        self.assertIn("x-lintel-error: share-login-required", refused.lower())
        curl("-c", jar, "--data-urlencode", f"password={PASSWORD}", f"{origin}{LOGIN}")
        seen = curl("-b", jar, "-u", "ann:secret", "-H", "Cookie: mine=1", f"{origin}/headers")
        self.assertIn("Basic " + base64.b64encode(b"ann:secret").decode(), seen)
        self.assertNotIn("__Host-", seen)

    def test_a_browser_is_shown_a_form_and_nothing_of_the_app(self):
        answered = self.fetch(self.host, "/", BROWSER)
        self.assertEqual(answered.status, 401)
        self.assertIn(b'<form method="post" action="/.well-known/lintel/login">', answered.body)
        self.assertNotIn(b'id="app"', answered.body)
        self.assertNotIn(b"<script", answered.body)
        self.assertIn("default-src 'none'", answered.get("content-security-policy"))

    def test_every_method_and_websockets_are_gated(self):
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"):
            self.assertEqual(self.fetch(self.host, "/headers", method=method).status, 401, method)
        handshake = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                     ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
        self.assertEqual(self.fetch(self.host, "/ws", handshake).status, 401)

    def test_attack_open_redirect(self):
        for evil in ("//evil.ex", "/\\evil.ex", "https://evil.ex", "/\t/evil.ex", "/\r\nSet-Cookie: a=b", "javascript:alert(1)"):
            self.assertEqual(self.post_login(self.host, to=evil).all("location"), ["/"], evil)
        self.assertEqual(self.post_login(self.host, to="/crash?a=b").all("location"), ["/crash?a=b"])

    def test_attack_login_by_link_or_foreign_form(self):
        query = urllib.parse.urlencode({"password": PASSWORD})
        self.assertEqual(self.fetch(self.host, f"{LOGIN}?{query}", BROWSER).all("set-cookie"), [])
        for header in (("Origin", "https://evil.ex"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")):
            answered = self.post_login(self.host, headers=[header])
            self.assertEqual((answered.status, answered.all("set-cookie")), (403, []), header)

    def test_attack_session_that_is_made_up(self):
        for value in ("A" * 43, "", "x", "A" * 4000):
            self.assertEqual(self.fetch(self.host, "/", [("Cookie", f"__Host-lintel-share={value}")]).status, 401)

    def test_attack_debugger_with_the_password(self):
        """Each of these would run Python on the laptop."""
        session = self.log_in(self.host)
        for target in ("/?__debugger__=yes&cmd=resource&f=debugger.js", "/crash?a=1&%5f_debugger__=yes&cmd=pinauth&pin=1&s=x",
                       "/?cmd=1&frm=0&s=x&__debugger__=yes", "/?a;__debugger__=yes", "/?%255f_debugger__=yes",
                       "/console", "//console", "/%63onsole", "/a/../console"):
            self.assert_refused(self.fetch(self.host, target, session), 403, "debugger-refused")
        asked = [line for line in self.app_log.read_text().splitlines() if "__debugger__" in line and "f=style.css" not in line]
        self.assertEqual(asked, [], "the app was asked")

    def test_tracebacks_pass_and_are_reported_once(self):
        session = self.log_in(self.host)
        for _ in range(2):
            answered = self.fetch(self.host, "/crash", session)
            self.assertEqual(answered.status, 500)
            self.assertIn(b"on purpose", answered.body)
        wait_until(lambda: "debugger-shared" in self.share_process.stdout(), "the finding", PATIENCE)
        self.assertEqual(self.share_process.stdout().count("debugger-shared"), 1)

    def test_attack_guessing(self):
        with self.client(self.host, source="127.0.0.77") as client:
            authority = f"{self.host}:{self.edge.port}"
            guess = get(LOGIN, authority, [FORM], "POST", body=b"password=wrong")
            self.assertEqual([client.request(guess).status for _ in range(12)], [401] * 10 + [429] * 2)
            body = urllib.parse.urlencode({"password": PASSWORD}).encode()
            right = client.request(get(LOGIN, authority, [FORM], "POST", body=body))
            self.assert_refused(right, 429, "login-limited")
            self.assertGreater(int(right.get("retry-after")), 0)
        self.log_in(self.host)  # others still can


class Browser(GateTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.class_folder / "browser"
        folder.mkdir()
        cls.driver = Driver(folder)
        cls.addClassCleanup(cls.driver.stop)
        trust(cls.driver.home, cls.ca.cert)
        cls.driver.start()

    def setUp(self):
        super().setUp()
        self.driver.forget()

    def enter(self, password):
        self.driver.run(f"document.getElementById('password').value = {password!r};"
                        "document.querySelector('button').click()")

    def at(self, url):
        return lambda: self.driver.run("return location.href") == url

    def test_the_page_of_the_password(self):
        _, host = self.share_app(self.app("plain"), "--password", self.secret)
        url = f"https://{host}:{self.edge.port}/?a=b"
        self.driver.open(url)
        self.assertIn("asks for a password", self.driver.title())
        self.enter("wrong")
        wait_until(lambda: "That is not the password." in self.driver.text(), "the refusal", PATIENCE)
        self.enter(PASSWORD)
        wait_until(self.at(url), "the way back", PATIENCE)
        wait_until(lambda: "the app" in self.driver.text(), "the app", PATIENCE)
        cookie = self.driver.cookies()["__Host-lintel-share"]
        self.assertTrue(cookie["secure"] and cookie["httpOnly"], cookie)
        self.assertEqual((cookie["path"], cookie["sameSite"]), ("/", "Lax"))
        self.driver.open(f"https://{host}:{self.edge.port}/console")
        self.assertIn("a page of the app's own", self.driver.text())

    def sign_in_at_provider(self, address_in):
        port, name = free_port(), f"oidc-{address_in}"
        host = f"{name}.{DOMAIN}"
        home = f"https://{host}:{self.edge.port}/?a=b"
        folder = self.folder / "provider"
        folder.mkdir()
        shutil.copy(HERE / "gate_provider.mjs", folder)
        (folder / "node_modules").symlink_to(NODE_MODULES)
        log = folder / "provider.log"
        self.run_beside(["node", "gate_provider.mjs"], log, {
            "PROVIDER_PORT": str(port), "ADDRESS_IN": address_in,
            "REDIRECT_URI": f"https://{host}:{self.edge.port}/.well-known/lintel/oidc"}, folder)
        wait_until(lambda: "provider: ready" in log.read_text(), "the provider", PATIENCE)
        secret = self.folder / "client-secret.txt"
        secret.write_text("a secret: with + and %\n")
        self.share_app(self.app("plain"), "--name", name, "--oidc", f"http://localhost:{port}", "--oidc-client-id", "lintel-share",
                       "--oidc-secret-file", secret, "--oidc-allow", "ann@example.com,bob@example.com")
        self.assertEqual(self.fetch(host).status, 401, "programs are not sent away")

        def sign_in(user):
            self.driver.forget()
            self.driver.open(home)
            wait_until(lambda: self.driver.run("return location.port") == str(port), "the provider's page", PATIENCE)
            self.driver.click(user)
        sign_in("ann")
        wait_until(self.at(home), "the way back", PATIENCE)
        self.assertIn("the app", self.driver.text())
        for user in ("eve", "bob"):  # not on the list; not verified
            sign_in(user)
            wait_until(lambda: "is not on the list" in self.driver.text(), f"the refusal of {user}", PATIENCE)

    def test_signing_in_with_the_address_in_the_id_token(self):
        self.sign_in_at_provider("token")

    def test_signing_in_with_the_address_in_the_user_info(self):
        self.sign_in_at_provider("info")


class OtherGates(GateTestCase):
    def test_only_allowed_addresses_pass(self):
        port = self.app("plain")
        _, mine = self.share_app(port, "--allow", "127.0.0.0/8", "--allow", "2001:db8::/32")
        _, theirs = self.share_app(port, "--allow", "203.0.113.0/24", home="other")
        self.assertEqual(self.fetch(mine).status, 200)
        self.assertEqual(self.fetch(mine, "/console").body, b"a page of the app's own")
        for headers in ((), [("X-Forwarded-For", "203.0.113.7")], [("Forwarded", "for=203.0.113.7")], [("X-Real-IP", "203.0.113.7")],
                        [("CF-Connecting-IP", "203.0.113.7")], [("Connection", "X-Forwarded-For")], [("X_Forwarded_For", "203.0.113.7")]):
            self.assert_refused(self.fetch(theirs, headers=headers), 403, "access-denied")

    def test_the_end_of_a_share(self):
        share, host = self.share_app(self.origin.port, "--expires", "4s")
        self.assertEqual(self.fetch(host).status, 200)
        share.wait_event("expired")
        self.assertEqual(share.process.wait(PATIENCE), 0)

    def test_host_header_rewrite(self):
        port = self.app("host")
        _, refused = self.share_app(port, "--allow", "127.0.0.0/8")
        self.assertEqual(self.fetch(refused).status, 403)
        _, host = self.share_app(port, "--allow", "127.0.0.0/8", "--host-header", "rewrite", home="other")
        public = f"{host}:{self.edge.port}"
        answered = self.fetch(host, headers=[("Origin", f"https://{public}")])
        self.assertEqual((answered.status, answered.body), (200, f"forwarded {public}".encode()))
        self.assertEqual(self.fetch(host, headers=[("Origin", "https://evil.ex")]).status, 403)

    def test_location_with_the_rewritten_host_is_repaired(self):
        _, host = self.share_app(self.app("plain"), "--allow", "127.0.0.0/8", "--host-header", "rewrite")
        self.assertEqual(self.fetch(host, "/away").get("location"), f"https://{host}:{self.edge.port}/there")

    def test_djangos_page_for_developers_passes_and_is_reported(self):
        share, host = self.share_app(self.app("django"), "--allow", "127.0.0.0/8")
        answered = self.fetch(host, "/missing")
        self.assertEqual(answered.status, 404)
        self.assertIn(b"DEBUG = True", answered.body)
        wait_until(lambda: "debug-page-shared" in share.stdout(), "the finding", PATIENCE)

    def test_usage_errors_say_why(self):
        for arguments, words in ((("--host-header", "rewrite"), "DNS rebinding"), (("--expires", "soon"), "30m"),
                                 (("--allow", "everybody"), "--allow everybody"),
                                 (("--oidc", "https://issuer.example"), "--oidc-client-id"),
                                 (("--oidc", "https://issuer.example", "--oidc-client-id", "x"), "--oidc-allow"),
                                 (("--password", "/does/not/exist"), "/does/not/exist")):
            done = subprocess.run([LINTEL, "share", "5000", "--edge", DOMAIN, *arguments], capture_output=True, text=True, timeout=60,
                                  stdin=subprocess.DEVNULL, env={**os.environ, "HOME": str(self.folder), "LINTEL_TOKEN": self.token})
            self.assertNotEqual(done.returncode, 0, (arguments, done.stderr))
            self.assertIn(words, done.stderr)


class Interstitial(GateTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.shy = Edge(cls.class_folder / "shy", cls.ca, cls.tokens, {"interstitial": True})
        cls.addClassCleanup(cls.shy.stop)

    def setUp(self):
        super().setUp()
        _, self.host = self.share_app(self.app("plain"), edge=self.shy)

    def get_as(self, path, headers=(), method="GET"):
        return self.fetch(self.host, path, headers, method, edge=self.shy)

    def test_browsers_see_it_once_and_programs_never(self):
        self.assertIn(b'id="app"', self.get_as("/").body)
        page = self.get_as("/?a=b", BROWSER)
        self.assertIn(b"somebody&#39;s own app", page.body)
        self.assertEqual(page.get("x-robots-tag"), "noindex")
        go_on = re.search(rb'action="([^"]+)"', page.body).group(1).decode()
        self.assertEqual(self.get_as(go_on, [*BROWSER, ("Origin", "https://evil.ex")], "POST").all("set-cookie"), [])
        pressed = self.get_as(go_on, [*BROWSER, ("Origin", f"https://{self.host}:{self.shy.port}")], "POST")
        self.assertEqual((pressed.status, pressed.get("location")), (303, "/?a=b"))
        pair = pressed.get("set-cookie").split(";")[0]
        seen = self.get_as("/headers", [*BROWSER, ("Cookie", f"{pair}; mine=1")])
        self.assertIn(b"mine=1", seen.body)
        self.assertNotIn(b"__Host-lintel", seen.body)

    def test_attack_open_redirect(self):
        for evil in ("//evil.ex", "%2F%2Fevil.ex", "%2F%5Cevil.ex", "https%3A%2F%2Fevil.ex"):
            self.assertEqual(self.get_as(f"/.well-known/lintel/continue?to={evil}", BROWSER, "POST").get("location"), "/", evil)


if __name__ == "__main__":
    unittest.main()
