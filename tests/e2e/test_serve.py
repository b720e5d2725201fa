"""`lintel serve`: sites, certificates, upstreams, redirects, routes, logs, stopping."""
from lintel_test import *


class Sites(LintelTestCase):
    """Which site, certificate and upstream a host gets."""

    @classmethod
    def configure(cls):
        cls.wild_cert, cls.default_cert = cls.ca.issue("*.wild.test"), cls.ca.issue("default.test")
        cls.named, cls.wild, cls.fallback = (Origin(lambda r, n=n: answer(200, n)) for n in ("named", "wild", "default"))
        for origin in (cls.named, cls.wild, cls.fallback):
            cls.addClassCleanup(origin.stop)

        def site(hosts, origin, cert, **more):
            return cls.site(hosts=hosts, to=[origin.url], certificate={"file": cert[0], "key": cert[1]}, **more)
        return [cls.site(), site(["*.wild.test"], cls.wild, cls.wild_cert),
                site(["named.wild.test"], cls.named, cls.wild_cert),
                cls.site(hosts=["self.test"], certificate="self-signed"),
                cls.site(hosts=["*"], to=[cls.fallback.url], certificate={"file": cls.default_cert[0], "key": cls.default_cert[1]}),
                ], {}

    def body(self, host):
        with self.client(sni=host) as client:
            return client.request(get("/", host=host)).body

    def test_exact_before_wildcard_before_default(self):
        self.assertEqual(self.body("named.wild.test"), b"named")
        self.assertEqual(self.body("other.wild.test"), b"wild")
        self.assertEqual(self.body("nobody.test"), b"default")
        self.assertEqual(self.body("app.test"), b"ok\n")
        self.assertEqual(self.body("APP.Test"), b"ok\n", "hosts have no case")

    def test_certificate_by_sni(self):
        def names(sni):
            with self.client(tls=tls_client_context(self.ca.cert), sni=sni) as client:
                return [value for _, value in client.sock.getpeercert()["subjectAltName"]]
        self.assertIn("app.test", names("app.test"))
        self.assertEqual(names("a.wild.test"), ["*.wild.test"])
        with self.assertRaises(ssl.SSLCertVerificationError):
            names("self.test")
        with self.client(sni="self.test") as client:
            self.assertEqual(client.request(get("/", host="self.test")).status, 200)

    def test_host_of_another_site_than_the_sni_is_served_by_the_host(self):
        """Browsers coalesce HTTP/2 connections; no site here has a TLS policy of its own."""
        with self.client(sni="app.test") as client:
            self.assertEqual(client.request(get("/", host="named.wild.test")).body, b"named")

    def test_port_in_host(self):
        with self.client() as client:
            for host in ("app.test", "app.test:443", f"app.test:{self.lintel.https}"):
                with self.subTest(host):
                    self.assertEqual(client.request(get("/", host=host)).status, 200)
        with self.client() as client:
            response = client.request(get("/", host="app.test:9"))
            self.assertEqual((response.status, response.error), (421, "host-port"))

    def test_tls_versions_and_ciphers(self):
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            with self.client(tls=tls_client_context(minimum=version, maximum=version)) as client:
                self.assertEqual(client.sock.version(), name)
                self.assertEqual(client.request(get("/")).status, 200)
        old = tls_client_context(minimum=ssl.TLSVersion.TLSv1, maximum=ssl.TLSVersion.TLSv1_1)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with self.assertRaises((ssl.SSLError, ConnectionResetError)):
            self.client(tls=old)
        weak = tls_client_context(maximum=ssl.TLSVersion.TLSv1_2)
        weak.set_ciphers("AES128-SHA:AES256-SHA:ECDHE-ECDSA-AES128-SHA:AES128-GCM-SHA256:@SECLEVEL=0")
        with self.assertRaises((ssl.SSLError, ConnectionResetError)):
            self.client(tls=weak)

    def test_a_session_is_resumed_on_any_worker(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = tls_client_context(minimum=version, maximum=version)
            with self.client(tls=context) as client:
                client.request(get("/"))
                session = client.sock.session
            for _ in range(6):
                with self.client(tls=context, session=session) as client:
                    client.request(get("/"))
                    self.assertTrue(client.sock.session_reused)
                    session = client.sock.session

    def test_no_renegotiation(self):
        """TLS 1.2 renegotiation is a CPU attack and was a splicing attack."""
        run = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.lintel.https}", "-servername", "app.test",
                              "-tls1_2"], input=b"R\n", capture_output=True, timeout=20, check=False)
        self.assertRegex(run.stdout + run.stderr, rb"no renegotiation|NO_RENEGOTIATION|handshake failure|unexpected eof|alert")


