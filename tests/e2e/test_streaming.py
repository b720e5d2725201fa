"""Bodies flow at constant memory and at once, both ways, over every protocol; who goes away releases the other side."""
from lintel_test import *

MIB = 1 << 20
LARGE = (4096 if FULL else 128) * MIB
SMALL = 8 * MIB
GROWTH_KIB = 512  # what a large transfer may add to the resident size beyond what a small one has left
BLOCK = bytes(range(256)) * 256  # 64 KiB


def stream_of(size):
    """A body in blocks whose octets tell their place, so that a lost or doubled block is seen."""
    sent = 0
    while sent < size:
        part = BLOCK[:size - sent]
        yield part
        sent += len(part)


class Flow(LintelTestCase):
    @classmethod
    def configure(cls):
        # One worker: each has buffers of its own, and the small transfer must warm those that the large one uses.
        return [cls.site()], {"workers": 1}

    def assert_no_growth(self, before):
        if before is not None and not SANITIZED:
            self.assertLessEqual(self.lintel.rss_kib() - before, GROWTH_KIB, "KiB of resident growth")

    def test_large_upload_to_an_app_that_stops_reading_for_a_while(self):
        """Backpressure reaches the client instead of filling memory; every octet arrives in its place."""
        self.upload(SMALL * 4, None)
        self.upload(LARGE, self.lintel.rss_kib())

    def upload(self, size, before):
        release, result = threading.Event(), {}

        def handler(conn):
            conn.read_head()
            release.wait(30)
            received, good = 0, True
            while received < size and (conn.pending or conn.fill()):
                data = bytes(conn.pending)
                conn.pending.clear()
                start = received % len(BLOCK)
                good = good and data == (BLOCK * (len(data) // len(BLOCK) + 2))[start:start + len(data)]
                received += len(data)
            result.update(received=received, good=good)
            conn.send(answer(200, str(received)))
        self.origin.drop_connections()
        self.origin.handler = handler
        self.origin.record = False
        with self.client() as client:
            client.send(get("/", method="POST")[:-2] + b"Content-Length: %d\r\n\r\n" % size)
            blocked = self.send_all(client, size, release, lambda: self.assert_no_growth(before))
            self.assertTrue(blocked, "the client had to wait for the app")
            self.assert_no_growth(before)
            client.sock.settimeout(60)
            self.assertEqual(client.read_response("POST").body, b"%d" % size)
        self.assertEqual(result, {"received": size, "good": True})

    @staticmethod
    def send_all(client, size, release, when_blocked):
        blocked = False
        client.sock.settimeout(1)
        for part in stream_of(size):
            view = memoryview(part)
            while view:
                try:
                    # One TLS record is repeated whole after a timeout, as OpenSSL asks.
                    sent = client.sock.send(view[:16384])
                    view = view[sent:]
                except (TimeoutError, ssl.SSLWantWriteError):
                    if not release.is_set():
                        when_blocked()
                        blocked = True
                        release.set()
                        client.sock.settimeout(30)
        return blocked

    def test_large_download_to_a_client_that_stops_reading_for_a_while(self):
        for protocol, size in (("h1", LARGE), ("h2", LARGE // 4)):  # the Python HTTP/2 client is the slow part
            with self.subTest(protocol):
                self.download(protocol, SMALL * 4, None)
                self.download(protocol, size, self.lintel.rss_kib())

    def download(self, protocol, size, before):
        progress = {"sent": 0}

        def handler(conn):
            conn.read_request()
            conn.sock.settimeout(120)
            conn.send(answer(200, b"", [("Content-Length", str(size))], length=False))
            for part in stream_of(size):
                if not conn.send(part):
                    return
                progress["sent"] += len(part)
        self.origin.drop_connections()
        self.origin.handler = handler

        def app_has_stopped():
            sent = progress["sent"]
            time.sleep(0.3)
            return sent > 0 and progress["sent"] == sent
        if protocol == "h1":
            with self.client() as client:
                client.send(get("/"))
                client.read_head()
                wait_until(app_has_stopped, "backpressure to reach the app")
                self.assertLess(progress["sent"], size)
                self.assert_no_growth(before)
                received = 0
                while received < size:
                    if not client.buffer and not client.fill():
                        break
                    received += len(client.buffer)
                    client.buffer.clear()
                self.assertEqual(received, size)
        else:
            with self.h2(replenish=False) as h2:
                stream = h2.open(h2.fields("/"))
                h2.until(lambda: h2.responses[stream].body)
                wait_until(app_has_stopped, "backpressure to reach the app")
                self.assertLess(progress["sent"], size)
                self.assert_no_growth(before)
                got = len(h2.responses[stream].body)
                h2.replenish = True
                credit = (got + 4 * MIB).to_bytes(4, "big")
                h2.send(frame(8, 0, 0, credit) + frame(8, 0, stream, credit))
                self.assertEqual(len(h2.wait(stream, 120).body), size)
        self.assert_no_growth(before)

    def test_events_are_flushed_at_once(self):
        """Server-sent events: the app sends the next event only when the client has shown the one before."""
        shown = threading.Semaphore(0)

        def events(conn, frame_it, head):
            conn.read_request()
            conn.send(answer(200, b"", [("Content-Type", "text/event-stream"), *head], length=False))
            for i in range(20):
                conn.send(frame_it(b"data: %d\n\n" % i))
                if not shown.acquire(timeout=10):
                    return
        kinds = {"chunked": (lambda data: b"%x\r\n%s\r\n" % (len(data), data), [("Transfer-Encoding", "chunked")]),
                 "until close": (lambda data: data, [("Connection", "close")])}
        for name, (frame_it, head) in kinds.items():
            self.origin.drop_connections()
            self.origin.handler = lambda conn, f=frame_it, h=head: events(conn, f, h)
            with self.subTest(name, client="HTTP/1.1"), self.client() as client:
                client.send(get("/events"))
                for i in range(20):
                    client.read_until(b"data: %d\n\n" % i)
                    shown.release()
            with self.subTest(name, client="HTTP/2"), self.h2() as h2:
                stream = h2.open(h2.fields("/events"))
                for i in range(20):
                    h2.until(lambda i=i: b"data: %d\n\n" % i in h2.responses[stream].body)
                    shown.release()

    def test_upload_is_passed_on_as_it_comes(self):
        """A chat over one request: the app echoes each chunk before the next is sent, HTTP/1.1 and HTTP/2."""
        def echo(conn):
            conn.read_head()
            conn.send(answer(200, b"", [("Transfer-Encoding", "chunked")], length=False))
            while chunk := conn.read_chunk():
                conn.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            conn.send(b"0\r\n\r\n")
        self.origin.drop_connections()
        self.origin.handler = echo
        with self.client() as client:
            client.send(get("/", method="POST")[:-2] + b"Transfer-Encoding: chunked\r\n\r\n")
            client.send(b"4\r\nping\r\n")
            self.assertEqual(client.read_head().status, 200)
            for i in range(10):
                client.read_until(b"ping\r\n")
                client.send(b"4\r\nping\r\n" if i < 9 else b"0\r\n\r\n")
            client.read_until(b"0\r\n\r\n")
        with self.h2() as h2:
            stream = h2.open(h2.fields("/", "POST"), end=False)
            for i in range(10):
                h2.data(stream, b"ping")
                h2.until(lambda i=i: len(h2.responses[stream].body) == 4 * (i + 1))
            h2.data(stream, b"", end=True)
            self.assertTrue(h2.wait(stream).ended)

    def hold(self):
        """An app that reads the head and then whatever comes, without answering."""
        def handler(conn):
            conn.read_head()
            conn.wait_gone()
        self.origin.drop_connections()
        self.origin.handler = handler

    def assert_released(self):
        self.origin.wait_for(lambda: any(c.requests for c in self.origin.connections)
                             and all(c.gone.is_set() for c in self.origin.connections if c.requests),
                             "the app to be released")

    def test_a_client_that_goes_away_releases_the_app(self):
        self.hold()
        ways = {"close while waiting": (get("/"), RawClient.close), "reset while waiting": (get("/"), RawClient.abort),
                "close in the upload": (get("/", method="POST")[:-2] + b"Content-Length: 99999\r\n\r\nabc", RawClient.close),
                "reset in the upload": (get("/", method="POST")[:-2] + b"Content-Length: 99999\r\n\r\nabc", RawClient.abort),
                "close in a chunked upload": (get("/", method="POST")[:-2] + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", RawClient.close)}
        for tls in (False, True):
            for name, (octets, leave) in ways.items():
                with self.subTest(name, tls=tls):
                    self.origin.connections.clear()
                    client = self.client(tls=tls)
                    client.send(octets)
                    self.origin.wait_for(lambda: any(c.requests for c in self.origin.connections))
                    leave(client)
                    self.assert_released()

    def test_a_cancelled_stream_releases_the_app_and_only_it(self):
        self.hold()
        for name, body in (("while waiting", None), ("in the upload", b"abc")):
            with self.subTest(name), self.h2() as h2:
                self.origin.connections.clear()
                stream = h2.open(h2.fields("/", "POST" if body else "GET"), end=body is None)
                if body:
                    h2.data(stream, body)
                self.origin.wait_for(lambda: any(c.requests for c in self.origin.connections))
                h2.send(frame(3, 0, stream, (8).to_bytes(4, "big")))
                self.assert_released()
                self.origin.handler = self.origin.default_handler
                self.assertEqual(h2.request("/").status, 200)
                self.hold()

    def test_a_client_that_goes_away_in_the_download_releases_the_app(self):
        def handler(conn):
            conn.read_request()
            conn.send(answer(200, b"", [("Transfer-Encoding", "chunked")], length=False))
            while conn.send(b"10000\r\n" + b"x" * 65536 + b"\r\n"):
                pass
        self.origin.drop_connections()
        self.origin.handler = handler
        with self.client() as client:
            client.send(get("/"))
            client.read_head()
        self.assert_released()


class Tools(LintelTestCase):
    """The clients that people use."""

    def run_tool(self, *command):
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    def curl(self, *options):
        return self.run_tool("curl", "-sS", "--cacert", self.ca.cert, "--resolve", f"app.test:{self.lintel.https}:127.0.0.1",
                             *options, f"https://app.test:{self.lintel.https}/")

    def test_curl(self):
        for option, version in (("--http1.1", "1.1"), ("--http2", "2")):
            self.assertEqual(self.curl(option, "-w", "%{http_version}"), f"ok\n{version}")
        self.origin.respond = lambda request: answer(200, str(len(request.body)))
        with tempfile.NamedTemporaryFile() as upload:
            upload.write(b"x" * 5_000_000)
            upload.flush()
            for option in ("--http1.1", "--http2"):
                self.assertEqual(self.curl(option, "--data-binary", f"@{upload.name}"), "5000000")
                self.assertEqual(self.curl(option, "-T", upload.name, "-H", "Transfer-Encoding: chunked" if option == "--http1.1" else "X: y"), "5000000")

    def test_h2load(self):
        for protocol, streams in (("--npn-list=h2", "-m10"), ("--h1", "-m1")):
            out = self.run_tool("h2load", "-n2000", "-c10", streams, protocol,
                                f"--connect-to=127.0.0.1:{self.lintel.https}", "https://app.test/")
            self.assertIn("2000 succeeded, 0 failed", out)

    def test_nghttp_uploads_and_reads_trailers(self):
        self.origin.respond = lambda request: answer(200, chunked(b"x", trailers=[("X-Sum", "9")]), [("Transfer-Encoding", "chunked")], length=False)
        out = self.run_tool("nghttp", "-v", "-H", ":authority: app.test", f"https://127.0.0.1:{self.lintel.https}/")
        self.assertRegex(out, r"x-sum: 9")


if __name__ == "__main__":
    unittest.main()
