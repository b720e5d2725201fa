"""The examples of docs/from-nginx.md and docs/from-caddy.md, run: the old server and Lintel get the same requests, and
what the pages say of either is checked. A page that promised a header, a redirect or a refusal that is not there would
lead people to switch something off that protected them."""
import base64

from migration import *

FORGED = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "http"), ("X-Forwarded-Host", "evil.example"),
          ("X-Forwarded-Port", "99"), ("Forwarded", "for=6.6.6.6;host=evil.example;proto=http"), ("X-Real-IP", "6.6.6.6"),
          ("X_Forwarded_For", "6.6.6.6")]


class Pages(unittest.TestCase):
    document = old = None

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-migration-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        os.chmod(cls.folder, 0o755)
        cls.world = World(cls.folder)
        cls.addClassCleanup(cls.world.stop)
        cls.app, cls.api, cls.blog = (cls.world.apps[port] for port in ORIGIN_PORTS)
        cls.examples = examples(cls.document)
        cls.language = "nginx" if cls.old is NginxSide else "caddy"

    def setUp(self):
        self.world.reset()

    def sides(self, name):
        """Both servers with the example, as (old, lintel)."""
        example = self.examples[name]
        self.assertEqual(set(example), {self.language, "toml"}, name)
        started = []
        for side, language in ((self.old, self.language), (LintelSide, "toml")):
            one = side(self.world, self.folder / f"{name}-{side.name}")
            self.addCleanup(one.stop)
            started.append(one.run(example[language]))
        return started

    def seen(self, side, path="/", headers=(), app=None, **options):
        """What the app gets of a request through `side`."""
        app = app or self.app
        before = len(app.requests)
        answer_ = side.fetch(path, headers, **options)
        self.assertEqual(answer_.status, 200, f"{side.name}: {answer_.line}\n{side.output()}")
        self.assertEqual(len(app.requests), before + 1)
        return app.requests[-1]

    def check_lintel_identity(self, request):
        """What the app is told through Lintel, whatever the client wrote."""
        expected = {"host": "example.com", "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https",
                    "x-forwarded-host": "example.com", "x-forwarded-port": "443", "x-real-ip": "127.0.0.1"}
        for name, value in expected.items():
            self.assertEqual(request.all(name), [value], name)
        self.assertEqual(request.all("forwarded") + request.all("x_forwarded_for"), [])

    def check_websocket(self, name):
        def upgrade(conn):
            request = conn.read_head()
            if request is None:
                return
            conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                      b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
            while conn.fill():
                conn.send(bytes(conn.pending))
                conn.pending.clear()
        self.app.handler = upgrade
        for side in self.sides(name):
            with self.subTest(side=side.name), side.client() as client:
                client.send(get("/chat", host="example.com", headers=[
                    ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]))
                head = client.read_until(b"\r\n\r\n")
                self.assertIn(b" 101 ", head.split(b"\r\n")[0])
                client.send(b"ping")
                self.assertEqual(client.read_exactly(4), b"ping")

    def check_paths(self):
        old, lintel = self.sides("paths")
        for side in (old, lintel):
            with self.subTest(side=side.name):
                self.assertEqual(self.seen(side, "/api/users", app=self.api).target, "/api/users")
                self.assertEqual(self.seen(side, "/blog/post", app=self.blog).target, "/post")
                self.assertEqual(self.seen(side, "/other").target, "/other")
        self.assertEqual(self.seen(old, "/blog/post", app=self.blog).all("x-forwarded-prefix"), [])
        self.assertEqual(self.seen(lintel, "/blog/post", app=self.blog).all("x-forwarded-prefix"), ["/blog"])
        return old, lintel

    def check_balance(self):
        old, lintel = self.sides("balance")
        for side in (old, lintel):
            with self.subTest(side=side.name):
                self.world.reset()
                for _ in range(4):
                    self.assertEqual(side.fetch().status, 200)
                self.assertEqual((len(self.app.requests), len(self.api.requests)), (2, 2))
        return old, lintel

    def check_unix(self):
        old, lintel = self.sides("unix")
        for side in (old, lintel):
            with self.subTest(side=side.name):
                request = self.seen(side, "/sock", app=self.world.socket_app)
                self.assertEqual(request.target, "/sock")
        self.check_lintel_identity(self.seen(lintel, app=self.world.socket_app))
        return old

    def check_password(self):
        old, lintel = self.sides("password")
        right = "Basic " + base64.b64encode(b"ann:secret").decode()
        wrong = "Basic " + base64.b64encode(b"ann:guess").decode()
        for side in (old, lintel):
            with self.subTest(side=side.name):
                self.app.reset()
                for headers in ([], [("Authorization", wrong)]):
                    refused = side.fetch("/admin/x", headers)
                    self.assertEqual(refused.status, 401)
                    self.assertIn("basic realm=", refused.get("www-authenticate").lower())
                self.assertEqual(self.app.requests, [])
                self.assertEqual(self.seen(side, "/admin/x", [("Authorization", right)]).target, "/admin/x")
                self.assertEqual(self.seen(side, "/open").target, "/open")

    def check_ask(self):
        old, lintel = self.sides("ask")
        for side in (old, lintel):
            with self.subTest(side=side.name):
                self.world.reset()
                self.blog.respond = lambda request: answer(401, b"")
                self.assertEqual(side.fetch("/x").status, 401)
                self.assertEqual(self.app.requests, [])
                self.assertEqual(self.blog.requests[-1].target, "/check")
                self.blog.respond = lambda request: answer(200, b"")
                request = self.seen(side, "/x", [("Remote-User", "admin")])
                self.assertEqual(request.all("remote-user"), ["admin"] if side is old else [])

    def check_clients(self):
        old, lintel = self.sides("clients")
        context = tls_client_context()
        context.load_cert_chain(*self.world.ca.issue("someone"))
        for side in (old, lintel):
            with self.subTest(side=side.name):
                self.app.reset()
                with self.assertRaises((OSError, Closed, AssertionError)):
                    self.assertEqual(side.fetch().status, 200)
                self.assertEqual(self.app.requests, [])
                request = self.seen(side, headers=[("Client-Cert", ":AAAA:")], tls=context)
                if side is old:
                    self.assertEqual(request.all("client-cert"), [":AAAA:"])
                else:
                    self.assertEqual(len(request.all("client-cert")), 1)
                    self.assertNotEqual(request.get("client-cert"), ":AAAA:")

    def check_maintenance(self):
        for side in self.sides("maintenance"):
            with self.subTest(side=side.name):
                response = side.fetch()
                self.assertEqual(response.status, 503)
                self.assertGreater(int(response.get("retry-after")), 0)
        self.assertEqual(self.app.requests, [])