class OneSite(LintelTestCase):
    """With no default site, everything else is refused."""

    def test_unknown_host_is_421_and_reaches_nobody(self):
        for tls in (True, False):
            for host in ("evil.test", "app.test.evil.test", "127.0.0.1", "localhost"):
                with self.subTest(host, tls=tls), self.client(tls=tls) as client:
                    response = client.request(get("/", host=host))
                    self.assertEqual((response.status, response.error), (421, "host-not-served"))
        with self.h2() as h2:
            self.assertEqual(h2.request("/", authority="evil.test").status, 421)
        self.assert_only_canary_reached()

    def test_unknown_sni_gets_no_certificate(self):
        with self.assertRaises((ssl.SSLError, ConnectionResetError)):
            self.client(sni="evil.test")

    def test_access_log_names_everything(self):
        with self.client() as client:
            client.request(get("/log-me?secret=1&page=2", headers=[("User-Agent", "x")], method="POST", body=b"12345"))
        line = self.lintel.wait_log(lambda entry: "/log-me" in entry.get("target", ""))
        self.assertNotIn("secret=1", json.dumps(line))
        expected = {"host": "app.test", "method": "POST", "status": 200, "scheme": "https", "protocol": "HTTP/1.1",
                    "client": "127.0.0.1", "peer": "127.0.0.1", "bytes_in": 5, "bytes_out": 3, "sni": "app.test"}
        for key, value in expected.items():
            self.assertEqual(line.get(key), value, line)
        for key in ("time", "request_id", "upstream", "tls_version", "tls_cipher"):
            self.assertTrue(line.get(key), f"{key} in {line}")
        self.assertEqual(line["request_id"], self.origin.requests[0].get("x-request-id"))
        with self.h2() as h2:
            h2.request("/log-h2", authority="evil.test")
        line = self.lintel.wait_log(lambda entry: "/log-h2" in entry.get("target", ""))
        self.assertEqual((line["status"], line["error"], line["protocol"]), (421, "host-not-served", "HTTP/2"))

    def test_control_octets_reach_no_log_unescaped(self):
        """A terminal that shows the log must not obey the attacker (colours, titles, pasted commands)."""
        with self.client() as client:
            client.request(get("/esc", headers=[("User-Agent", "\x9b31m")]))
        for octets in (b"GET /\x1b[31m HTTP/1.1\r\nHost: app.test\r\n\r\n", b"GET / HTTP/1.1\r\nHost: \x1b]0;x\x07\r\n\r\n"):
            with self.client() as client:
                self.assertEqual(client.request(octets).status, 400)
        self.lintel.wait_log(lambda entry: entry.get("target", "").startswith("/esc"))
        for path in (self.lintel.stderr_path, self.lintel.access_log_path):
            self.assertNotRegex(path.read_bytes(), rb"[\x00-\x08\x0b-\x1f\x7f]")


