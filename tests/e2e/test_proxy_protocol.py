"""The PROXY protocol on a listener: who the client is, and that nobody else can say so."""
import itertools

from lintel_test import *

V2 = b"\r\n\r\n\0\r\nQUIT\n"
TLS = b"\x20\x00\x05\x01\x00\x00\x00\x00"  # PP2_TYPE_SSL: the client came over TLS


def v1(source="203.0.113.9", destination="10.0.0.2", ports="51000 443"):
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {destination} {ports}\r\n".encode()


def v2(source="203.0.113.9", destination="10.0.0.2", extensions=b"", command=0x21):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    block = (socket.inet_pton(family, source) + socket.inet_pton(family, destination)
             + (51000).to_bytes(2, "big") + (443).to_bytes(2, "big") + extensions)
    return V2 + bytes([command, 0x21 if ":" in source else 0x11]) + len(block).to_bytes(2, "big") + block


LOCAL = V2 + b"\x20\x00\x00\x00"


class ProxyProtocolCase(LintelTestCase):
    """One listener of each kind that believes 127.0.0.1, and an ordinary one for the honest requests."""

    timeouts = {}

    @classmethod
    def configure(cls):
        cls.tls, cls.plain, cls.h2c, cls.ordinary = (free_port() for _ in range(4))
        cls.unix = str(cls.folder / "lintel.sock")
        peers = ["127.0.0.1/32", "127.0.0.7"]
        server = {"https": [{"listen": f"127.0.0.1:{cls.tls}", "proxy_protocol": peers}, f"127.0.0.1:{cls.ordinary}"],
                  "http": [{"listen": f"127.0.0.1:{cls.plain}", "proxy_protocol": peers},
                           {"listen": f"127.0.0.1:{cls.h2c}", "proxy_protocol": peers, "h2c": True},
                           {"listen": f"unix:{cls.unix}", "proxy_protocol": ["unix"]}],
                  # One worker: lines stand in the log in the order of the connections.
                  "workers": 1, "timeouts": cls.timeouts}
        sites = [cls.site(route=[{"path": "/inside/*", "allow": ["203.0.113.0/24"]}, {"path": "/*"}]),
                 cls.site(hosts=["www.test"], redirect_http=308)]
        return sites, server

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.lintel.https = cls.ordinary
        cls.lintel.wait_listening(cls.tls, cls.plain, cls.h2c, cls.ordinary, unix_path=cls.unix)

    def setUp(self):
        super().setUp()
        self.log_from = len(self.lintel.stderr())

    def complaints(self):
        return [line for line in self.lintel.stderr()[self.log_from:].splitlines() if "proxy-protocol-invalid" in line]

    def assert_one_complaint(self, *parts):
        wait_until(self.complaints, "a line in the log")
        lines = self.complaints()
        self.assertEqual(len(lines), 1, lines)
        for part in parts:
            self.assertIn(part, lines[0])
        self.log_from = len(self.lintel.stderr())

    def ask(self, preface, path="/", host="app.test", tls=False, headers=(), **options):
        port = None if "unix_path" in options else self.tls if tls else self.plain
        with RawClient(port, tls=tls, preface=preface, **options) as client:
            return client.request(get(path, host=host, headers=headers))

    def client_seen(self):
        """What the app was told about the client of the last request."""
        request = self.origin.requests[-1]
        self.assertEqual(request.all("x-real-ip"), request.all("x-forwarded-for"))
        return request.all("x-forwarded-for")