class FromNginx(Pages):
    document, old = "from-nginx.md", NginxSide

    def test_every_example_is_tried(self):
        tried = {name.removeprefix("test_example_") for name in dir(self) if name.startswith("test_example_")}
        self.assertEqual(tried, set(self.examples))

    def test_example_seven(self):
        old, lintel = self.sides("seven")
        self.app.respond = lambda request: answer(302, headers=[
            ("Location", "http://example.com/next"), ("Set-Cookie", "session=1; Path=/")])
        for side in (old, lintel):
            with self.subTest(side=side.name):
                redirect = side.fetch("/a?b=c", tls=False)
                self.assertIn(redirect.status, (301, 308))
                self.assertRegex(redirect.get("location"), r"^https://example\.com(:\d+)?/a\?b=c$")
                response = side.fetch("/a", FORGED)
                self.assertRegex(response.get("location"), r"^https://example\.com(:\d+)?/next$")
                self.assertEqual(response.get("set-cookie").lower().count("secure"), 1)
                self.assertEqual(response.all("strict-transport-security"), ["max-age=31536000"])
                request = self.app.requests[-1]
                self.assertEqual(request.all("x-forwarded-for"), ["127.0.0.1"])
                self.assertEqual(request.all("x-forwarded-proto"), ["https"])
                self.assertEqual(request.all("x-forwarded-host"), ["example.com"])
                self.assertEqual(request.all("forwarded"), [])
        self.check_lintel_identity(self.app.requests[-1])
        # What the page says still differs.
        self.app.reset()
        self.assertEqual(self.seen(old, headers=FORGED).all("x-real-ip"), ["6.6.6.6"])
        self.assertEqual(self.seen(old, host="other.example").get("host"), "other.example")
        self.app.reset()
        refused = lintel.fetch(host="other.example")
        self.assertEqual((refused.status, refused.error), (421, "host-not-served"))
        self.assertEqual(self.app.requests, [])

    def test_example_popular(self):
        old, lintel = self.sides("popular")
        request = self.seen(old, headers=FORGED)
        self.assertEqual(request.get("x-forwarded-for"), "6.6.6.6, 127.0.0.1")
        self.assertEqual(request.get("x-forwarded-host"), "evil.example")
        self.assertEqual(request.get("forwarded"), "for=6.6.6.6;host=evil.example;proto=http")
        self.check_lintel_identity(self.seen(lintel, headers=FORGED))

    def test_example_inherit(self):
        old, lintel = self.sides("inherit")
        request = self.seen(old, headers=FORGED)
        self.assertEqual((request.get("x-forwarded-for"), request.get("x-forwarded-proto")), ("6.6.6.6", "http"))
        self.assertEqual(request.get("x-tenant"), "blue")
        request = self.seen(lintel, headers=FORGED)
        self.check_lintel_identity(request)
        self.assertEqual(request.all("x-tenant"), ["blue"])

    def test_example_websocket(self):
        self.check_websocket("websocket")

    def test_example_paths(self):
        old, lintel = self.check_paths()
        self.assertEqual(old.fetch("/api").status, 301)
        self.assertEqual(self.seen(lintel, "/api", app=self.api).target, "/api")

    def test_example_balance(self):
        old, lintel = self.check_balance()
        self.assertEqual({old.fetch().status, lintel.fetch().status}, {200})
        hosts = {request.get("host") for app in (self.app, self.api) for request in app.requests}
        self.assertEqual(hosts, {"app", "example.com"})

    def test_example_allow(self):
        old, lintel = self.sides("allow")
        for side in (old, lintel):
            with self.subTest(side=side.name):
                self.assertEqual(side.fetch("/admin/x").status, 403)
                self.assertEqual(self.seen(side, "/public").target, "/public")
        self.assertEqual(self.seen(old, "//admin/x").target, "//admin/x")
        self.app.reset()
        for path in ("//admin/x", "/./admin/x", "/a/../admin/x", "/%61dmin/x"):
            self.assertEqual(lintel.fetch(path).status, 403, path)
        self.assertEqual(self.app.requests, [])

    def test_example_cdn(self):
        old, lintel = self.sides("cdn")
        chain = [("X-Forwarded-For", "6.6.6.6, 203.0.113.9, 127.0.0.2"), ("X-Forwarded-Proto", "https")]
        for side in (old, lintel):
            with self.subTest(side=side.name):
                self.assertEqual(self.seen(side, headers=chain).all("x-forwarded-for"), ["203.0.113.9"])
        garbage = [("X-Forwarded-For", "203.0.113.9, nonsense")]
        self.assertEqual(self.seen(old, headers=garbage).get("x-forwarded-for"), "127.0.0.1")
        refused = lintel.fetch(headers=garbage)
        self.assertEqual((refused.status, refused.error), (400, "forwarded-garbage"))

    def test_example_unix(self):
        old = self.check_unix()
        self.assertEqual(self.seen(old, app=self.world.socket_app).get("host"), "localhost")

    def test_example_uploads(self):
        for side in self.sides("uploads"):
            with self.subTest(side=side.name):
                self.app.reset()
                self.assertEqual(side.fetch("/up", method="POST", body=b"x" * (2 << 20)).status, 200)
                self.assertEqual(len(self.app.requests[-1].body), 2 << 20)
                self.app.reset()
                with side.client() as client:
                    client.send(get("/up", host="example.com", method="POST",
                                    headers=[("Content-Length", str((2 << 20) + 1))]))
                    self.assertIn(b" 413 ", client.read_until(b"\r\n"))
                self.assertEqual(self.app.requests, [])

    def test_example_password(self):
        self.check_password()

    def test_example_ask(self):
        self.check_ask()

    def test_example_rate(self):
        for side in self.sides("rate"):
            with self.subTest(side=side.name):
                self.assertEqual([side.fetch().status for _ in range(3)], [200, 200, 200])
                refused = side.fetch()
                self.assertEqual(refused.status, 503 if side.name == "nginx" else 429)
        self.assertGreater(int(refused.get("retry-after")), 0)

    def test_example_clients(self):
        self.check_clients()

    def test_example_maintenance(self):
        self.check_maintenance()


