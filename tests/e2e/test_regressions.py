"""Each test is one defect that was found by reading or attacking the data plane: its name says what would break."""
import struct

from h2client import (ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE)
from lintel_test import *
from test_upstream_h2 import H2App

WEBSOCKET = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
             ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
WEBSOCKET_ANSWER = (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")


class Http1App(LintelTestCase):
    def test_a_long_upgrade_token_does_not_write_beyond_the_request(self):
        # The token was left out when the room for the app's request was measured: a write of 20 KiB over the heap.
        for token in ("a" * 20_000, "a" * 300):
            with self.client() as client:
                answered = client.request(get("/", headers=[("Connection", "upgrade"), ("Upgrade", token)]))
                self.assertEqual(answered.status, 200)
            self.assertEqual(self.origin.requests[-1].get("upgrade"), token)
        self.assertIsNone(self.lintel.process.poll())

    def test_no_second_http_connection_by_extended_connect(self):
        # ":protocol: h2c" would be an HTTP connection to the app that no rule of Lintel ever sees.
        for protocol in ("h2c", "h2", "http", "HTTP/1.1", "tls", "websocket2", "connect-udp"):
            with self.h2() as h2:
                stream = h2.open([(":method", "CONNECT"), (":protocol", protocol), (":scheme", "https"),
                                  (":path", "/"), (":authority", "app.test")], end=False)
                response = h2.wait(stream)
                self.assertTrue(response.status == 501 or response.reset is not None, (protocol, response.status))
        self.assert_only_canary_reached()

    def test_every_connection_line_of_an_answer_counts(self):
        self.origin.respond = lambda request: answer(headers=[
            ("Connection", "keep-alive"), ("Connection", "X-Internal"), ("Connection", "close, X-Secret"),
            ("X-Internal", "1"), ("X-Secret", "2"), ("X-Public", "3")])
        response = self.fetch()
        self.assertEqual(response.status, 200)
        self.assertEqual([response.get(name) for name in ("X-Internal", "X-Secret", "X-Public")], [None, None, "3"])

    def test_a_long_list_in_connection_costs_nothing(self):
        # Every field's name was looked for in 30 KiB of options, some milliseconds for each such request.
        fields = [(f"X-{i}", "1") for i in range(100)]
        for options in (["a," * 14_000], [", " * 14_000 + "x-a"], ["x-%d, x-b" % i + "c" * 200 for i in range(20)]):
            with self.client() as client:
                answered = client.request(get("/", headers=fields + [("Connection", value) for value in options]))
                self.assertEqual(answered.status, 431)
        self.assert_only_canary_reached()

    def test_a_trailer_cannot_stand_in_for_the_request_id(self):
        # Servers that merge trailers into the headers would believe the client's id and loop mark.
        with self.client() as client:
            client.send(get("/", method="POST")[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
                        + chunked(b"x", trailers=[("X-Request-Id", "forged"), ("CDN-Loop", "forged"), ("X-Fine", "1")]))
            self.assertEqual(client.read_response("POST").status, 200)
        self.assertEqual(self.origin.requests[0].trailers, [("X-Fine", "1")])

    def test_a_slow_reader_of_a_last_answer_gets_all_of_it(self):
        # The answer of a connection that closes was cut off two seconds after its end had been written.
        body = os.urandom(1 << 20)
        self.origin.respond = lambda request: answer(200, body)
        with self.client(tls=False, receive_buffer=4096) as client:
            client.send(get("/", headers=[("Connection", "close")]))
            self.origin.wait_for(lambda: self.origin.requests, "the request")
            time.sleep(3)  # longer than what is left unread may linger
            self.assertEqual(client.read_response().body, body)

    def test_what_a_tunnel_still_holds_is_sent_before_its_end(self):
        # The client's FIN was passed on before octets that the app had not taken yet, which were then lost.
        size, got, begin = 8 << 20, [], threading.Event()

        def handler(conn):
            conn.read_head()
            conn.send(WEBSOCKET_ANSWER)
            begin.wait(10)
            conn.wait_gone()
            got.append(len(conn.raw))
        self.origin.drop_connections()
        self.origin.handler = handler
        with self.client(tls=False) as client:
            client.send(get("/", headers=WEBSOCKET))
            self.assertEqual(client.read_response().status, 101)
            sender = threading.Thread(target=lambda: (client.send(b"x" * size), client.finish_sending()))
            sender.start()
            begin.set()
            sender.join(30)
            wait_until(lambda: got, "the app to see the end")
        self.assertGreaterEqual(got[0], size)


class Quiet(LintelTestCase):
    """Connections that only pretend to be used."""

    @classmethod
    def configure(cls):
        return [cls.site()], {"timeouts": {"keep_alive": "1s", "header": "1s", "body_idle": "1s", "response": "2s"}}

    def keeps_talking(self, octets):
        """The seconds after which a connection is closed on which `octets` comes again and again."""
        with self.h2() as h2:
            h2.raw.sock.settimeout(0.3)
            began = time.monotonic()
            while time.monotonic() - began < 20:
                if not h2.send(octets(h2)):
                    return time.monotonic() - began
                try:
                    if h2.read_frame() is None:
                        return time.monotonic() - began
                except TimeoutError:
                    pass
        return None

    def test_a_head_that_never_ends_does_not_keep_the_connection(self):
        # One HEADERS without END_HEADERS counted as an open stream: the connection was never looked at again.
        begun = []

        def octets(h2):
            if begun:
                return b""
            begun.append(True)
            return frame(HEADERS, END_STREAM, 1, block([(":method", "GET"), (":scheme", "https")]))
        self.assertIsNotNone(self.keeps_talking(octets))
        self.assert_only_canary_reached()

    def test_pings_and_settings_do_not_keep_the_connection(self):
        self.assertIsNotNone(self.keeps_talking(lambda h2: frame(PING, 0, 0, b"12345678")))
        self.assertIsNotNone(self.keeps_talking(lambda h2: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1))))


