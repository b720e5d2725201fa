"""HTTP/1 requests that two parsers could read differently (request smuggling) are refused, the connection is closed and
nothing of them reaches the app. Ordinary corners of the protocol keep working."""
from lintel_test import *


# name -> (octets, status). Every one: the connection closes and the app sees nothing. Read with RFC 9112 beside it.
HOST = b"Host: app.test\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n"
REFUSED = {
    # line ends and white space (RFC 9112 §2.2, §5): what one side takes for a line end hides a field from the other
    "bare LF after the request line": (b"GET / HTTP/1.1\nHost: app.test\r\n\r\n", 400),
    "bare LF after a field": (b"GET / HTTP/1.1\r\nHost: app.test\nX: y\r\n\r\n", 400),
    "bare LF as the empty line": (b"GET / HTTP/1.1\r\nHost: app.test\r\n\n", 400),
    "only bare LFs": (b"GET / HTTP/1.1\nHost: app.test\n\n", 400),
    "bare CR in a value": (b"GET / HTTP/1.1\r\nHost: app.test\r\nX: a\rb\r\n\r\n", 400),
    "bare CR in the request line": (b"GET /\rx HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "CR CR LF": (b"GET / HTTP/1.1\r\nHost: app.test\r\r\n\r\n", 400),
    "obs-fold with a space": (b"GET / HTTP/1.1\r\nHost: app.test\r\nX: a\r\n b\r\n\r\n", 400),
    "obs-fold with a tab": (b"GET / HTTP/1.1\r\nHost: app.test\r\nX: a\r\n\tb\r\n\r\n", 400),
    "first field line starts with a space": (b"GET / HTTP/1.1\r\n Host: app.test\r\n\r\n", 400),
    "space before the colon": (b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length : 5\r\n\r\nhello", 400),
    "tab before the colon": (b"POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400),
    "space within a name": (b"GET / HTTP/1.1\r\nHost: app.test\r\nX Y: z\r\n\r\n", 400),
    "empty name": (b"GET / HTTP/1.1\r\nHost: app.test\r\n: z\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost: app.test\r\nnonsense\r\n\r\n", 400),
    "name with a control octet": (b"GET / HTTP/1.1\r\nHost: app.test\r\nX\x01Y: z\r\n\r\n", 400),
    "name with a high octet": (b"GET / HTTP/1.1\r\nHost: app.test\r\nX\xe9: z\r\n\r\n", 400),
    "name in quotes": (b"GET / HTTP/1.1\r\nHost: app.test\r\n\"X\": z\r\n\r\n", 400),
    "NUL in a value": (b"GET / HTTP/1.1\r\nHost: app.test\r\nX: a\x00b\r\n\r\n", 400),
    "NUL in a name": (b"GET / HTTP/1.1\r\nHost: app.test\r\nX\x00: b\r\n\r\n", 400),
    "control octet in a value": (b"GET / HTTP/1.1\r\nHost: app.test\r\nX: a\x0bb\r\n\r\n", 400),
    "DEL in a value": (b"GET / HTTP/1.1\r\nHost: app.test\r\nX: a\x7fb\r\n\r\n", 400),
    # Content-Length (§6.2, §6.3)
    "two different Content-Lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400),
    "two equal Content-Lengths": (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    "Content-Length list": (POST + b"Content-Length: 5, 5\r\n\r\nhello", 400),
    "Content-Length with a plus": (POST + b"Content-Length: +5\r\n\r\nhello", 400),
    "Content-Length negative": (POST + b"Content-Length: -5\r\n\r\nhello", 400),
    "Content-Length empty": (POST + b"Content-Length:\r\n\r\n", 400),
    "Content-Length hexadecimal": (POST + b"Content-Length: 0x5\r\n\r\nhello", 400),
    "Content-Length with an inner space": (POST + b"Content-Length: 5 0\r\n\r\nhello", 400),
    "Content-Length beyond 64 bits": (POST + b"Content-Length: 18446744073709551621\r\n\r\nhello", 400),
    "Content-Length not a number": (POST + b"Content-Length: five\r\n\r\nhello", 400),
    # Transfer-Encoding (§6.1)
    "CL.TE": (POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", 400),
    "TE.CL": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n" + SMUGGLED + b"\r\n0\r\n\r\n", 400),
    "Transfer-Encoding identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", 400),
    "Transfer-Encoding gzip": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    "Transfer-Encoding gzip, chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "Transfer-Encoding chunked, identity": (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    "Transfer-Encoding chunked twice in a list": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "two Transfer-Encodings": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", 400),
    "two Transfer-Encodings, both chunked": (POST + b"Transfer-Encoding: chunked\r\n" * 1
                                             + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "Transfer-Encoding xchunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "Transfer-Encoding quoted": (POST + b"Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400),
    "Transfer-Encoding with a vertical tab": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "Transfer-Encoding with a parameter": (POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 400),
    "Transfer-Encoding empty": (POST + b"Transfer-Encoding:\r\n\r\n", 400),
    "Transfer-Encoding in HTTP/1.0": (b"POST / HTTP/1.0\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    # request line (§3)
    "two spaces before the target": (b"GET  / HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "tab as separator": (b"GET\t/ HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "leading space": (b" GET / HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "trailing space": (b"GET / HTTP/1.1 \r\nHost: app.test\r\n\r\n", 400),
    "space in the target": (b"GET /a b HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "no target": (b"GET HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "method with a control octet": (b"G\x01T / HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "method with a colon": (b"GET: / HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "fragment in the target": (b"GET /a#b HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "target without a slash": (b"GET a HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "target with NUL": (b"GET /\x00 HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "target with a high octet": (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "asterisk with GET": (b"GET * HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "lower-case version": (b"GET / http/1.1\r\nHost: app.test\r\n\r\n", 400),
    "version with extra digits": (b"GET / HTTP/1.10\r\nHost: app.test\r\n\r\n", 400),
    "version HTTP/2.0 in HTTP/1 syntax": (b"GET / HTTP/2.0\r\nHost: app.test\r\n\r\n", 505),
    "version HTTP/3.0": (b"GET / HTTP/3.0\r\nHost: app.test\r\n\r\n", 505),
    "CONNECT": (b"CONNECT app.test:443 HTTP/1.1\r\nHost: app.test:443\r\n\r\n", 501),
    # Host (§3.2) and absolute-form (§3.2.2)
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: app.test\r\nHost: app.test\r\n\r\n", 400),
    "two different Hosts": (b"GET / HTTP/1.1\r\nHost: app.test\r\nhost: evil.test\r\n\r\n", 400),
    "empty Host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "Host with a path": (b"GET / HTTP/1.1\r\nHost: app.test/x\r\n\r\n", 400),
    "Host with userinfo": (b"GET / HTTP/1.1\r\nHost: a@app.test\r\n\r\n", 400),
    "Host list": (b"GET / HTTP/1.1\r\nHost: app.test, evil.test\r\n\r\n", 400),
    "Host with a space": (b"GET / HTTP/1.1\r\nHost: app.test evil\r\n\r\n", 400),
    "Host with port 0": (b"GET / HTTP/1.1\r\nHost: app.test:0\r\n\r\n", 400),
    "Host with a non-numeric port": (b"GET / HTTP/1.1\r\nHost: app.test:80a\r\n\r\n", 400),
    "Host with a too large port": (b"GET / HTTP/1.1\r\nHost: app.test:65536\r\n\r\n", 400),
    "Host percent-encoded": (b"GET / HTTP/1.1\r\nHost: app%2etest\r\n\r\n", 400),
    "absolute-form with another host": (b"GET https://evil.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "absolute-form with another scheme": (b"GET ftp://app.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "absolute-form with userinfo": (b"GET https://u@app.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n", 400),
    "absolute-form without Host": (b"GET https://app.test/ HTTP/1.1\r\n\r\n", 400),
    # sizes
    "a field of 40 KiB": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 40960 + b"\r\n\r\n", 431),
    "300 fields": (b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X%d: y\r\n" % i for i in range(300)) + b"\r\n", 431),
    "a target of 20 KiB": (b"GET /" + b"a" * 20480 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    # other protocols on this port
    "HTTP/2 preface without ALPN": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
    "garbage": (bytes(range(1, 32)) * 4 + b"\r\n\r\n", 400),
    "unknown expectation": (POST + b"Expect: magic\r\nContent-Length: 2\r\n\r\nhi", 417),
}

# Bodies that break after a valid head: the app may have the head, but never sees a whole request.
BAD_CHUNKS = {
    "not hexadecimal": b"g\r\n",
    "empty size": b"\r\n\r\n",
    "sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "0x prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "leading space": b" 5\r\nhello\r\n0\r\n\r\n",
    "underscore": b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n",
    "beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "bare LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "bare LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "bare CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "data longer than the size": b"5\r\nhello!\r\n0\r\n\r\n",
    "data shorter than the size": b"6\r\nhello\r\n0\r\n\r\n",
    "bare LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "two octets that are no CRLF after the data": b"5\r\nhelloXX0\r\n\r\n",
    "extension of 2 KiB": b"5;" + b"a" * 2048 + b"\r\nhello\r\n0\r\n\r\n",
    "many extensions": b"".join(b"1;" + b"a" * 200 + b"\r\nx\r\n" for _ in range(40)) + b"0\r\n\r\n",
    "NUL in an extension": b"5;a\x00\r\nhello\r\n0\r\n\r\n",
    "trailer without colon": b"0\r\nnonsense\r\n\r\n",
    "trailer with a bare LF": b"0\r\nX: y\n\r\n",
    "trailer folded": b"0\r\nX: y\r\n z\r\n\r\n",
    "trailer with space before the colon": b"0\r\nX : y\r\n\r\n",
    "trailer section of 20 KiB": b"0\r\nX: " + b"a" * 20480 + b"\r\n\r\n",
    "100 trailers": b"0\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(100)) + b"\r\n",
}


class RequestSmuggling(LintelTestCase):
    def refuse(self, octets, status, tls):
        with self.client(tls=tls) as client:
            # A second request behind the attack: if framing were misjudged, this is what would be smuggled.
            client.send(octets + SMUGGLED)
            if status is None:  # no answer in HTTP/1 is owed, only that the connection ends
                client.read_rest()
                return
            response = client.read_response(octets.split(b" ")[0].decode("latin-1"))
            self.assertEqual(response.status, status, response.body[:200])
            self.assertIsNotNone(response.error, "X-Lintel-Error names the cause")
            self.assertTrue(client.wait_closed(), "nothing more comes and the connection closes")

    def test_every_ambiguous_head_is_refused_and_reaches_nobody(self):
        for tls in (True, False):
            for name, (octets, status) in REFUSED.items():
                with self.subTest(name, tls=tls):
                    if b"https://" in octets and not tls:
                        octets = octets.replace(b"https://", b"http://")
                    self.refuse(octets, status, tls)
        self.assert_only_canary_reached()

    def test_head_in_single_octets_is_judged_the_same(self):
        """An attacker chooses the segments: the answer must not depend on them."""
        names = ["obs-fold with a space", "CL.TE", "two different Content-Lengths", "space before the colon",
                 "bare CR in a value", "fragment in the target", "two different Hosts"]
        for name in names:
            octets, status = REFUSED[name]
            with self.subTest(name), self.client(tls=False) as client:
                for i in range(len(octets)):
                    if not client.send(octets[i:i + 1]):
                        break  # refused at once, before the end of the head
                self.assertEqual(client.read_response("POST").status, status)
                self.assertTrue(client.wait_closed())
        self.assert_only_canary_reached()

    def test_broken_chunks_never_look_like_a_whole_request(self):
        whole = []

        def handler(conn):
            while (request := conn.read_head()) is not None:
                if conn.read_body(request):
                    whole.append((request.line, request.body))
                    conn.send(answer())
        for name, body in BAD_CHUNKS.items():
            with self.subTest(name):
                self.origin.reset()
                self.origin.drop_connections()
                self.origin.handler = handler
                whole.clear()
                with self.client() as client:
                    client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + body + SMUGGLED)
                    response = client.read_response("POST")
                    self.assertEqual(response.status, 400, response.body[:200])
                    self.assertIn(response.error, ("chunk-invalid", "trailer-invalid"))
                    self.assertTrue(client.wait_closed())
                self.origin.wait_for(lambda: all(c.gone.is_set() for c in self.origin.connections if c.requests),
                                     "the app's connection to be closed")
                self.assertEqual(whole, [])
                self.assertNotIn(b"/smuggled", self.origin.seen())
        self.origin.reset()
        self.assert_only_canary_reached()

    def test_te_with_obscured_content_length_in_the_second_request(self):
        """The first request is fine, the pipelined second is not: the first is answered, the second refused."""
        with self.client() as client:
            client.send(get("/first") + REFUSED["CL.TE"][0] + SMUGGLED)
            self.assertEqual(client.read_response().status, 200)
            self.assertEqual(client.read_response("POST").status, 400)
            self.assertTrue(client.wait_closed())
        self.assertEqual([r.target for r in self.origin.requests], ["/first"])

    def test_get_with_a_body_keeps_its_framing(self):
        """The body of a GET is not the next request."""
        with self.client() as client:
            response = client.request(b"GET /g HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED)
            self.assertEqual(response.status, 200)
            self.assertEqual(client.request(get("/next")).status, 200)
        self.assertEqual([r.target for r in self.origin.requests], ["/g", "/next"])
        self.assertEqual(self.origin.requests[0].body, SMUGGLED)


class OrdinaryCorners(LintelTestCase):
    @classmethod
    def configure(cls):
        return [cls.site(limits={"body": "1MiB"})], {"timeouts": {"header": "2s", "keep_alive": "2s", "body_idle": "2s"}}

    def test_absolute_form_that_agrees_is_served_and_forwarded_in_origin_form(self):
        with self.client() as client:
            self.assertEqual(client.request(b"GET https://app.test/a?b HTTP/1.1\r\nHost: app.test\r\n\r\n").status, 200)
            self.assertEqual(client.request(b"GET https://app.test HTTP/1.1\r\nHost: app.test\r\n\r\n").status, 200)
        self.assertEqual([r.target for r in self.origin.requests], ["/a?b", "/"])

    def test_options_asterisk(self):
        with self.client() as client:
            self.assertEqual(client.request(b"OPTIONS * HTTP/1.1\r\nHost: app.test\r\n\r\n").status, 200)
        self.assertEqual(self.origin.requests[0].target, "*")

    def test_one_empty_line_before_a_request_is_ignored(self):
        with self.client() as client:
            self.assertEqual(client.request(b"\r\n" + get("/a"), "GET").status, 200)

    def test_pipelined_requests_are_answered_in_order(self):
        self.origin.respond = lambda request: answer(200, request.target)
        with self.client() as client:
            client.send(b"".join(get(f"/{i}") for i in range(40)))
            self.assertEqual([client.read_response().body for _ in range(40)], [b"/%d" % i for i in range(40)])

    def test_pipelined_bodies_are_answered_in_order(self):
        self.origin.respond = lambda request: answer(200, request.body)
        with self.client() as client:
            client.send(b"".join(get("/", method="POST", body=f"body{i}" * 100) for i in range(10)))
            for i in range(10):
                self.assertEqual(client.read_response("POST").body, b"body%d" % i * 100)

    def test_request_in_single_octets(self):
        self.origin.respond = lambda request: answer(200, request.body)
        octets = POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"hello", b"world" * 10, trailers=[("X-T", "1")])
        for tls in (False, True):
            with self.subTest(tls=tls), self.client(tls=tls) as client:
                for i in range(len(octets)):
                    client.send(octets[i:i + 1])
                self.assertEqual(client.read_response("POST").body, b"hello" + b"world" * 10)

    def test_http_1_0_closes_unless_keep_alive_is_asked_for(self):
        with self.client() as client:
            response = client.request(b"GET / HTTP/1.0\r\nHost: app.test\r\n\r\n")
            self.assertEqual((response.status, response.body), (200, b"ok\n"))
            self.assertTrue(client.wait_closed())
        with self.client() as client:
            for _ in range(2):
                response = client.request(b"GET / HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n")
                self.assertEqual(response.status, 200)
                self.assertEqual(response.get("connection", "").lower(), "keep-alive")

    def test_http_1_0_client_never_gets_chunks(self):
        """It could not read them: the octets come as they are and the close ends the body."""
        self.origin.respond = lambda request: answer(200, chunked(b"hello"), [("Transfer-Encoding", "chunked")], length=False)
        with self.client() as client:
            response = client.request(b"GET / HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n")
            self.assertIsNone(response.get("transfer-encoding"))
            self.assertEqual(response.body, b"hello")

    def test_connection_close_is_honoured(self):
        with self.client() as client:
            response = client.request(get("/", headers=[("Connection", "close")]))
            self.assertEqual(response.get("connection", "").lower(), "close")
            self.assertTrue(client.wait_closed())

    def test_expect_100_continue(self):
        self.origin.respond = lambda request: answer(200, request.body)
        with self.client() as client:
            client.send(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            self.assertEqual(client.read_head().status, 100)
            client.send(b"hello")
            self.assertEqual(client.read_response("POST").body, b"hello")
            self.assertEqual(client.request(get("/next")).status, 200)

    def test_expect_100_continue_answered_finally_by_the_app(self):
        """413 instead of 100: the client must not be told to send, and the connection may not take the body for a request."""
        def handler(conn):
            conn.read_head()
            conn.send(answer(401, b"no", [("Connection", "close")]))
        self.origin.drop_connections()
        self.origin.handler = handler
        with self.client() as client:
            client.send(POST + b"Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n")
            response = client.read_response("POST")
            self.assertEqual(response.status, 401)

    def test_head_has_no_body_and_the_connection_goes_on(self):
        self.origin.respond = lambda request: answer(200, b"" if request.method == "HEAD" else b"x",
                                                     [("Content-Length", "1234")], length=False)
        with self.client() as client:
            response = client.request(get("/", method="HEAD"))
            self.assertEqual(response.get("content-length"), "1234")
            self.origin.respond = self.origin.default_respond
            self.assertEqual(client.request(get("/")).body, b"ok\n")

    def test_204_and_304_have_no_body(self):
        for status in (204, 304):
            self.origin.respond = lambda request, s=status: answer(s, b"", [("ETag", '"a"')], length=False)
            with self.subTest(status), self.client() as client:
                self.assertEqual(client.request(get("/")).status, status)
                self.origin.respond = self.origin.default_respond
                self.assertEqual(client.request(get("/")).body, b"ok\n")

    def test_length_and_chunked_bodies_arrive_whole(self):
        self.origin.respond = lambda request: answer(200, request.body)
        body = bytes(range(256)) * 1000
        with self.client() as client:
            self.assertEqual(client.request(get("/", method="PUT", body=body)).body, body)
            client.send(POST + b"Transfer-Encoding: Chunked\r\n\r\n" + chunked(body[:1], body[1:70000], body[70000:]))
            self.assertEqual(client.read_response("POST").body, body)

    def test_answer_until_close_reaches_the_client_with_an_end(self):
        self.origin.respond = lambda request: answer(200, b"until close", [("Connection", "close")], length=False)
        with self.client() as client:
            self.assertEqual(client.request(get("/")).body, b"until close")

    def test_trailers_pass_both_ways(self):
        self.origin.respond = lambda request: answer(
            200, chunked(b"x", trailers=[("X-Out", "2")]), [("Transfer-Encoding", "chunked"), ("Trailer", "X-Out")],
            length=False)
        with self.client() as client:
            client.send(POST + b"TE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"a", trailers=[("X-In", "1")]))
            response = client.read_response("POST")
        self.assertIn(("X-In", "1"), self.origin.requests[0].trailers)
        self.assertIn(("x-out", "2"), [(n.lower(), v) for n, v in response.trailers])

    def test_framing_and_managed_fields_in_trailers_never_reach_the_app(self):
        """A trailer that is merged by the app server must not be able to forge what Lintel vouches for."""
        hostile = [("X-Forwarded-For", "6.6.6.6"), ("X_Forwarded_Proto", "http"), ("Forwarded", "for=6.6.6.6"),
                   ("X.Real.IP", "6.6.6.6"), ("X-Ok", "1")]
        with self.client() as client:
            client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"a", trailers=hostile))
            self.assertEqual(client.read_response("POST").status, 200)
        self.assertEqual([name.lower() for name, _ in self.origin.requests[0].trailers], ["x-ok"])

    def test_early_answer_while_the_upload_still_runs(self):
        """The client gets the app's 413 and not a reset that eats it."""
        def handler(conn):
            conn.read_head()
            conn.send(answer(413, b"too much", [("Connection", "close")]))
        self.origin.drop_connections()
        self.origin.handler = handler
        with self.client() as client:
            client.send(POST + b"Content-Length: 1000000\r\n\r\n" + b"a" * 20000)
            response = client.read_response("POST")
            self.assertEqual((response.status, response.body), (413, b"too much"))
            while client.send(b"a" * 1000) and not client.closed:
                client.sock.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    client.fill()

    def test_body_over_the_limit_is_413_and_never_whole_at_the_app(self):
        whole = []
        self.origin.respond = lambda request: whole.append(request) or answer()
        with self.client() as client:
            client.send(POST + b"Content-Length: 2000000\r\n\r\n")
            self.assertEqual(client.read_response("POST").error, "body-too-large")
        with self.client() as client:
            for _ in range(30):
                client.send((b"" if _ else POST + b"Transfer-Encoding: chunked\r\n\r\n") + b"10000\r\n" + b"a" * 65536 + b"\r\n")
            self.assertEqual(client.read_response("POST").status, 413)
        self.assertEqual(whole, [])

    def test_slow_head_is_408(self):
        with self.client(tls=False) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: app")
            self.assertEqual(client.read_response().error, "request-timeout")
            self.assertTrue(client.wait_closed())
        self.assert_only_canary_reached()

    def test_stalled_body_is_408_and_releases_the_app(self):
        with self.client() as client:
            client.send(POST + b"Content-Length: 100\r\n\r\nabc")
            self.assertEqual(client.read_response("POST").error, "body-timeout")
        self.origin.wait_for(lambda: all(c.gone.is_set() for c in self.origin.connections if c.requests))

    def test_idle_connection_is_closed_without_an_answer(self):
        with self.client() as client:
            self.assertEqual(client.request(get("/")).status, 200)
            self.assertTrue(client.wait_closed(), "keep_alive = 2s")

    def test_plain_http_on_the_tls_port_gets_an_explanation(self):
        with RawClient(self.lintel.https) as client:
            self.assertEqual(client.request(get("/")).error, "plain-http-on-tls")
            self.assertTrue(client.wait_closed())
        self.assert_only_canary_reached()


if __name__ == "__main__":
    unittest.main()