class FromCaddy(Pages):
    document, old = "from-caddy.md", CaddySide

    def test_every_example_is_tried(self):
        tried = {name.removeprefix("test_example_") for name in dir(self) if name.startswith("test_example_")}
        self.assertEqual(tried, set(self.examples))

    def test_example_seven(self):
        old, lintel = self.sides("seven")
        self.app.respond = lambda request: answer(302, headers=[
            ("Location", "http://example.com/next"), ("Set-Cookie", "session=1; Path=/")])
        for side in (old, lintel):
            with self.subTest(side=side.name):
                redirect = side.fetch("/a?b=c", tls=False)
                self.assertEqual(redirect.status, 308)
                self.assertRegex(redirect.get("location"), r"^https://example\.com(:\d+)?/a\?b=c$")
                response = side.fetch("/a", FORGED)
                self.assertRegex(response.get("location"), r"^https://example\.com(:\d+)?/next$")
                self.assertEqual(response.get("set-cookie").lower().count("secure"), 1)
                self.assertEqual(response.all("strict-transport-security"), ["max-age=31536000"])
                self.assertEqual(self.app.requests[-1].all("forwarded"), [])
        # What the page says of the two header_down lines.
        self.app.respond = lambda request: answer(302, headers=[
            ("Location", "http://elsewhere.example/"), ("Set-Cookie", "session=1; Secure")])
        response = old.fetch()
        self.assertEqual(response.get("location"), "https://elsewhere.example/")
        self.assertEqual(response.get("set-cookie").count("Secure"), 2)
        response = lintel.fetch()
        self.assertEqual(response.get("location"), "http://elsewhere.example/")
        self.assertEqual(response.get("set-cookie").count("Secure"), 1)

    def test_example_headers(self):
        old, lintel = self.sides("headers")
        request = self.seen(old, headers=FORGED)
        for name, value in (("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "https"),
                            ("x-forwarded-host", "example.com"), ("x-real-ip", "6.6.6.6"), ("x-forwarded-port", "99"),
                            ("forwarded", "for=6.6.6.6;host=evil.example;proto=http")):
            self.assertEqual(request.all(name), [value], name)
        self.check_lintel_identity(self.seen(lintel, headers=FORGED))
        self.app.reset()
        unknown = old.fetch(host="other.example")
        self.assertEqual((unknown.status, unknown.body), (200, b""))
        refused = lintel.fetch(host="other.example")
        self.assertEqual((refused.status, refused.error), (421, "host-not-served"))
        self.assertEqual(self.app.requests, [])

    def test_example_websocket(self):
        self.check_websocket("websocket")

    def test_example_paths(self):
        self.check_paths()

    def test_example_balance(self):
        self.check_balance()

    def test_example_allow(self):
        old, lintel = self.sides("allow")
        for side in (old, lintel):
            with self.subTest(side=side.name):
                self.assertEqual(side.fetch("/admin/x").status, 403)
                self.assertEqual(self.seen(side, "/public").target, "/public")
        self.assertEqual(self.seen(old, "/admin").target, "/admin")
        self.assertEqual(lintel.fetch("/admin").status, 403)

    def test_example_cdn(self):
        old, lintel = self.sides("cdn")
        chain = [("X-Forwarded-For", "6.6.6.6, 203.0.113.9, 127.0.0.2"), ("X-Forwarded-Proto", "https")]
        self.assertEqual(self.seen(old, headers=chain).get("x-forwarded-for"),
                         "6.6.6.6, 203.0.113.9, 127.0.0.2, 127.0.0.1")
        self.assertEqual(self.seen(lintel, headers=chain).all("x-forwarded-for"), ["203.0.113.9"])

    def test_example_unix(self):
        self.check_unix()

    def test_example_uploads(self):
        old, lintel = self.sides("uploads")
        for side in (old, lintel):
            with self.subTest(side=side.name):
                self.assertEqual(side.fetch("/up", method="POST", body=b"x" * (2 << 20)).status, 200)
        self.app.reset()
        with lintel.client() as client:
            client.send(get("/up", host="example.com", method="POST", headers=[("Content-Length", str((2 << 20) + 1))]))
            self.assertIn(b" 413 ", client.read_until(b"\r\n"))
        self.assertEqual(self.app.requests, [])
        with old.client() as client:
            client.send(get("/up", host="example.com", method="POST", body=b"x" * ((2 << 20) + 1)))
            self.assertNotIn(b" 200 ", client.read_until(b"\r\n"))
        self.app.wait_for(lambda: self.app.requests, "Caddy's request")

    def test_example_password(self):
        self.check_password()

    def test_example_ask(self):
        self.check_ask()

    def test_example_clients(self):
        self.check_clients()

    def test_example_maintenance(self):
        self.check_maintenance()


del Pages

if __name__ == "__main__":
    unittest.main()