class Redirects(LintelTestCase):
    @classmethod
    def configure(cls):
        forms = {"perm.app.test": 308, "moved.app.test": 301, "refuse.app.test": "refuse", "off.app.test": "off"}
        return [*(cls.site(hosts=[host], redirect_http=form) for host, form in forms.items()),
                cls.site(hosts=["www.test", "app.test"], canonical="www.test", redirect_http=308),
                cls.site(hosts=["down.app.test"], maintenance=True)], {}

    def plain(self, host, path="/a?b=c", method="GET"):
        with self.client(tls=False) as client:
            return client.request(get(path, host=host, method=method))

    def test_four_forms(self):
        response = self.plain("perm.app.test")
        self.assertEqual((response.status, response.get("location").replace(f":{self.lintel.https}", "")),
                         (308, "https://perm.app.test/a?b=c"))
        self.assertEqual(self.plain("moved.app.test").status, 301)
        response = self.plain("refuse.app.test")
        self.assertEqual((response.status, response.error, response.get("location")), (403, "https-required", None))
        self.assertEqual(self.origin.requests, [], "nothing of these reached the app")
        self.assertEqual(self.plain("off.app.test").status, 200)
        self.assertEqual(self.origin.requests[0].get("x-forwarded-proto"), "http")

    def test_redirect_keeps_what_cannot_be_misread(self):
        """No open redirect: the target's path never becomes an authority."""
        for path in ("//evil.test/", "/\\evil.test", "/%2f%2fevil.test"):
            response = self.plain("perm.app.test", path)
            if response.status == 308:
                self.assertRegex(response.get("location"), r"^https://perm\.app\.test(:\d+)?/")

    def test_no_hsts_on_plain_http(self):
        self.assertIsNone(self.plain("perm.app.test").get("strict-transport-security"))

    def test_canonical_host(self):
        with self.client() as client:
            response = client.request(get("/a?b", host="app.test"))
            self.assertIn(response.status, (301, 308))
            self.assertRegex(response.get("location"), r"^https://www\.test(:\d+)?/a\?b$")
            self.assertEqual(client.request(get("/", host="www.test")).status, 200)

    def test_maintenance(self):
        with self.client(sni="down.app.test") as client:
            response = client.request(get("/", host="down.app.test"))
            self.assertEqual((response.status, response.error), (503, "maintenance"))
            self.assertTrue(response.get("retry-after"))
        self.assertEqual(self.origin.requests, [])


class Routes(LintelTestCase):
    @classmethod
    def configure(cls):
        cls.other = Origin(lambda request: answer(200, "other " + request.target))
        cls.addClassCleanup(cls.other.stop)
        routes = [{"path": "/admin/*", "allow": ["192.0.2.7"]}, {"path": "/nobody/*", "deny": ["127.0.0.0/8"]},
                  {"path": "/secure/*", "require_scheme": "https"}, {"path": "/api/*", "to": [cls.other.url], "strip_prefix": "/api"},
                  {"path": "/exact", "to": [cls.other.url]}]
        return [cls.site(route=routes, headers={
            "request": {"set": {"X-Set": "by-lintel"}, "remove": ["X-Secret"]},
            "response": {"set": {"X-Frame-Options": "DENY"}, "remove": ["X-Powered-By"]}})], {}

    def test_restricted_paths_cannot_be_reached_by_another_spelling(self):
        spellings = ["/admin", "/admin/", "/admin/x", "//admin/x", "/a/../admin/x", "/./admin/x", "/%61dmin/x", "/admin/%2e%2e/admin/x",
                     "/a/%2e%2e/admin/x", "/admin/./x?y", "///admin//x"]
        for path in spellings:
            with self.subTest(path):
                response = self.fetch(path)
                self.assertEqual((response.status, response.error), (403, "access-denied"))
        for path in ("/admin%2fx", "/admin/%5cx", "/admin/%00", "/admin/..%2fx"):
            with self.subTest(path):
                self.assertIn(self.fetch(path).status, (400, 403))
        self.assertEqual(self.fetch("/nobody/x").status, 403)
        self.assertEqual(self.origin.requests, [])
        self.assertEqual(self.fetch("/administrator").status, 200)

    def test_required_scheme(self):
        with self.client(tls=False) as client:
            self.assertEqual(client.request(get("/secure/x")).error, "https-required")
        self.assertEqual(self.fetch("/secure/x").status, 200)

    def test_route_upstream_and_prefix(self):
        self.assertEqual(self.fetch("/api/v1?x").body, b"other /v1?x")
        self.assertEqual(self.other.requests[-1].all("x-forwarded-prefix"), ["/api"])
        self.assertEqual(self.fetch("/exact").body, b"other /exact")
        self.assertEqual(self.fetch("/exact/no").body, b"ok\n")

    def test_header_edits(self):
        self.origin.respond = lambda request: answer(200, b"", [("X-Powered-By", "PHP/5"), ("X-Kept", "1")])
        response = self.fetch("/", [("X-Secret", "1"), ("X-Set", "by-client")])
        request = self.origin.requests[0]
        self.assertEqual((request.all("x-set"), request.all("x-secret")), (["by-lintel"], []))
        self.assertEqual((response.all("x-frame-options"), response.all("x-powered-by"), response.all("x-kept")), (["DENY"], [], ["1"]))


