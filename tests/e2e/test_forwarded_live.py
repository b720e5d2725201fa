"""Who the client is, on the wire: every example row through a live listener, that nothing a stranger sends makes a
difference, and that the policies read the identity. Imports the rows that `resolve` is tested with too."""
import random

from forwarded_rows import C, HOP, ROWS, RULES, SERVED, STRANGER
from lintel_test import *


def folded(name):
    return "".join(c if c.isalnum() else "-" for c in name.lower())


class Live(unittest.TestCase):
    """The same rows on the wire. A PROXY protocol header gives the connection the row's peer, so that real addresses
    can be used; what it carries is then decided as for any other peer."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.ca = CertificateAuthority(cls.folder / "ca")
        cls.cert = cls.ca.issue("app.ex", "www.ex")
        cls.origin = Origin()
        cls.addClassCleanup(cls.origin.stop)
        cls.running = {}
        for name, rules in RULES.items():
            folder = cls.folder / name
            folder.mkdir()
            tls, plain = free_port(), free_port()
            sock = str(folder / "sock")
            listen = lambda port: {"listen": f"127.0.0.1:{port}", "proxy_protocol": ["127.0.0.0/8"]}  # noqa: E731
            serve = Serve(folder, [{"hosts": SERVED, "certificate": {"file": cls.cert[0], "key": cls.cert[1]},
                                    "to": [cls.origin.url], "redirect_http": "off"}],
                          {"https": [listen(tls)], "http": [listen(plain), f"unix:{sock}"], "workers": 1},
                          wait=False, trust=rules)
            serve.tls_port, serve.plain_port, serve.sock = tls, plain, sock
            cls.running[name] = serve
            cls.addClassCleanup(serve.stop)
        for serve in cls.running.values():
            serve.wait_listening(serve.tls_port, serve.plain_port, unix_path=serve.sock)

    def setUp(self):
        self.origin.reset()

    def connect(self, serve, listener, peer):
        if peer == "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(serve.sock)
            return sock
        sock = socket.create_connection(("127.0.0.1", serve.tls_port if listener == "S" else serve.plain_port), timeout=30)
        family = "TCP6" if ":" in peer else "TCP4"
        sock.sendall(f"PROXY {family} {peer} {'::1' if family == 'TCP6' else '127.0.0.1'} 4711 80\r\n".encode())
        if listener == "S":
            context = ssl.create_default_context(cafile=self.ca.cert)
            sock = context.wrap_socket(sock, server_hostname="app.ex")
        return sock

    def ask(self, serve, listener, peer, lines, path="/"):
        """(status, X-Lintel-Error, the request as the app got it or None)."""
        before = len(self.origin.requests)
        with self.connect(serve, listener, peer) as sock:
            sock.settimeout(30)
            head = f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
            sock.sendall(head.encode())
            answer_text = b""
            while b"\r\n\r\n" not in answer_text:
                data = sock.recv(65536)
                if not data:
                    break
                answer_text += data
        status = int(answer_text.split(b" ", 2)[1])
        error = re.search(rb"(?i)x-lintel-error: (\S+)", answer_text)
        seen = self.origin.requests[before] if len(self.origin.requests) > before else None
        return status, error and error.group(1).decode(), seen

    def told(self, request):
        names = [name.lower() for name, _ in request.headers]
        for name in ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip", "host"):
            self.assertEqual(names.count(name), 1, request.headers)
        return {"scheme": request.get("x-forwarded-proto"), "client": request.get("x-forwarded-for"),
                "real": request.get("x-real-ip"), "port": int(request.get("x-forwarded-port")),
                "authority": request.get("host"), "forwarded_host": request.get("x-forwarded-host"),
                "prefix": request.get("x-forwarded-prefix")}

    def test_what_a_stranger_sends_makes_no_difference(self):
        """Property: for any lines that an untrusted peer adds, the app is told the same as without them."""
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        names = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix",
                 "Forwarded", "X-Real-IP", "CF-Connecting-IP", "Fly-Client-IP", "True-Client-IP", "Front-End-Https",
                 "X-Forwarded-Ssl", "X-Scheme", "X_Forwarded_For", "X-Forwarded_Proto", "x.forwarded.host", "Client-Cert",
                 "X-Original-URL", "CF-Visitor", "X-My-Client", "Connection"]
        values = [C, "6.6.6.6", "https", "http", "on", "evil", "www.ex", "8443", "//evil", "for=6.6.6.6;proto=https",
                  "10.0.0.7", f"{C}, 10.0.0.7", '"', "", "unknown", "x-forwarded-for", '{"scheme":"https"}', "," * 50]
        for name, serve in self.running.items():
            if name == "unix":
                continue
            for listener in ("S", "P"):
                _, _, plain = self.ask(serve, listener, STRANGER, [("Host", "app.ex")])
                expected = self.told(plain)
                for _ in range(12):
                    lines = [(rng.choice(names), rng.choice(values)) for _ in range(rng.randrange(1, 9))]
                    rng.shuffle(lines)
                    status, _, seen = self.ask(serve, listener, STRANGER, [("Host", "app.ex"), *lines])
                    self.assertEqual(status, 200, (seed, lines))
                    self.assertEqual(self.told(seen), expected, (seed, name, lines))
                    for header, _ in seen.headers:
                        self.assertFalse(folded(header) != header.lower() and folded(header).startswith("x-forwarded"),
                                         (seed, header))

    def test_a_stranger_cannot_use_a_header_that_a_rule_reads(self):
        """X-My-Client is not in the managed set; a rule that reads it makes it so, in every spelling and in trailers."""
        _, _, seen = self.ask(self.running["fixed"], "P", STRANGER, [("Host", "app.ex"), ("X_My-Client", C)])
        self.assertNotIn(C, str(seen.headers))
        with self.connect(self.running["fixed"], "P", STRANGER) as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: app.ex\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                         b"1\r\nx\r\n0\r\nX_My_Client: 6.6.6.6\r\nX-My-Client: 6.6.6.6\r\nX-Sum: 1\r\n\r\n")
            while sock.recv(65536):
                pass
        trailers = [(name.decode().lower() if isinstance(name, bytes) else name.lower()) for name, _ in
                    self.origin.requests[-1].trailers]
        self.assertEqual(trailers, ["x-sum"])

    def test_policies_use_the_identity(self):
        """allow, require_scheme, the redirect, cookies, HSTS and the log read the identity, not the connection."""
        with temp_folder() as folder:
            site = {"hosts": ["app.ex"], "certificate": {"file": self.cert[0], "key": self.cert[1]}, "hsts": True,
                    "to": [self.origin.url],
                    "route": [{"path": "/admin/*", "allow": [C]}, {"path": "/secret/*", "require_scheme": "https"}]}
            port = free_port()
            serve = Serve(folder, [site], {"http": [{"listen": f"127.0.0.1:{port}", "proxy_protocol": ["127.0.0.0/8"]}]},
                          wait=False, trust=RULES["T"])
            self.addCleanup(serve.stop)
            serve.wait_listening(port)
            serve.plain_port = port
            https_from = lambda client: [("Host", "app.ex"), ("X-Forwarded-For", client), ("X-Forwarded-Proto", "https")]  # noqa: E731
            self.origin.respond = lambda request: answer(200, b"ok", [("Set-Cookie", "session=1"), ("Connection", "close")])
            self.assertEqual(self.ask(serve, "P", HOP, https_from(C), "/admin/x")[0], 200)
            self.assertEqual(self.ask(serve, "P", HOP, https_from("203.0.113.10"), "/admin/x")[1], "access-denied")
            # Tomcat and Jetty drop ";…" of a segment, so these are /admin/x to them.
            for path in ("/admin;a=b/x", "/open/..;/admin/x", "/.;/admin/x", "/admin;", "/%61dmin;/x"):
                self.assertEqual(self.ask(serve, "P", HOP, https_from("203.0.113.10"), path)[1], "access-denied", path)
            self.assertEqual(self.ask(serve, "P", HOP, https_from("203.0.113.10"), "/open;a/x")[0], 200)
            self.assertEqual(self.ask(serve, "P", HOP, https_from(C), "/secret/x")[0], 200)
            self.assertEqual(self.ask(serve, "P", C, https_from(C), "/secret/x")[0], 308, "a stranger is on http")
            with self.connect(serve, "P", HOP) as sock:
                sock.sendall(b"GET /a HTTP/1.1\r\nHost: app.ex\r\nX-Forwarded-Proto: http\r\nConnection: close\r\n\r\n")
                text = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
            # The balancer's clients know its ports, not the one that Lintel is bound to.
            self.assertRegex(text, r"(?i)location: https://app\.ex/a\r\n")
            with self.connect(serve, "P", HOP) as sock:
                sock.sendall(("GET / HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in https_from(C)) +
                              "Connection: close\r\n\r\n").encode())
                text = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
            self.assertRegex(text, r"(?i)set-cookie: session=1; Secure")
            self.assertRegex(text, r"(?i)strict-transport-security: max-age")
            line = serve.wait_log(lambda one: one.get("client") == C and one["status"] == 200)
            self.assertEqual((line["peer"], line["client_from"], line["scheme"]), (HOP, "X-Forwarded-For", "https"))

    def test_allow_does_not_open_for_a_proxy_that_names_nobody(self):
        """CVE-2022-31813: a client makes the proxy in front drop its own header, and would then be taken for the proxy."""
        with temp_folder() as folder:
            site = {"hosts": ["app.ex"], "certificate": "self-signed", "to": [self.origin.url], "redirect_http": "off",
                    "route": [{"path": "/admin/*", "allow": ["10.0.0.0/8"]}, {"path": "/most/*", "deny": ["6.6.6.6"]}]}
            port = free_port()
            serve = Serve(folder, [site], {"http": [{"listen": f"127.0.0.1:{port}", "proxy_protocol": ["127.0.0.0/8"]}]},
                          wait=False, trust=RULES["T"])
            self.addCleanup(serve.stop)
            serve.wait_listening(port)
            serve.plain_port = port
            for lines in ([], [("X-Forwarded-For", "")], [("X-Forwarded-For", "6.6.6.6, unknown")]):
                for path in ("/admin/x", "/most/x"):  # who is denied would hide in the same way
                    status, error, _ = self.ask(serve, "P", HOP, [("Host", "app.ex"), *lines], path)
                    self.assertEqual((status, error), (403, "access-denied"), (lines, path))
            self.assertEqual(self.ask(serve, "P", HOP, [("Host", "app.ex"), ("X-Forwarded-For", "10.0.0.9")], "/admin/x")[0], 200)
            self.assertEqual(self.ask(serve, "P", HOP, [("Host", "app.ex"), ("X-Forwarded-For", "10.0.0.9")], "/most/x")[0], 200)
            self.assertEqual(self.ask(serve, "P", HOP, [("Host", "app.ex"), ("X-Forwarded-For", "6.6.6.6")], "/most/x")[0], 403)

    def test_a_refused_host_is_logged_with_its_client(self):
        """Whoever bans addresses by the log must not ban the balancer."""
        serve = self.running["T"]
        self.ask(serve, "P", HOP, [("Host", "nope.ex"), ("X-Forwarded-For", "198.51.100.99")])
        line = serve.wait_log(lambda one: one.get("error") == "host-not-served")
        self.assertEqual((line["client"], line["peer"]), ("198.51.100.99", HOP))

    def test_what_lintel_sets_for_the_app_has_no_alias(self):
        """"X_App_Key" beside Lintel's X-App-Key is one variable to a WSGI app, with the client's value in it."""
        with temp_folder() as folder:
            serve = Serve(folder, [{"hosts": ["app.ex"], "certificate": "self-signed", "to": [self.origin.url],
                                    "redirect_http": "off", "headers": {"request": {"set": {"X-App-Key": "secret"},
                                                                                    "remove": ["X-Debug"]}}}])
            self.addCleanup(serve.stop)
            with socket.create_connection(("127.0.0.1", serve.http), timeout=30) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: app.ex\r\nX_App_Key: evil\r\nX_Debug: 1\r\nX-App.Key: evil\r\n"
                             b"Connection: close\r\n\r\n")
                while sock.recv(65536):
                    pass
            seen = [(folded(name), value) for name, value in self.origin.requests[-1].headers]
            self.assertEqual([value for name, value in seen if name == "x-app-key"], ["secret"])
            self.assertNotIn("x-debug", [name for name, _ in seen])

    def test_a_refusal_names_header_and_peer(self):
        serve = self.running["T"]
        status, error, seen = self.ask(serve, "P", HOP, [("Host", "app.ex"), ("X-Forwarded-For", "bogus!")])
        self.assertEqual((status, error, seen), (400, "forwarded-garbage", None))
        line = serve.wait_log(lambda one: one.get("error") == "forwarded-garbage")
        self.assertEqual((line["peer"], line["error_detail"]), (HOP, "X-Forwarded-For"))
        self.assertRegex(serve.stderr(), rf"forwarded-garbage: X-Forwarded-For from peer {HOP}")

    def test_request_id_of_a_trusted_proxy_is_kept(self):
        serve = self.running["T"]
        for peer, sent, kept in [(HOP, "abc-123", True), (HOP, "x" * 200, False), (HOP, "a b", False), (C, "abc-123", False)]:
            _, _, seen = self.ask(serve, "P", peer, [("Host", "app.ex"), ("X-Request-Id", sent)])
            self.assertEqual(seen.get("x-request-id") == sent, kept, (peer, sent))
            self.assertEqual(len(seen.all("x-request-id")), 1)

    def test_passed_names_go_through_from_the_trusted_only(self):
        with temp_folder() as folder:
            rule = {"peers": ["127.0.0.2/32"], "source": "x-forwarded", "pass": ["x-goog-iap-jwt-assertion"]}
            serve = Serve(folder, [{"hosts": ["app.ex"], "certificate": "self-signed", "to": [self.origin.url],
                                    "redirect_http": "off"}], trust=[rule])
            self.addCleanup(serve.stop)
            for source, passes in [("127.0.0.2", True), ("127.0.0.1", False)]:
                self.origin.reset()
                with socket.create_connection(("127.0.0.1", serve.http), timeout=30, source_address=(source, 0)) as sock:
                    sock.sendall(b"GET / HTTP/1.1\r\nHost: app.ex\r\nX-Goog-IAP-JWT-Assertion: token\r\n"
                                 b"X_Goog_IAP_JWT_Assertion: other\r\nX-Goog-Iap-Other: x\r\nConnection: close\r\n\r\n")
                    while sock.recv(65536):
                        pass
                (request,) = self.origin.requests
                self.assertEqual(request.all("x-goog-iap-jwt-assertion"), ["token"] if passes else [])
                self.assertEqual(request.all("x-goog-iap-other"), [])
                self.assertEqual(request.all("x_goog_iap_jwt_assertion"), [], "an alias would be merged by the app")


def add_live_row(one):
    def test(self):
        serve = self.running[one["rule"]]
        status, error, seen = self.ask(serve, one["listener"], one["peer"], one["lines"])
        if one["code"]:
            self.assertEqual((status, error), (one["expected"], one["code"]))
            self.assertIsNone(seen, "a refused request reached the app")
            return
        self.assertEqual(status, 200, error)
        told, expected = self.told(seen), one["expected"]
        usual = 443 if expected["scheme"] == "https" else 80
        authority = expected["host"] if expected["port"] == usual else f"{expected['host']}:{expected['port']}"
        self.assertEqual(told, {"scheme": expected["scheme"], "client": expected["client"], "real": expected["client"],
                                "port": expected["port"], "authority": authority, "forwarded_host": authority,
                                "prefix": expected.get("prefix")})
        for name, _ in seen.headers:
            self.assertNotIn(folded(name), {"forwarded", "cf-connecting-ip", "fly-client-ip", "true-client-ip",
                                            "client-cert", "x-original-url", "front-end-https", "x-scheme",
                                            "x-my-client"})
        self.assertEqual(seen.target, "/")
    setattr(Live, f"test_row_{one['number']}", test)


for one_row in ROWS:
    if one_row["number"] != "16c":  # the listener's port is another on the wire
        add_live_row(one_row)
