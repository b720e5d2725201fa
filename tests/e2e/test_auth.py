"""basic_auth and auth_request: who gets in, what the app learns, and the ways round that must not exist."""
import base64

from lintel_test import *

# Every way to spell a name that WSGI, CGI and PHP servers make HTTP_REMOTE_USER and the like of.
FORGED = ["Remote-User", "remote_user", "REMOTE-USER", "Remote.User", "X-Remote-User", "X_Remote_User",
          "X-Auth-Request-User", "x_auth_request_user", "X-Auth-Request-Email", "X-WebAuth-User", "X-Team", "x_team",
          "X.Team", "X-Forwarded-User"]


def mkpasswd(method, password, rounds=None):
    args = ["mkpasswd", "-m", method, "-s"] + (["-R", str(rounds)] if rounds else [])
    return subprocess.run(args, input=password, capture_output=True, text=True, check=True).stdout.strip()


def basic(name, password):
    return ("Authorization", "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode())


def users(folder):
    path = folder / "users.txt"
    path.write_text("# staff\n" + f"ann:{mkpasswd('yescrypt', 'right horse', 1)}\n"
                    + f"bob:{mkpasswd('bcrypt', 'bobs', 4)}\n" + f"zoe:{mkpasswd('sha512crypt', 'sünde', 5000)}\n")
    path.chmod(0o600)
    return path


class BasicAuth(LintelTestCase):
    @classmethod
    def configure(cls):
        cls.users = users(cls.folder)
        auth = {"users_file": str(cls.users), "realm": "Staff only"}

        def site(name, **keys):
            return cls.site(hosts=[name], **keys)
        return [site("app.test", route=[{"path": "/admin/*", "basic_auth": auth},
                                        {"path": "/passed/*", "basic_auth": {**auth, "forward_credentials": True}}]),
                site("denied.app.test", route=[{"deny": ["127.0.0.1"], "basic_auth": auth}]),
                site("slow.app.test", limits={"rate": "2/h"}, route=[{"basic_auth": auth}])], {}

    def ask(self, path="/admin/", headers=(), host="app.test", **options):
        with self.client(sni=host) as client:
            return client.request(get(path, host=host, headers=headers, **options))

    def test_without_a_password_the_client_is_asked_for_one(self):
        reply = self.ask()
        self.assertEqual((reply.status, reply.error), (401, "login-required"))
        self.assertEqual(reply.get("WWW-Authenticate"), 'Basic realm="Staff only", charset="UTF-8"')
        self.assertEqual(self.origin.requests, [])
        with self.h2() as h2:
            reply = h2.request("/admin/")
            self.assertEqual((reply.status, reply.get("www-authenticate")),
                             (401, 'Basic realm="Staff only", charset="UTF-8"'))
        self.assert_only_canary_reached()

    def test_every_kind_of_hash_lets_its_user_in(self):
        for name, password in (("ann", "right horse"), ("bob", "bobs"), ("zoe", "sünde")):
            self.assertEqual(self.ask(headers=[basic(name, password)]).status, 200, name)
            request = self.origin.requests[-1]
            self.assertEqual(request.all("Remote-User") + request.all("X-Remote-User"), [name, name])
            self.assertEqual(request.all("Authorization"), [], "the password reached the app")
        with self.h2() as h2:
            reply = h2.request("/admin/", headers=[("authorization", basic("bob", "bobs")[1])])
            self.assertEqual(reply.status, 200)

    def test_the_app_gets_the_password_only_where_the_configuration_says_so(self):
        credentials = basic("bob", "bobs")
        self.assertEqual(self.ask("/passed/x", headers=[credentials]).status, 200)
        self.assertEqual(self.origin.requests[-1].all("Authorization"), [credentials[1]])
        self.assertEqual(self.ask("/open", headers=[credentials]).status, 200)
        self.assertEqual(self.origin.requests[-1].all("Authorization"), [credentials[1]], "not Lintel's on this path")
        self.assertEqual(self.origin.requests[-1].all("Remote-User"), [])

    def test_what_is_not_one_password_is_none(self):
        for headers in ([("Authorization", "Bearer x")], [("Authorization", "Basic")],
                        [("Authorization", "Basic %%%")], [basic("bob", "bobs"), basic("bob", "bobs")],
                        [("Authorization", "Basic " + base64.b64encode(b"bob").decode())],
                        [("Authorization", "Basic " + base64.b64encode(b"bob:bobs\0x").decode())]):
            self.assertEqual(self.ask(headers=headers).error, "login-required", headers)
        self.assertEqual(self.origin.requests, [])

    # A user who could name himself would be anybody.
    def test_a_user_cannot_call_himself_another(self):
        for name in FORGED:
            if name[2:].lower() == "team":
                continue  # no name of this site
            for path in ("/admin/", "/open"):
                self.origin.reset()
                self.assertEqual(self.ask(path, headers=[basic("bob", "bobs"), (name, "root")]).status, 200)
                self.assertNotIn(b"root", self.origin.seen(), f"{name} at {path}")
        with self.h2() as h2:
            self.origin.reset()
            h2.request("/admin/", headers=[("authorization", basic("bob", "bobs")[1]), ("remote_user", "root")])
            self.assertNotIn(b"root", self.origin.seen())

    def test_there_is_no_path_around_it(self):
        for path in ("/admin", "/admin/", "//admin/x", "/%61dmin/x", "/./admin/x", "/x/../admin/x", "/admin/..;/admin/x",
                     "/x/..;/admin/x", "/admin;a=b/x", "/;/admin/x", "/ADMIN/x", "/Admin", "/%41dmin/x",
                     "/admin/%2e%2e/admin/x", "/admin?x", "/admin/%2e/x", "///admin///x"):
            reply = self.ask(path)
            self.assertIn(reply.status, (400, 401), path)
        for path in ("/%2fadmin/x", "/admin%2fx", "/admin\\x", "/x%5c..%5cadmin", "/%00/../admin"):
            self.assertIn(self.ask(path).status, (400, 401), path)
        self.assertEqual(self.origin.requests, [])
        for path in ("/administrator", "/x/admin"):
            self.assertEqual(self.ask(path).status, 200, path)

    # Apps differ in what ".." takes away: to a browser's URL parser (Next.js, Hono) "/admin//../x" is "/admin/x", and to
    # Tomcat "/x/;/../admin" is "/admin". What such a path means is decided before the door, not behind it.
    def test_no_path_means_something_else_to_the_app(self):
        for path, means in (("/admin//../x", "/x"), ("/x/;/../admin/x", "/x/admin/x"), ("/admin//%2e%2E/x", "/x"),
                            ("/admin//./../../x?a=/../b", "/x?a=/../b"), ("/a..b//.c/...", "/a..b//.c/...")):
            with self.client() as client:
                self.assertEqual(client.request(get(path)).status, 200, path)
            self.assertEqual(self.origin.requests[-1].target, means, path)

    def test_deny_and_rate_come_before_any_password(self):
        self.assertEqual(self.ask("/", host="denied.app.test", headers=[basic("bob", "bobs")]).status, 403)
        for wanted in (401, 401, 429):
            self.assertEqual(self.ask("/", host="slow.app.test").status, wanted)

    def test_no_credentials_in_any_log(self):
        self.ask(headers=[basic("bob", "a-very-secret-guess")])
        self.ask(headers=[basic("bob", "bobs")])
        self.lintel.wait_log(lambda line: line["status"] == 401)
        text = self.lintel.stderr() + self.lintel.stdout() + self.lintel.access_log_path.read_text()
        for secret in ("a-very-secret-guess", basic("bob", "bobs")[1].split()[1], "$2b$", "$y$"):
            self.assertNotIn(secret, text)


class Guessing(LintelTestCase):
    @classmethod
    def setUpClass(cls):
        cls.process_options = {"trust": [{"peers": ["127.0.0.1/32"], "source": "x-forwarded"}]}
        super().setUpClass()

    @classmethod
    def configure(cls):
        cls.users = users(cls.folder)
        return [cls.site(route=[{"path": "/admin/*", "basic_auth": {"users_file": str(cls.users)}}])], {}

    def ask(self, name, password, client="198.51.100.1"):
        return self.fetch("/admin/", headers=[basic(name, password), ("X-Forwarded-For", client)])

    # Not even the right password is looked at then, so that a guesser does not learn that it was right.
    def test_a_guesser_is_shut_out_on_every_worker(self):
        answers = [self.ask("bob", f"guess{n}").error for n in range(14)]
        self.assertEqual(answers, ["login-required"] * 10 + ["login-limited"] * 4)
        refused = self.ask("bob", "bobs")
        self.assertEqual((refused.status, refused.error), (429, "login-limited"))
        self.assertTrue(1 <= int(refused.get("Retry-After")) <= 30, refused.headers)
        self.assertEqual(self.origin.requests, [])
        self.assertEqual(self.ask("bob", "bobs", client="198.51.100.2").status, 200)
        self.assertIn("login-limited: 198.51.100.1", self.lintel.stderr())

    def test_a_changed_file_counts_without_a_restart(self):
        self.assertEqual(self.ask("carl", "new", client="198.51.100.9").status, 401)
        text = self.users.read_text()
        self.users.write_text(text + f"carl:{mkpasswd('bcrypt', 'new', 4)}\n")
        wait_until(lambda: "anew: 4 users" in self.lintel.stderr(), "the file to be read")
        self.assertEqual(self.ask("carl", "new", client="198.51.100.9").status, 200)
        self.users.write_text(text + "carl:plain\n")
        wait_until(lambda: "the users stay as they were" in self.lintel.stderr(), "the fault to be noticed")
        self.assertEqual(self.ask("carl", "new", client="198.51.100.9").status, 200)
        self.users.write_text(text)
        wait_until(lambda: "anew: 3 users" in self.lintel.stderr(), "the file to be read")
        self.assertEqual(self.ask("carl", "new", client="198.51.100.9").status, 401, "he was taken out")


class AuthRequest(LintelTestCase):
    @classmethod
    def configure(cls):
        cls.service = Origin()
        cls.addClassCleanup(cls.service.stop)
        cls.dead = f"http://127.0.0.1:{free_port()}/check"
        auth = {"url": cls.service.url + "/check?from=lintel", "copy": ["Remote-User", "X-Team"]}
        return [cls.site(route=[{"path": "/app/*", "auth_request": auth, "strip_prefix": "/app"},
                                {"path": "/admin/*", "auth_request": auth},
                                {"path": "/dead/*", "auth_request": cls.dead},
                                {"path": "/token/*", "auth_request": {"url": auth["url"],
                                                                      "copy": ["Authorization"]}}])], {}

    def setUp(self):
        super().setUp()
        self.service.reset()

    def answers(self, *reply, **options):
        self.service.respond = lambda request: answer(*reply, **options)

    def test_the_service_sees_what_is_asked(self):
        reply = self.fetch("//admin/./x?a=b", method="POST", body=b"payload", headers=[
            ("Cookie", "session=1"), ("Authorization", "Bearer t"), ("Accept", "text/html"), ("X-Other", "y"),
            ("X-Original-URI", "/open"), ("X-Forwarded-Uri", "/open"), ("X-Forwarded-For", "6.6.6.6"),
            ("Content-Type", "text/plain")])
        self.assertEqual(reply.status, 200)
        asked, = self.service.requests
        self.assertEqual((asked.line, asked.body), ("GET /check?from=lintel HTTP/1.1", b""))
        self.assertEqual(asked.get("Host"), f"127.0.0.1:{self.service.port}")
        for name, value in {"X-Original-Method": "POST", "X-Forwarded-Method": "POST", "Cookie": "session=1",
                            "X-Original-URI": "/admin/x?a=b", "X-Forwarded-Uri": "/admin/x?a=b",
                            "X-Original-URL": "https://app.test/admin/x?a=b", "X-Forwarded-Proto": "https",
                            "X-Forwarded-Host": "app.test", "X-Forwarded-For": "127.0.0.1", "Accept": "text/html",
                            "Authorization": "Bearer t"}.items():
            self.assertEqual(asked.all(name), [value], name)
        for name in ("X-Other", "Content-Type", "Content-Length", "Transfer-Encoding"):
            self.assertEqual(asked.all(name), [], name)
        got, = self.origin.requests
        self.assertEqual((got.target, got.body), ("/admin/x?a=b", b"payload"))
        self.assertEqual(got.get("Authorization"), "Bearer t")

    def test_only_the_configured_headers_reach_the_app(self):
        self.answers(200, b"", headers=[("Remote-User", "ann"), ("X-Team", "red"), ("X-Secret", "s"),
                                        ("X-Forwarded-For", "6.6.6.6"), ("Set-Cookie", "a=b")])
        reply = self.fetch("/app/x")
        self.assertEqual((reply.status, reply.get("Set-Cookie")), (200, None))
        got, = self.origin.requests
        self.assertEqual(got.target, "/x")
        self.assertEqual(self.service.requests[0].get("X-Original-URI"), "/app/x")
        self.assertEqual([got.all(n) for n in ("Remote-User", "X-Team", "X-Secret", "X-Forwarded-For")],
                         [["ann"], ["red"], [], ["127.0.0.1"]])

    # CVE class of Caddy's forward_auth (GHSA-7r4p-vjf4-gxv4): a header that the service does not send must not be the
    # client's.
    def test_a_client_cannot_bring_an_identity_along(self):
        self.answers(204, b"", length=False)
        for name in FORGED:
            for path in ("/admin/x", "/open"):
                self.origin.reset()
                reply = self.fetch(path, headers=[(name, "root"), ("Connection", name)])
                self.assertIn(reply.status, (200, 400), name)
                self.assertNotIn(b"root", self.origin.seen(), f"{name} at {path}")
        with self.h2() as h2:
            self.origin.reset()
            for name in FORGED:
                h2.request("/admin/x", headers=[(name.lower(), "root")])
            self.assertNotIn(b"root", self.origin.seen())
        self.origin.reset()
        with self.client() as client:
            client.send(b"POST /admin/x HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                        + chunked(b"x", trailers=[("X-Team", "root"), ("Remote_User", "root")]))
            self.assertEqual(client.read_response().status, 200)
        self.assertNotIn(b"root", self.origin.seen())

    def test_a_copied_authorization_replaces_the_clients(self):
        self.answers(200, b"", headers=[("Authorization", "Bearer from-service")])
        self.fetch("/token/x", headers=[("Authorization", "Bearer from-client")])
        self.assertEqual(self.origin.requests[-1].all("Authorization"), ["Bearer from-service"])
        self.answers(200, b"")
        self.fetch("/token/x", headers=[("Authorization", "Bearer from-client")])
        self.assertEqual(self.origin.requests[-1].all("Authorization"), [])

    def test_a_refusal_is_the_services_own(self):
        for status, body, headers in ((401, b"log in", [("WWW-Authenticate", 'Bearer realm="x"')]),
                                      (403, b"not you", [("Content-Type", "text/plain")]),
                                      (302, b"", [("Location", "https://login.test/?rd=x"), ("Set-Cookie", "s=1")])):
            self.answers(status, body, headers=headers + [("X-Lintel-Error", "none")])
            reply = self.fetch("/admin/x")
            self.assertEqual((reply.status, reply.body, reply.error), (status, body, None))
            for name, value in headers:
                self.assertEqual(reply.all(name), [value + "; Secure" if name == "Set-Cookie" else value])
            with self.h2() as h2:
                reply = h2.request("/admin/x")
                self.assertEqual((reply.status, bytes(reply.body)), (status, body))
        self.assertEqual(self.origin.requests, [])
        self.lintel.wait_log(lambda line: line.get("error") == "auth-refused" and line["status"] == 302)
        self.answers(200, b"")
        self.assert_only_canary_reached()

    # Whatever else the service does, nobody gets in.
    def test_a_service_that_fails_keeps_the_door_shut(self):
        def unavailable(what):
            reply = self.fetch("/admin/x")
            self.assertEqual((reply.status, reply.error), (503, "auth-unavailable"), what)
        for status in (302, 304, 400, 404, 429, 500, 502):
            self.answers(status, b"")
            unavailable(status)
        self.answers(200, b"x" * 200_000)
        unavailable("a huge answer")
        self.answers(403, b"x" * 200_000)
        unavailable("a huge refusal")
        for octets in (b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
                       b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
                       b"HTTP/1.1 103 Early\r\n\r\n" * 50 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"):
            self.service.drop_connections()

            def handler(conn, octets=octets):
                if conn.read_request():
                    conn.send(octets)
            self.service.handler = handler
            unavailable(octets[:40])
        self.assertEqual(self.fetch("/dead/x").error, "auth-unavailable")
        self.assertEqual(self.origin.requests, [])
        self.assertIn("auth-unavailable", self.lintel.stderr())
        self.service.reset()
        self.service.drop_connections()
        self.assertEqual(self.fetch("/admin/x").status, 200, "it has recovered")

    def test_a_pooled_connection_that_the_service_closed_costs_nobody_a_request(self):
        self.assertEqual(self.fetch("/admin/x").status, 200)
        self.service.drop_connections()
        for _ in range(4):
            self.assertEqual(self.fetch("/admin/x").status, 200)

    def test_a_client_that_goes_away_ends_the_question(self):
        gone = threading.Event()
        self.service.drop_connections()

        def handler(conn):
            if conn.read_request():
                conn.wait_gone()
                gone.set()
        self.service.handler = handler
        with self.client() as client:
            client.send(get("/admin/x"))
            self.service.wait_for(lambda: self.service.requests)
        self.assertTrue(gone.wait(15), "the service's connection is still held")
        self.assertEqual(self.origin.requests, [])

    def test_a_service_that_hangs_is_given_up(self):
        self.service.drop_connections()
        self.service.handler = lambda conn: conn.read_request() and conn.wait_gone()
        reply = self.fetch("/admin/x", timeout=40)
        self.assertEqual((reply.status, reply.error), (503, "auth-unavailable"))
        self.assertEqual(self.origin.requests, [])


if __name__ == "__main__":
    unittest.main()