class Upstreams(LintelTestCase):
    @classmethod
    def configure(cls):
        other_ca = CertificateAuthority(cls.folder / "other-ca", "Another CA")
        good, wrong_name = cls.ca.server_context("127.0.0.1", "localhost"), cls.ca.server_context("elsewhere.test")
        cls.unix = Origin(unix_path=str(cls.folder / "app.sock"))
        cls.tls = Origin(tls_context=good)
        cls.tls_wrong_name = Origin(tls_context=wrong_name)
        cls.tls_wrong_ca = Origin(tls_context=other_ca.server_context("127.0.0.1"))
        cls.v6 = Origin(host="::1")
        cls.first, cls.second = Origin(lambda r: answer(200, "first")), Origin(lambda r: answer(200, "second"))
        dead = f"http://127.0.0.1:{free_port()}"
        for origin in (cls.unix, cls.tls, cls.tls_wrong_name, cls.tls_wrong_ca, cls.v6, cls.first, cls.second):
            cls.addClassCleanup(origin.stop)

        def https(origin, **tls):
            return [{"url": origin.url, "tls": {"ca": cls.ca.cert, **tls}}]
        upstreams = {"unix": [cls.unix.url], "tls": https(cls.tls), "name": https(cls.tls_wrong_name), "ca": https(cls.tls_wrong_ca),
                     "sni": https(cls.tls_wrong_name, sni="elsewhere.test"), "system": [cls.tls.url], "v6": [cls.v6.url],
                     "two": [cls.first.url, cls.second.url], "half": [dead, cls.first.url]}
        return [cls.site(), *(cls.site(hosts=[f"{name}.app.test"], to=to) for name, to in upstreams.items())], {"workers": 1}

    def ask(self, name, method="GET", body=None):
        with self.client(sni=f"{name}.app.test") as client:
            return client.request(get("/", host=f"{name}.app.test", method=method, body=body))

    def test_unix_tls_and_ipv6_upstreams(self):
        for name in ("unix", "tls", "v6", "sni"):
            with self.subTest(name):
                self.assertEqual(self.ask(name).status, 200)

    def test_unverified_upstream_certificates_are_502(self):
        for name in ("ca", "name", "system"):
            with self.subTest(name):
                response = self.ask(name)
                self.assertEqual((response.status, response.error), (502, "upstream-tls"))
        self.assertEqual(self.tls_wrong_ca.seen(), b"", "nothing was told to a stranger")

    def test_round_robin(self):
        self.assertEqual({self.ask("two").body for _ in range(6)}, {b"first", b"second"})

    def test_a_dead_upstream_of_two_is_passed_over_for_requests_without_effect(self):
        self.assertEqual([self.ask("half").body for _ in range(4)], [b"first"] * 4)

    def test_connections_to_the_app_are_reused(self):
        for _ in range(10):
            self.ask("tls")
        self.assertLessEqual(len([c for c in self.tls.connections if c.requests]), 2)


