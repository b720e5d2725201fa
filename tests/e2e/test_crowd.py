"""Many connections and slow ones: the others are not harmed, and each of them ends at its deadline."""
from lintel_test import *

IDLE = 10_000 if FULL else 1_000
SLOW = 1_000


def raise_file_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Crowd(LintelTestCase):
    @classmethod
    def configure(cls):
        raise_file_limit()
        return [cls.site()], {"timeouts": {"handshake": "5s", "header": "5s", "keep_alive": "600s"}}

    def crowd(self, count, open_one):
        members = [open_one() for _ in range(count)]
        self.addCleanup(lambda: [member.close() for member in members])
        return members

    def assert_others_are_served(self, times=20):
        with self.client() as client, self.h2() as h2:
            for _ in range(times):
                self.assertEqual(client.request(get("/")).status, 200)
                self.assertEqual(h2.request("/").status, 200)
                self.assertEqual(self.fetch("/").status, 200)

    def plain(self, octets=b"", port=None):
        sock = socket.create_connection(("127.0.0.1", port or self.lintel.http), 10)
        sock.sendall(octets)
        return sock

    def assert_ended(self, sock, seconds=20):
        sock.settimeout(seconds)
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(65536):
                pass

    def test_slow_heads(self):
        """Slowloris: a thousand heads that never end, one octet now and then."""
        slow = self.crowd(SLOW, lambda: self.plain(b"GET / HTTP/1.1\r\nHost: app.test\r\nX-Slow: "))
        for _ in range(3):
            for sock in slow:
                with contextlib.suppress(OSError):
                    sock.send(b"a")
            self.assert_others_are_served(5)
        for sock in slow:
            self.assert_ended(sock)
        self.assert_only_canary_or_root()

    def assert_only_canary_or_root(self):
        self.assertEqual({r.line for r in self.origin.requests}, {"GET / HTTP/1.1"})
        self.assertNotIn(b"X-Slow", self.origin.seen())

    def test_handshakes_that_never_end(self):
        """Silence, half a ClientHello, and garbage on the TLS port."""
        hello = bytes.fromhex("1603010200010001fc0303") + b"\0" * 40
        silent = self.crowd(300, lambda: self.plain(port=self.lintel.https))
        half = self.crowd(300, lambda: self.plain(hello, self.lintel.https))
        garbage = self.crowd(50, lambda: self.plain(b"\x16\x03\x01\xff\xff" + b"\xee" * 3000, self.lintel.https))
        sslv2 = self.crowd(5, lambda: self.plain(bytes.fromhex("802e010002001500000010") + b"\1" * 37, self.lintel.https))
        self.assert_others_are_served(5)
        for sock in silent + half + garbage + sslv2:
            self.assert_ended(sock)

    def test_idle_connections(self):
        before = self.lintel.rss_kib()
        context = tls_client_context()

        def served_once():
            client = RawClient(self.lintel.https, tls=context)
            self.assertEqual(client.request(get("/")).status, 200)
            return client
        idle = self.crowd(IDLE, served_once)
        self.assert_others_are_served()
        if not SANITIZED:
            self.assertLessEqual((self.lintel.rss_kib() - before) / IDLE, 32, "KiB per idle HTTPS connection")
        for client in idle[::max(1, IDLE // 50)]:
            self.assertEqual(client.request(get("/")).status, 200, "an idle connection is still good")

    def test_readers_that_stop(self):
        """A hundred downloads that nobody reads leave the others alone and memory bounded."""
        body = b"x" * 3_000_000
        self.origin.record = False
        self.origin.respond = lambda request: answer(200, body if request.target == "/large" else b"ok")
        self.assert_others_are_served(2)
        before = self.lintel.rss_kib()

        def reader():
            client = self.client(receive_buffer=4096)
            client.send(get("/large"))
            client.read_head()
            return client
        self.crowd(100, reader)
        self.assert_others_are_served()
        if not SANITIZED:
            self.assertLessEqual(self.lintel.rss_kib() - before, 100 * 512, "KiB for 100 stalled readers")

    def test_hello_in_single_octets(self):
        """A ClientHello may come in any number of segments (post-quantum shares make it long)."""
        context = tls_client_context()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="app.test")
        sock = self.plain(port=self.lintel.https)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.addCleanup(sock.close)

        def exchange(operation):
            while True:
                try:
                    value = operation()
                except ssl.SSLWantReadError:
                    value = None
                data = outgoing.read()
                for i in range(len(data)):
                    sock.send(data[i:i + 1])
                if value is not None:
                    return value
                incoming.write(sock.recv(65536))
        exchange(lambda: tls.do_handshake() or True)
        exchange(lambda: tls.write(get("/")))
        self.assertIn(b"200", exchange(lambda: tls.read(4096)))


if __name__ == "__main__":
    unittest.main()