class Accepted(ProxyProtocolCase):
    def test_the_app_sees_the_source_of_either_version(self):
        for tls, (header, source) in itertools.product((False, True), (
                (v1(), "203.0.113.9"), (v2(), "203.0.113.9"),
                (v1("2001:db8::9", "::1"), "2001:db8::9"), (v2("2001:db8::9", "::1"), "2001:db8::9"),
                (v1("::ffff:203.0.113.9", "::ffff:10.0.0.2"), "203.0.113.9"))):
            with self.subTest(tls=tls, header=header):
                self.assertEqual(self.ask(header, tls=tls, headers=[("X-Forwarded-For", "6.6.6.6")]).status, 200)
                self.assertEqual(self.client_seen(), [source])
                self.assertEqual(self.origin.requests[-1].get("x-forwarded-proto"), "https" if tls else "http")
        self.assertEqual(self.complaints(), [])

    def test_every_request_of_the_connection_has_that_client(self):
        with RawClient(self.tls, tls=True, preface=v1()) as client:
            for _ in range(3):
                self.assertEqual(client.request(get("/")).status, 200)
                self.assertEqual(self.client_seen(), ["203.0.113.9"])

    def test_the_access_log_names_client_peer_proxy_and_identifier(self):
        identifier = b"\x05\x00\x0d7F000001:C738"
        self.ask(v2(extensions=identifier), "/logged")
        line = self.lintel.wait_log(lambda line: line.get("target") == "/logged")
        self.assertEqual((line["client"], line["client_from"], line["peer"], line["proxy"], line["unique_id"]),
                         ("203.0.113.9", "proxy-protocol", "203.0.113.9", "127.0.0.1", "7F000001:C738"))

    def test_curl_speaks_it(self):
        for scheme, port, options in (("http", self.plain, []), ("https", self.tls, ["--http1.1"]),
                                      ("https", self.tls, ["--http2"])):
            with self.subTest(scheme=scheme, options=options):
                path = f"/curl-{scheme}{''.join(options)}"
                done = subprocess.run(["curl", "-sS", "--noproxy", "*", "--haproxy-protocol", "--interface", "127.0.0.7",
                                       "--cacert", self.ca.cert, "--resolve", f"app.test:{port}:127.0.0.1", *options,
                                       f"{scheme}://app.test:{port}{path}"], capture_output=True, timeout=60)
                self.assertEqual((done.returncode, done.stdout), (0, b"ok\n"), done.stderr)
                self.assertEqual(self.client_seen(), ["127.0.0.7"])
                line = self.lintel.wait_log(lambda line: line.get("target") == path)
                self.assertEqual(line["proxy"], "127.0.0.7")
                self.assertEqual(line["protocol"], "HTTP/2" if options == ["--http2"] else "HTTP/1.1")

    def test_http2_behind_the_header(self):
        with H2Client(self.tls, preface=v2("2001:db8::9", "::1")) as h2:
            self.assertEqual(h2.request("/").status, 200)
            self.assertEqual(h2.request("/again").status, 200)
        self.assertEqual(self.client_seen(), ["2001:db8::9"])
        with H2Client(self.h2c, plain=True, preface=v1()) as h2:
            self.assertEqual(h2.request("/").status, 200)
        self.assertEqual(self.client_seen(), ["203.0.113.9"])

    def test_octet_by_octet(self):
        for header in (v1(), v2(extensions=TLS)):
            with RawClient(self.plain) as client:
                for octet in header + get("/"):
                    client.send(bytes([octet]))
                self.assertEqual(client.read_response().status, 200)
            self.assertEqual(self.client_seen(), ["203.0.113.9"])

    def test_a_client_hello_in_the_segment_that_ends_the_header(self):
        for header in (v1(), v2()):
            for cut in (0, 1, 15, len(header) - 1):
                with self.subTest(header=header, cut=cut):
                    arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
                    engine = tls_client_context().wrap_bio(arrived, leaving, server_hostname="app.test")
                    with self.assertRaises(ssl.SSLWantReadError):
                        engine.do_handshake()
                    with RawClient(self.tls, preface=header[:cut]) as client:
                        client.send(header[cut:] + leaving.read())

                        def drive(call):
                            while True:
                                try:
                                    return call()
                                except ssl.SSLWantReadError:
                                    client.send(leaving.read())
                                    self.assertTrue(client.fill(), "closed in the handshake")
                                    arrived.write(bytes(client.buffer))
                                    client.buffer.clear()
                        drive(engine.do_handshake)
                        engine.write(get("/"))
                        client.send(leaving.read())
                        self.assertTrue(drive(lambda: engine.read(100)).startswith(b"HTTP/1.1 200 "))
                    self.assertEqual(self.client_seen(), ["203.0.113.9"])

    def test_a_unix_listener_behind_a_proxy(self):
        self.assertEqual(self.ask(v1(), unix_path=self.unix).status, 200)
        self.assertEqual(self.client_seen(), ["203.0.113.9"])
        self.assertEqual(self.ask(LOCAL, unix_path=self.unix).status, 200)
        self.assertEqual(self.client_seen(), ["127.0.0.1"])

    def test_access_rules_look_at_the_source(self):
        self.assertEqual(self.ask(v1("203.0.113.9"), "/inside/").status, 200)
        self.assertEqual(self.ask(v1("198.51.100.7"), "/inside/").status, 403)
        self.assertEqual(self.ask(LOCAL, "/inside/").status, 403)

    def test_the_port_that_the_client_used_is_the_load_balancers(self):
        self.assertEqual(self.ask(v1(ports="51000 8443"), host="app.test:8443").status, 200)
        self.assertEqual(self.ask(v1(ports="51000 8443"), host="app.test:9443").error, "host-port")

    def test_local_and_unknown_leave_the_peer_as_it_is(self):
        for header in (LOCAL, v2(command=0x20), b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN 203.0.113.9 10.0.0.2 1 2\r\n"):
            with self.subTest(header=header):
                self.assertEqual(self.ask(header, "/local").status, 200)
                self.assertEqual(self.client_seen(), ["127.0.0.1"])
        line = self.lintel.wait_log(lambda line: line.get("target") == "/local")
        self.assertEqual((line["peer"], line.get("proxy")), ("127.0.0.1", None))

    def test_health_checks_make_no_noise(self):
        for port, preface in itertools.product((self.plain, self.tls), (LOCAL, b"PROXY UNKNOWN\r\n", b"")):
            with RawClient(port, preface=preface) as client:
                client.finish_sending()
                self.assertEqual(client.read_rest(), b"")
            with RawClient(port, preface=preface) as client:
                client.abort()
        with RawClient(self.plain, preface=b"garbage") as client:
            client.read_rest()
        self.assert_one_complaint("sent no PROXY header")

    def test_tls_that_the_proxy_ended_counts_as_https(self):
        self.assertEqual(self.ask(v2(extensions=TLS), host="www.test").status, 200)
        self.assertEqual(self.origin.requests[-1].get("x-forwarded-proto"), "https")
        for extensions in (b"", TLS.replace(b"\x01", b"\x00"), TLS.replace(b"\x01", b"\x06")):
            answered = self.ask(v2(extensions=extensions), host="www.test")
            self.assertEqual((answered.status, answered.get("location")[:8]), (308, "https://"))


class WithTrustRules(ProxyProtocolCase):
    """A load balancer's PROXY header in front, a CDN's header fields behind it."""

    process_options = {"trust": [{"peers": ["203.0.113.0/24"], "source": "x-forwarded", "accept": ["for", "proto"]}]}

    def test_rules_look_at_the_peer_that_the_header_names(self):
        fields = [("X-Forwarded-For", "6.6.6.6, 192.0.2.44"), ("X-Forwarded-Proto", "https")]
        for preface, client, scheme in ((v1("203.0.113.9"), "192.0.2.44", "https"), (v2("203.0.113.9"), "192.0.2.44", "https"),
                                        (v1("198.51.100.7"), "198.51.100.7", "http"), (LOCAL, "127.0.0.1", "http"),
                                        (v2("198.51.100.7", extensions=TLS), "198.51.100.7", "https")):
            with self.subTest(preface=preface):
                self.assertEqual(self.ask(preface, "/trusted", headers=fields).status, 200)
                self.assertEqual(self.client_seen(), [client])
                self.assertEqual(self.origin.requests[-1].get("x-forwarded-proto"), scheme)
        line = self.lintel.wait_log(lambda line: line.get("target") == "/trusted")
        self.assertEqual((line["client"], line["peer"], line["proxy"]), ("192.0.2.44", "203.0.113.9", "127.0.0.1"))

    def test_the_load_balancer_itself_is_not_trusted_by_a_rule_for_the_cdn(self):
        answered = self.ask(v1("198.51.100.7"), "/inside/", headers=[("X-Forwarded-For", "203.0.113.9")])
        self.assertEqual(answered.status, 403)


class Refused(ProxyProtocolCase):
    def assert_refused(self, octets, *complaint, port=None, **options):
        """Closed, nothing answered, one line in the log, nothing at the app."""
        with RawClient(port or self.plain, **options) as client:
            client.send(octets)
            self.assertEqual(client.read_rest(), b"")
        self.assert_one_complaint(*complaint)
        self.assert_only_canary_reached()
        self.origin.reset()

    def test_a_peer_that_is_not_listed(self):
        for port in (self.plain, self.tls):
            for octets in (v1() + get("/"), get("/"), b""):
                self.assert_refused(octets, "peer 127.0.0.3 is not in proxy_protocol of", f"127.0.0.1:{port}",
                                    port=port, source="127.0.0.3")

    def test_what_is_no_header(self):
        hello = bytes.fromhex("16030102000100")
        for octets in (get("/"), get("/", method="POST", body=b"PROXY "), hello, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                       b"\0" * 200, b"garbage\r\n", b"PROXIES\r\n", b" " + v1(), b"\r\n" + v1()):
            for port in (self.plain, self.tls):
                with self.subTest(octets=octets, port=port):
                    self.assert_refused(octets, "peer 127.0.0.1 sent no PROXY header", port=port)

    def test_malformed_headers(self):
        for octets in (b"PROXY TCP4 203.0.113.999 10.0.0.2 51000 443\r\n", b"PROXY TCP4 203.0.113.09 10.0.0.2 1 2\r\n",
                       v1(ports="51000 65536"), v1().replace(b"\r\n", b"\n"), v1().replace(b" ", b"  ", 1),
                       b"PROXY TCP4 2001:db8::9 ::1 51000 443\r\n", b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n",
                       v2(command=0x11), v2(command=0x22), V2 + b"\x21\x12" + v2()[14:], V2 + b"\x21\x11\x00\x0b" + v2()[16:],
                       V2 + b"\x21\x11\xff\xff", v2(extensions=b"\x05\xff\xff"), v2(extensions=b"\x03\x00\x04abcd"),
                       v2(extensions=b"\x20\x00\x08\x01\x00\x00\x00\x00\x21\x00\x09")):
            with self.subTest(octets=octets):
                self.assert_refused(octets + get("/"), "peer 127.0.0.1 sent a malformed PROXY header")

    def test_a_second_header_is_no_request(self):
        self.assertEqual(self.ask(v1() + v1("198.51.100.7")).status, 400)
        self.assertEqual(self.origin.requests, [])

    def test_a_header_that_ends_in_its_middle(self):
        with RawClient(self.plain, preface=v2()[:20]) as client:
            client.finish_sending()
            self.assertEqual(client.read_rest(), b"")
        self.assert_one_complaint("closed in the middle of its PROXY header")

    def test_an_ordinary_listener_does_not_understand_it(self):
        with RawClient(self.ordinary, preface=v1()) as client:
            client.send(get("/"))
            client.read_rest()
        self.assert_only_canary_reached()


class Deadline(ProxyProtocolCase):
    timeouts = {"header": "400ms"}

    def test_a_header_that_never_ends(self):
        for octets in (b"", v1()[:20], v2()[:20]):
            with self.subTest(octets=octets):
                with RawClient(self.plain, preface=octets) as client:
                    self.assertEqual(client.read_rest(), b"")
                self.assert_one_complaint("peer 127.0.0.1 did not send its PROXY header in time")


class BehindHaproxy(ProxyProtocolCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.outside = free_port()
        bundle = cls.folder / "haproxy.pem"
        bundle.write_text(pathlib.Path(cls.cert[0]).read_text() + pathlib.Path(cls.cert[1]).read_text())
        configuration = cls.folder / "haproxy.cfg"
        configuration.write_text(f"""
global
  log stderr format raw local0 err
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  unique-id-format %ci-%cp
frontend outside
  bind 127.0.0.1:{cls.outside} ssl crt {bundle} alpn http/1.1
  default_backend inside
backend inside
  server lintel 127.0.0.1:{cls.plain} send-proxy-v2-ssl-cn proxy-v2-options unique-id,crc32c check inter 200ms check-send-proxy
""")
        cls.haproxy = subprocess.Popen(["/usr/sbin/haproxy", "-db", "-f", str(configuration)], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(end_process, cls.haproxy)

        def accepts():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", cls.outside)) == 0
        wait_until(accepts, "HAProxy to listen")

    def test_client_scheme_and_identifier_come_through(self):
        with RawClient(self.outside, tls=tls_client_context(self.ca.cert), source="127.0.0.5") as client:
            answered = client.request(get("/through", host="www.test"))
            self.assertEqual(answered.status, 200)
            port = client.sock.getsockname()[1]
        self.assertEqual(self.client_seen(), ["127.0.0.5"])
        self.assertEqual(self.origin.requests[-1].get("x-forwarded-proto"), "https")
        line = self.lintel.wait_log(lambda line: line.get("target") == "/through")
        self.assertEqual((line["peer"], line["proxy"], line["unique_id"]), ("127.0.0.5", "127.0.0.1", f"127.0.0.5-{port}"))
        self.assertEqual(self.complaints(), [], "HAProxy's health checks are no errors")


if __name__ == "__main__":
    unittest.main()