class Lifetimes(unittest.TestCase):
    """Certificates that change, stopping, running out of descriptors: each with a process of its own."""

    def start(self, folder, to, server=None, **options):
        self.ca = CertificateAuthority(folder / "ca")
        cert = self.ca.issue("app.test")
        for source, name in zip(cert, ("live.pem", "live.key")):
            shutil.copy(source, folder / name)
        site = {"hosts": ["app.test"], "certificate": {"file": "live.pem", "key": "live.key"}, "to": [to], "redirect_http": "off"}
        lintel = Serve(folder, [site], server, **options)
        self.addCleanup(lambda: lintel.process.poll() is None and lintel.stop())
        return lintel

    def serial(self, lintel):
        with RawClient(lintel.https, tls=tls_client_context(self.ca.cert)) as client:
            return client.sock.getpeercert()["serialNumber"]

    def test_a_replaced_certificate_file_is_served_without_a_restart(self):
        with temp_folder() as folder, contextlib.closing(Origin()) as origin:
            lintel = self.start(folder, origin.url)
            before = self.serial(lintel)
            # A key that does not match must change nothing.
            (folder / "live.pem").write_text("not a certificate")
            self.assertEqual(self.serial(lintel), before)
            new = self.ca.issue("app.test")
            for source, name in zip(new, ("live.pem", "live.key")):
                shutil.copy(source, folder / (name + ".new"))
                os.replace(folder / (name + ".new"), folder / name)
            wait_until(lambda: self.serial(lintel) != before, "the new certificate", 30)
            self.assertEqual(lintel.stop(), 0)
            lintel.check_sanitizers()

    def test_sigterm_finishes_what_runs_and_exits_0(self):
        release, arrived = threading.Event(), threading.Event()

        def respond(request):
            arrived.set()
            release.wait(10)
            return answer(200, b"finished")
        with temp_folder() as folder, contextlib.closing(Origin(respond)) as origin:
            lintel = self.start(folder, origin.url)
            with RawClient(lintel.https, tls=True) as client, H2Client(lintel.https) as h2, RawClient(lintel.https, tls=True) as idle:
                client.send(get("/"))
                stream = h2.open(h2.fields("/"))
                self.assertTrue(arrived.wait(10))
                origin.wait_for(lambda: len(origin.requests) == 2)
                lintel.process.send_signal(signal.SIGTERM)
                self.assertTrue(idle.wait_closed(), "idle connections end at once")
                self.assertTrue(h2.until(lambda: h2.goaway))
                with self.assertRaises(OSError):
                    wait_until(lambda: RawClient(lintel.https).close(), "never", 5)
                release.set()
                response = client.read_response()
                self.assertEqual((response.body, response.get("connection", "").lower()), (b"finished", "close"))
                self.assertEqual(h2.wait(stream).body, b"finished")
            self.assertEqual(lintel.process.wait(20), 0)
            lintel.check_sanitizers()

    def test_a_taken_port_is_exit_3(self):
        with temp_folder() as folder, contextlib.closing(Origin()) as origin, contextlib.closing(Origin()) as squatter:
            lintel = self.start(folder, origin.url, {"https": [f"127.0.0.1:{squatter.port}"]}, wait=False)
            self.assertEqual(lintel.process.wait(20), 3)
            self.assertIn(str(squatter.port), lintel.stderr())

    def test_unix_and_ipv6_listeners(self):
        with temp_folder() as folder, contextlib.closing(Origin()) as origin:
            port = free_port("::1")
            lintel = self.start(folder, origin.url, {"http": [f"unix:{folder}/front.sock"], "https": [f"[::1]:{port}"]})
            lintel.wait_listening(unix_path=str(folder / "front.sock"))
            with RawClient(unix_path=str(folder / "front.sock")) as client:
                self.assertEqual(client.request(get("/")).status, 200)
            lintel.wait_listening(port, host="::1")
            with RawClient(port, host="::1", tls=True) as client:
                self.assertEqual(client.request(get("/")).status, 200)
            self.assertEqual(origin.requests[-1].get("x-forwarded-for"), "::1")
            self.assertEqual(lintel.stop(), 0)

    def test_out_of_descriptors_is_survived_without_spinning(self):
        with temp_folder() as folder, contextlib.closing(Origin()) as origin:
            lintel = self.start(folder, origin.url, {"workers": 1}, file_limit=64)
            crowd = []
            with contextlib.suppress(OSError):
                for _ in range(150):
                    sock = socket.create_connection(("127.0.0.1", lintel.http), 5)
                    crowd.append(sock)
            wait_until(lambda: re.search("descriptor|EMFILE|files", lintel.stderr(), re.I), "the log to say so")
            cpu = lintel.cpu_seconds()
            time.sleep(1.5)  # a second of being full: this is the thing measured
            self.assertLess(lintel.cpu_seconds() - cpu, 0.5, "CPU seconds while full")
            for sock in crowd:
                sock.close()

            def served():
                with RawClient(lintel.https, tls=True) as client:
                    return client.request(get("/")).status == 200
            wait_until(served, "recovery")
            self.assertEqual(lintel.stop(), 0)
            lintel.check_sanitizers()


if __name__ == "__main__":
    unittest.main()
