"""The app's side is not trusted: an answer that can be read in two ways becomes a 502 with a code and the connection to
the app is dropped; half an answer never looks whole; what an app sends unasked reaches nobody."""
from lintel_test import *

OK = "HTTP/1.1 200 OK\r\n"
# name -> (octets the app sends, error code). The app keeps its connection open, so it is Lintel that must drop it.
MALFORMED = {
    "two different Content-Lengths": (OK + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", "upstream-malformed"),
    "Content-Length list": (OK + "Content-Length: 2, 2\r\n\r\nhi", "upstream-malformed"),
    "Content-Length negative": (OK + "Content-Length: -1\r\n\r\n", "upstream-malformed"),
    "Content-Length with a plus": (OK + "Content-Length: +2\r\n\r\nhi", "upstream-malformed"),
    "Content-Length not a number": (OK + "Content-Length: two\r\n\r\nhi", "upstream-malformed"),
    "Content-Length beside Transfer-Encoding": (OK + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                                                "upstream-malformed"),
    "Transfer-Encoding gzip": (OK + "Transfer-Encoding: gzip\r\n\r\nxx", "upstream-malformed"),
    "Transfer-Encoding chunked, identity": (OK + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "upstream-malformed"),
    "garbage": ("\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "upstream-malformed"),
    "an SSH banner": ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "upstream-malformed"),
    "HTTP/0.9": ("<html>hello</html>\r\n\r\n", "upstream-malformed"),
    "version 2": ("HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "upstream-malformed"),
    "status of two digits": ("HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", "upstream-malformed"),
    "status of four digits": ("HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", "upstream-malformed"),
    "status 099": ("HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", "upstream-malformed"),
    "status with a sign": ("HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n", "upstream-malformed"),
    "NUL in a value": (OK + "X: a\0b\r\nContent-Length: 0\r\n\r\n", "upstream-malformed"),
    "NUL in a name": (OK + "X\0: b\r\nContent-Length: 0\r\n\r\n", "upstream-malformed"),
    "control octet in a value": (OK + "X: a\x08b\r\nContent-Length: 0\r\n\r\n", "upstream-malformed"),
    "bare CR in a value": (OK + "X: a\rb\r\nContent-Length: 0\r\n\r\n", "upstream-malformed"),
    "bare LF line ends": ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", "upstream-malformed"),
    "space before the colon": (OK + "Content-Length : 2\r\n\r\nhi", "upstream-malformed"),
    "obs-fold": (OK + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n", "upstream-malformed"),
    "a line without colon": (OK + "nonsense\r\nContent-Length: 0\r\n\r\n", "upstream-malformed"),
    "empty name": (OK + ": x\r\nContent-Length: 0\r\n\r\n", "upstream-malformed"),
    "a reason phrase with a control octet": ("HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n", "upstream-malformed"),
    "101 that nobody asked for": ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "upstream-protocol-mismatch"),
    "a value of 100 KiB": (OK + "X: " + "a" * 100_000 + "\r\nContent-Length: 0\r\n\r\n", "upstream-header-too-large"),
    "1000 fields": (OK + "".join(f"X{i}: y\r\n" for i in range(1000)) + "Content-Length: 0\r\n\r\n", "upstream-header-too-large"),
    "an endless head": (OK + "X: y\r\n" * 100_000, "upstream-header-too-large"),
    "a run of 1xx": ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 200 + OK + "Content-Length: 0\r\n\r\n",
                     "upstream-informational-flood"),
}

# Bodies that break after a good head went out: the client must see a break.
CUT = {
    "length, then close": (OK + "Content-Length: 100\r\n\r\nhalf", b"half"),
    "chunked, closed between chunks": (OK + "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", b"half"),
    "chunked, closed within a chunk": (OK + "Transfer-Encoding: chunked\r\n\r\n40\r\nhalf", b"half"),
    "chunked, closed before the trailers' end": (OK + "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n", b"half"),
    "a chunk size that is none": (OK + "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n", b"half"),
    "a chunk longer than its size": (OK + "Transfer-Encoding: chunked\r\n\r\n4\r\nhalfX\r\n0\r\n\r\n", b"half"),
    "a chunk with bare LF": (OK + "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n4\nmore\r\n0\r\n\r\n", b"half"),
    "a chunk extension without end": (OK + "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n4;" + "a" * 10_000, b"half"),
    "a broken trailer": (OK + "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX Y: z\r\n\r\n", b"half"),
}


class HostileAnswers(LintelTestCase):
    @classmethod
    def configure(cls):
        return [cls.site()], {"timeouts": {"response": "2s", "connect": "2s"}}

    def play(self, octets, then="hold"):
        """The app answers each connection's first request with `octets`; then holds, closes or resets."""
        octets = octets.encode("latin-1") if isinstance(octets, str) else octets

        def handler(conn):
            if conn.read_request() is None:
                return
            conn.send(octets)
            if then == "hold":
                conn.wait_gone()
            elif then == "reset":
                conn.abort()
        self.origin.drop_connections()
        self.origin.handler = handler

    def assert_app_dropped(self):
        self.origin.wait_for(lambda: all(c.gone.is_set() for c in self.origin.connections if c.requests),
                             "Lintel to drop the connection")

    def test_malformed_answers_become_502_over_http_1(self):
        for name, (octets, error) in MALFORMED.items():
            with self.subTest(name):
                self.origin.reset()
                self.play(octets)
                with self.client() as client:
                    response = client.request(get("/"))
                    self.assertEqual((response.status, response.error), (502, error))
                    self.assertNotIn(b"nonsense", response.body)
                    self.assert_app_dropped()
                    self.assertEqual(len(self.origin.requests), 1, "an answered request is not repeated")
                    self.origin.reset()
                    self.assertEqual(client.request(get("/next")).status, 200, "the client's connection goes on")

    def test_malformed_answers_become_502_over_http_2(self):
        with self.h2() as h2:
            for name, (octets, error) in MALFORMED.items():
                with self.subTest(name):
                    self.origin.reset()
                    self.play(octets)
                    response = h2.request("/")
                    self.assertEqual((response.status, response.error, response.ended), (502, error, True))
            self.origin.reset()
            self.assertEqual(h2.request("/next").status, 200)

    def test_half_an_answer_never_looks_whole_over_http_1(self):
        for then in ("close", "reset"):
            for name, (octets, part) in CUT.items():
                with self.subTest(name, then=then):
                    self.origin.reset()
                    self.play(octets, then)
                    with self.client() as client:
                        client.send(get("/"))
                        with self.assertRaises(Closed):
                            response = client.read_response()
                            # Before the first octets went out it may still become an honest 502.
                            if response.status == 502 and response.error:
                                raise Closed

    def test_half_an_answer_is_a_stream_reset_over_http_2(self):
        for then in ("close", "reset"):
            for name, (octets, part) in CUT.items():
                with self.subTest(name, then=then), self.h2() as h2:
                    self.origin.reset()
                    self.play(octets, then)
                    response = h2.request("/")
                    if response.status == 502:
                        self.assertIsNotNone(response.error)
                        continue
                    self.assertIsNotNone(response.reset, "RST_STREAM")
                    self.assertFalse(response.ended)
                    self.origin.reset()
                    self.origin.drop_connections()
                    self.assertEqual(h2.request("/next").status, 200, "other streams go on")

    def test_half_an_answer_to_an_http_1_0_client_is_a_reset_or_short_length(self):
        """HTTP/1.0 has no chunks: with a length the client counts, without one only a reset can tell."""
        self.play(CUT["length, then close"][0], "close")
        with self.client(tls=False) as client, self.assertRaises(Closed):
            client.request(b"GET / HTTP/1.0\r\nHost: app.test\r\n\r\n")
        self.play(CUT["chunked, closed between chunks"][0], "close")
        with self.client(tls=False) as client:
            client.send(b"GET / HTTP/1.0\r\nHost: app.test\r\n\r\n")
            client.read_rest()
            self.assertTrue(client.was_reset)

    def test_bytes_after_an_answer_reach_nobody(self):
        """Response queue poisoning: an app that was tricked into answering twice must not answer the next client."""
        poison = answer(200, b"poison")

        def handler(conn):
            while conn.read_request() is not None:
                conn.send(answer(200, b"first") + poison)
        self.origin.drop_connections()
        self.origin.handler = handler
        for _ in range(10):
            self.assertEqual(self.fetch("/").body, b"first")
        self.assertNotIn("poison", self.lintel.stderr())
        self.origin.reset()
        self.origin.drop_connections()
        for _ in range(10):
            self.assertEqual(self.fetch("/").body, b"ok\n")

    def test_bytes_after_204_head_and_304_reach_nobody(self):
        for method, status in (("GET", 204), ("HEAD", 200), ("GET", 304)):
            with self.subTest(status, method=method):
                self.origin.reset()
                self.origin.drop_connections()

                def handler(conn, s=status):
                    while (request := conn.read_request()) is not None:
                        conn.send(answer(s if request.target == "/a" else 200, b"unasked body"))
                self.origin.handler = handler
                with self.client() as client:
                    self.assertEqual(client.request(get("/a", method=method)).status, status)
                    self.assertEqual(client.request(get("/b")).body, b"unasked body")

    def test_unsolicited_answer_on_an_idle_pooled_connection_is_dropped(self):
        sent = threading.Event()

        def handler(conn):
            if conn.read_request() is None:
                return
            conn.send(answer(200, b"first"))
            conn.send(answer(200, b"poison"))
            sent.set()
            conn.wait_gone()
        self.origin.drop_connections()
        self.origin.handler = handler
        self.assertEqual(self.fetch("/").body, b"first")
        self.assertTrue(sent.wait(5))
        self.assert_app_dropped()
        self.origin.reset()
        self.assertEqual(self.fetch("/").body, b"ok\n")

    def test_early_hints_pass_and_come_before_the_answer(self):
        hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
        self.origin.respond = lambda request: (hints * 2).encode() + answer()
        with self.client() as client:
            response = client.request(get("/"))
            self.assertEqual((response.informational, response.status), ([103, 103], 200))
        with self.h2() as h2:
            response = h2.request("/")
            self.assertEqual((response.informational, response.status), ([103, 103], 200))
        with self.client() as client:
            response = client.request(b"GET / HTTP/1.0\r\nHost: app.test\r\n\r\n")
            self.assertEqual(response.informational, [], "HTTP/1.0 knows no 1xx")

    def test_app_that_closes_without_an_answer_is_502(self):
        self.play(b"", "close")
        self.assertEqual(self.fetch("/", method="POST", body=b"x").error, "upstream-closed")

    def test_app_that_resets_is_502(self):
        self.play(b"", "reset")
        response = self.fetch("/", method="POST", body=b"x")
        self.assertEqual(response.status, 502)
        self.assertIn(response.error, ("upstream-closed", "upstream-reset"))

    def test_half_a_head_is_502(self):
        self.play(OK + "Content-Le", "close")
        response = self.fetch("/")
        self.assertEqual(response.status, 502)
        self.assertIn(response.error, ("upstream-incomplete", "upstream-closed"))

    def test_slow_app_is_504(self):
        self.play(b"", "hold")
        for response in (self.fetch("/"), ):
            self.assertEqual((response.status, response.error), (504, "upstream-timeout"))
        self.assert_app_dropped()
        with self.h2() as h2:
            self.assertEqual(h2.request("/").error, "upstream-timeout")

    def test_app_that_is_slow_after_its_head_breaks_the_answer(self):
        self.play(OK + "Content-Length: 10\r\n\r\nhalf", "hold")
        with self.client(tls=False) as client:
            client.sock.settimeout(100)
            client.send(get("/"))
            self.assertEqual(client.read_head().status, 200)
            # Whether the idle deadline is 2 s or the body's 30 s, the end must be a close, not a pretended end.
            self.assertEqual(client.read_until(b"half"), b"half")


class AppDown(LintelTestCase):
    @classmethod
    def configure(cls):
        cls.dead_port = free_port()
        return [cls.site(to=[f"http://127.0.0.1:{cls.dead_port}"]), cls.site(hosts=["name.app.test"], to=["http://nowhere.invalid:80"]),
                cls.site(hosts=["socket.app.test"], to=[f"unix:{cls.folder}/nobody.sock"])], {}

    def test_app_that_is_down_is_502_and_recovers(self):
        response = self.fetch("/")
        self.assertEqual((response.status, response.error), (502, "upstream-refused"))
        self.assertNotIn(str(self.dead_port).encode(), response.body, "the app's address is nobody's business")
        with self.h2() as h2:
            self.assertEqual(h2.request("/").error, "upstream-refused")
        line = self.lintel.wait_log(lambda entry: (entry.get("error"), entry.get("host")) == ("upstream-refused", "app.test"))
        self.assertEqual(line.get("upstream"), f"127.0.0.1:{self.dead_port}", "the operator sees whom to look for")
        late = Origin(port=self.dead_port)
        self.addCleanup(late.stop)
        self.assertEqual(self.fetch("/").status, 200)

    def test_an_error_page_reaches_an_upload_that_still_runs(self):
        """RST_STREAM (NO_ERROR) may only come behind the whole answer (RFC 9113 §8.1); curl reports a broken stream else."""
        for body in (b"", b"x" * 10_000):
            with self.subTest(len(body)), self.h2() as h2:
                stream = h2.open(h2.fields("/", "POST", [("content-length", "10003")]), end=False)
                h2.data(stream, body)
                response = h2.wait(stream)
                self.assertEqual((response.status, response.error, response.ended), (502, "upstream-refused", True))
                h2.until(lambda: response.reset is not None)
                self.assertEqual(response.reset, 0, "NO_ERROR: stop sending")

    def test_error_pages_follow_accept(self):
        for accept, kind, mark in (("text/html", "text/html", b"<"), ("application/json", "application/json", b"{"),
                                   ("text/plain", "text/plain", b"upstream-refused")):
            with self.subTest(accept):
                response = self.fetch("/x", headers=[("Accept", accept)])
                self.assertTrue(response.get("content-type").startswith(kind), response.get("content-type"))
                self.assertIn(mark, response.body)
                self.assertIn(b"upstream-refused", response.body)
                self.assertIn(response.get("x-request-id", "").encode(), response.body)

    def test_a_name_that_does_not_resolve_is_502(self):
        with self.client(sni="name.app.test") as client:
            response = client.request(get("/", host="name.app.test"))
        self.assertEqual((response.status, response.error), (502, "upstream-name"))

    def test_a_socket_that_is_not_there_is_502(self):
        with self.client(sni="socket.app.test") as client:
            self.assertEqual(client.request(get("/", host="socket.app.test")).status, 502)


class StalePooledConnections(LintelTestCase):
    """The app closes an idle connection just as Lintel sends on it: GET is repeated once, POST never."""

    @classmethod
    def configure(cls):
        return [cls.site()], {"workers": 1}

    def pool_and_break(self, also_break_fresh=False):
        """One pooled connection whose next request is swallowed: read, then closed without an answer."""
        state = {"count": 0}

        def handler(conn):
            state["count"] += 1
            if state["count"] > 1 and not also_break_fresh:
                return self.origin.default_handler(conn)
            if state["count"] == 1:
                if conn.read_request() is None:
                    return None
                conn.send(answer(200, b"pooled"))
            conn.read_head()
            return None
        self.origin.drop_connections()
        self.origin.handler = handler
        self.assertEqual(self.fetch("/pool").body, b"pooled")

    def test_get_head_and_options_are_repeated_once(self):
        for method in ("GET", "HEAD", "OPTIONS"):
            with self.subTest(method):
                self.origin.reset()
                self.pool_and_break()
                self.assertEqual(self.fetch("/again", method=method).status, 200)
                self.assertEqual([r.target for r in self.origin.requests].count("/again"), 2)

    def test_other_methods_are_never_repeated(self):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            with self.subTest(method):
                self.origin.reset()
                self.pool_and_break()
                response = self.fetch("/once", method=method, body=b"x")
                self.assertEqual((response.status, response.error), (502, "upstream-closed"))
                self.assertEqual([r.target for r in self.origin.requests].count("/once"), 1)

    def test_get_with_a_body_that_was_sent_is_not_repeated(self):
        self.pool_and_break()
        self.assertEqual(self.fetch("/once", body=b"x").status, 502)
        self.assertEqual([r.target for r in self.origin.requests].count("/once"), 1)

    def test_get_is_not_repeated_twice(self):
        self.pool_and_break(also_break_fresh=True)
        self.assertEqual(self.fetch("/twice").status, 502)
        self.assertEqual([r.target for r in self.origin.requests].count("/twice"), 2)

    def test_get_that_fails_on_a_fresh_connection_is_not_repeated(self):
        """Only staleness explains a silent close; on a fresh connection the app itself dislikes the request."""
        def handler(conn):
            conn.read_head()
        self.origin.drop_connections()
        self.origin.handler = handler
        self.assertEqual(self.fetch("/fresh").status, 502)
        self.assertEqual([r.target for r in self.origin.requests].count("/fresh"), 1)

    def test_a_connection_that_the_app_has_closed_is_not_used(self):
        """A restart of the app between two requests is invisible, for POST too."""
        self.assertEqual(self.fetch("/").status, 200)
        self.origin.drop_connections()
        self.assertEqual(self.fetch("/", method="POST", body=b"x").status, 200)

    def test_partial_answer_on_a_pooled_connection_is_not_repeated(self):
        def handler(conn):
            if conn.read_request() is not None:
                conn.send(answer(200, b"pooled"))
                conn.read_head()
                conn.send(b"HTTP/1.1 2")
        self.origin.drop_connections()
        self.origin.handler = handler
        self.fetch("/pool")
        self.assertEqual(self.fetch("/half").status, 502)
        self.assertEqual([r.target for r in self.origin.requests].count("/half"), 1)


if __name__ == "__main__":
    unittest.main()