class TlsApp(LintelTestCase):
    @classmethod
    def configure(cls):
        cls.tls_context = cls.ca.server_context("127.0.0.1")
        return [cls.site(to=[{"url": cls.origin.url.replace("http:", "https:"), "tls": {"ca": cls.ca.cert}}])], {}

    def test_close_notify_without_fin_ends_an_answer(self):
        # The end was only looked for on the socket, which says nothing more: the client waited five minutes.
        def handler(conn):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = self.tls_context.wrap_bio(incoming, outgoing, server_side=True)

            def until_done(step):
                while True:
                    try:
                        return step()
                    except ssl.SSLWantReadError:
                        conn.send(outgoing.read())
                        incoming.write(conn.sock.recv(65536))
            until_done(tls.do_handshake)
            until_done(lambda: tls.read(65536))
            tls.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.unwrap()
            conn.send(outgoing.read())  # the body and close_notify in one segment; no FIN
            released.wait(20)
        released = threading.Event()
        self.origin.handler = handler
        try:
            self.assertEqual(self.fetch().body, b"all of it")
        finally:
            released.set()


class Http2App(LintelTestCase):
    @classmethod
    def configure(cls):
        return [cls.site(to=[cls.origin.url.replace("http:", "h2c:")])], {"workers": 1, "timeouts": {"response": "6s"}}

    def test_an_answer_without_body_and_length_ends_on_http_1(self):
        # It got neither Content-Length nor chunks, so that the client waited for the connection's end.
        self.origin.drop_connections()
        self.origin.handler = lambda conn: H2App(
            conn, lambda app, number, stream: app.head(number, [(":status", "200")], end=True)).serve()
        with self.client() as client:
            for _ in range(2):
                response = client.request(get("/"))
                self.assertEqual((response.status, response.body, response.get("content-length")), (200, b"", "0"))
            self.assertIsNone(client.request(get("/", method="HEAD")).get("content-length"))

    def test_a_client_that_leaves_while_the_app_withholds_its_settings(self):
        # The connection to the app kept a pointer to the flow that waited for SETTINGS, and used it after its end.
        connected, proceed = threading.Semaphore(0), threading.Event()

        def handler(conn):
            conn.fill()
            connected.release()
            proceed.wait(10)
            conn.send(settings((8, 1)))
            conn.wait_gone()
        self.origin.drop_connections()
        self.origin.handler = handler
        for _ in range(4):
            client = self.client(tls=False)
            client.send(get("/", headers=WEBSOCKET))
            connected.acquire(timeout=10)
            client.abort()
        self.lintel.wait_log(lambda line: line["error"] == "client-gone")
        proceed.set()
        self.origin.handler = lambda conn: H2App(conn, lambda app, number, stream: app.answer(number)).serve()
        self.origin.drop_connections()
        self.assertEqual(self.fetch().status, 200)
        self.assertIsNone(self.lintel.process.poll())

    def test_an_app_that_hangs_is_not_given_request_after_request(self):
        # All requests shared the connection that had stopped answering: each of them was a 504.
        connections = []

        def handler(conn):
            connections.append(conn)
            app = H2App(conn, lambda app, number, stream: app.answer(number))
            if len(connections) == 1:
                conn.wait_gone()  # reads, and never says a word
            else:
                app.serve()
        self.origin.drop_connections()
        self.origin.handler = handler
        self.assertEqual(self.fetch("/first").error, "upstream-timeout")
        self.assertEqual(self.fetch("/second").status, 200)
        self.assertEqual(len(connections), 2)


if __name__ == "__main__":
    unittest.main()
