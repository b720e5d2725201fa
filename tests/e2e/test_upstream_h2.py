"""An app that speaks HTTP/2 without TLS (h2c): multiplexing, both framings, and an app that cannot be trusted."""
import struct

import hpack

from h2client import (ACK, CANCEL, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INTERNAL_ERROR, PING, PREFACE,
                      PUSH_PROMISE, REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE)
from lintel_test import *


class Stream:
    def __init__(self, fields):
        self.fields = dict(fields)
        self.names = [name for name, _ in fields]
        self.body = bytearray()
        self.trailers = None
        self.reset = None


class H2App:
    """One h2c connection of the app. `script(app, number, stream)` is called when a request is complete, or as soon as
    its head is there when `early` is set."""

    def __init__(self, conn, script, early=False, settings_=(), window=1 << 20):
        self.conn, self.script, self.early = conn, script, early
        self.decoder, self.encoder = hpack.Decoder(), hpack.Encoder()
        self.streams = {}
        if conn.read_exactly(len(PREFACE)) != PREFACE:
            raise AssertionError("no HTTP/2 preface")
        conn.send(settings((4, window), *settings_) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 24)))

    def serve(self):
        while (head := self.conn.read_exactly(9)) is not None:
            kind, flags, number = head[3], head[4], struct.unpack(">I", head[5:])[0]
            payload = self.conn.read_exactly(int.from_bytes(head[:3], "big"))
            if payload is None:
                return
            if kind == SETTINGS and not flags & ACK:
                self.conn.send(frame(SETTINGS, ACK))
            elif kind == PING and not flags & ACK:
                self.conn.send(frame(PING, ACK, 0, payload))
            elif kind == HEADERS and number not in self.streams:
                self.streams[number] = Stream(self.decoder.decode(payload))
                if self.early or flags & END_STREAM:
                    self.script(self, number, self.streams[number])
            elif kind == HEADERS:
                self.streams[number].trailers = self.decoder.decode(payload)
                self.script(self, number, self.streams[number])
            elif kind == DATA:
                self.streams[number].body += payload
                if payload:
                    self.conn.send(frame(WINDOW_UPDATE, 0, number, struct.pack(">I", len(payload)))
                                   + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
                if flags & END_STREAM and not self.early:
                    self.script(self, number, self.streams[number])
            elif kind == RST_STREAM:
                self.streams[number].reset = struct.unpack(">I", payload)[0]

    def head(self, number, fields, end=False):
        self.conn.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), number, self.encoder.encode(fields)))

    def raw_head(self, number, fields, end=False):
        self.conn.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), number, block(fields)))

    def data(self, number, octets, end=False):
        """Keeps no account of windows: at most 64 KiB a stream."""
        for start in range(0, max(1, len(octets)), 16000):
            part = octets[start:start + 16000]
            self.conn.send(frame(DATA, END_STREAM if end and start + 16000 >= len(octets) else 0, number, part))

    def answer(self, number, body=b"ok\n", status=200, headers=(), trailers=None):
        self.head(number, [(":status", str(status)), ("content-length", str(len(body))), *headers])
        self.data(number, body, end=trailers is None)
        if trailers:
            self.head(number, trailers, end=True)


class HttpTwoApp(LintelTestCase):
    @classmethod
    def configure(cls):
        return [cls.site(to=[cls.origin.url.replace("http:", "h2c:")])], {"workers": 1, "timeouts": {"response": "2s"}}

    def app(self, script, **options):
        self.apps = []

        def handler(conn):
            app = H2App(conn, script, **options)
            self.apps.append(app)
            app.serve()
        self.origin.drop_connections()
        self.origin.handler = handler

    def test_both_client_protocols_and_both_framings(self):
        self.app(lambda app, number, stream: app.answer(number, bytes(stream.body) or b"empty"))
        for fetch in (lambda **o: self.fetch("/", **o), lambda **o: self.h2_request(**o)):
            self.assertEqual(fetch().body, b"empty")
            self.assertEqual(fetch(method="POST", body=b"x" * 60_000).body, b"x" * 60_000)  # within the first window
        with self.client() as client:
            client.send(get("/", method="POST")[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"hello ", b"world"))
            self.assertEqual(client.read_response("POST").body, b"hello world")
        stream = next(iter(self.apps[0].streams.values()))
        self.assertEqual((stream.fields[":scheme"], stream.fields[":authority"]), ("https", "app.test"))
        self.assertEqual(stream.fields["x-forwarded-proto"], "https")
        for name in stream.names:
            self.assertEqual(name, name.lower())
            self.assertNotIn(name, ("connection", "transfer-encoding", "keep-alive", "upgrade", "host"))

    def h2_request(self, **options):
        with self.h2() as h2:
            return h2.request("/", **options)

    def burst(self, h2):
        waiting = []

        def script(app, number, stream):
            if stream.fields[":path"] == "/warm-up":
                return app.answer(number)
            waiting.append((app, number))
            if len(waiting) == 20:  # all are there before the first is answered
                for each, number_ in waiting:
                    each.answer(number_, b"%d" % number_)
            return None
        self.app(script)
        yield
        streams = [h2.open(h2.fields(f"/{i}")) for i in range(20)]
        self.assertEqual([h2.wait(s).status for s in streams], [200] * 20)
        self.assertEqual(len(self.apps), 1)

    def test_requests_share_one_connection(self):
        with self.h2() as h2:
            for _ in self.burst(h2):
                self.assertEqual(h2.request("/warm-up").status, 200)

    def test_a_burst_on_a_cold_app_shares_one_connection_too(self):
        """Twenty requests of one page must not become twenty connections because none was ready yet."""
        with self.h2() as h2:
            for _ in self.burst(h2):
                pass

    def test_an_app_that_allows_one_stream_at_a_time(self):
        self.app(lambda app, number, _: app.answer(number), settings_=((3, 1),))
        with self.h2() as h2:
            streams = [h2.open(h2.fields("/")) for _ in range(10)]
            self.assertEqual([(h2.wait(s).status, h2.responses[s].error) for s in streams], [(200, None)] * 10)

    def test_trailers_and_early_hints(self):
        def script(app, number, _):
            app.head(number, [(":status", "103"), ("link", "</a>")])
            app.answer(number, trailers=[("x-sum", "9")])
        self.app(script)
        response = self.h2_request()
        self.assertEqual((response.informational, response.trailers), ([103], [("x-sum", "9")]))
        with self.client() as client:
            response = client.request(get("/"))
            self.assertEqual((response.informational, response.body), ([103], b"ok\n"))

    def test_managed_names_cannot_come_from_a_client_in_trailers(self):
        self.app(lambda app, number, stream: app.answer(number))
        with self.h2() as h2:
            h2.request("/", "POST", body=b"x", trailers=[("x-ok", "1"), ("x-forwarded-for", "6.6.6.6"), ("x_real_ip", "6.6.6.6")])
        self.assertEqual(self.apps[0].streams[1].trailers, [("x-ok", "1")])

    MALFORMED = {
        "no :status": [("x", "y")],
        "two :status": [(":status", "200"), (":status", "200")],
        ":status not a number": [(":status", "abc")],
        ":status of two digits": [(":status", "20")],
        "request pseudo-header": [(":status", "200"), (":path", "/")],
        "upper-case name": [(":status", "200"), ("X-Upper", "1")],
        "connection": [(":status", "200"), ("connection", "close")],
        "transfer-encoding": [(":status", "200"), ("transfer-encoding", "chunked")],
        "value with CR LF": [(":status", "200"), ("x", "y\r\nSet-Cookie: evil=1")],
        "value with NUL": [(":status", "200"), ("x", "y\0")],
        "two content-lengths": [(":status", "200"), ("content-length", "1"), ("content-length", "2")],
        "content-length list": [(":status", "200"), ("content-length", "1, 1")],
        "101": [(":status", "101")],
        "1000 fields": [(":status", "200"), *((f"x{i}", "y") for i in range(1000))],
    }

    def test_malformed_heads_become_502(self):
        for name, fields in self.MALFORMED.items():
            with self.subTest(name):
                self.app(lambda app, number, _, f=fields: app.raw_head(number, f, end=True))
                response = self.fetch("/")
                self.assertEqual(response.status, 502)
                self.assertIn(response.error, ("upstream-malformed", "upstream-reset", "upstream-header-too-large",
                                               "upstream-protocol-mismatch", "upstream-closed"))
                self.assertNotIn("set-cookie", [n.lower() for n, _ in response.headers])

    def cut(self, how):
        def script(app, number, _):
            app.head(number, [(":status", "200"), ("content-length", "100")])
            app.data(number, b"half")
            how(app, number)
        self.app(script)
        with self.client() as client:
            client.send(get("/"))
            with self.assertRaises(Closed):
                response = client.read_response()
                if response.status == 502 and response.error:
                    raise Closed
        response = self.h2_request()
        self.assertTrue(response.status == 502 or response.reset is not None and not response.ended)

    def test_half_an_answer_never_looks_whole(self):
        self.cut(lambda app, number: app.conn.send(frame(RST_STREAM, 0, number, struct.pack(">I", INTERNAL_ERROR))))
        self.cut(lambda app, number: app.conn.close())
        self.cut(lambda app, number: app.conn.abort())
        self.cut(lambda app, number: app.data(number, b"", end=True))  # shorter than its content-length
        self.cut(lambda app, number: app.data(number, b"x" * 200, end=True))  # longer

    def test_reset_before_an_answer(self):
        self.app(lambda app, number, _: app.conn.send(frame(RST_STREAM, 0, number, struct.pack(">I", INTERNAL_ERROR))))
        self.assertEqual(self.fetch("/", method="POST", body=b"x").error, "upstream-reset")

    def test_an_app_that_goes_away_with_goaway(self):
        """Requests after a GOAWAY come on a new connection; the one before it is finished."""
        def script(app, number, _):
            app.conn.send(frame(GOAWAY, 0, 0, struct.pack(">II", number, 0)))
            app.answer(number)
        self.app(script)
        for _ in range(3):
            self.assertEqual(self.fetch("/").status, 200)
        self.assertEqual(len(self.apps), 3)

    def test_a_refused_get_is_repeated_once(self):
        """REFUSED_STREAM says that the app has not seen it (RFC 9113 §8.7)."""
        refused = []

        def script(app, number, _):
            if refused:
                return app.answer(number)
            refused.append(number)
            return app.conn.send(frame(RST_STREAM, 0, number, struct.pack(">I", REFUSED_STREAM)))
        self.app(script)
        self.assertIn(self.fetch("/").status, (200, 502))
        self.assertEqual(self.fetch("/").status, 200)

    def test_frames_that_a_server_may_not_send_end_the_connection(self):
        pushed = struct.pack(">I", 2) + block([(":method", "GET"), (":scheme", "https"), (":path", "/p"), (":authority", "app.test")])
        for octets in (frame(PUSH_PROMISE, END_HEADERS, 1, pushed), frame(HEADERS, END_HEADERS, 2, block([(":status", "200")])),
                       frame(DATA, 0, 0, b"x"), b"HTTP/1.1 400 Bad Request\r\n\r\n"):
            with self.subTest(octets[:20]):
                self.app(lambda app, number, _, o=octets: app.conn.send(o))
                self.assertEqual(self.fetch("/").status, 502)
                self.app(lambda app, number, _: app.answer(number))
                self.assertEqual(self.fetch("/").status, 200)

    def test_a_run_of_informational_answers(self):
        def script(app, number, _):
            for _ in range(200):
                app.head(number, [(":status", "103"), ("link", "</a>")])
            app.answer(number)
        self.app(script)
        self.assertEqual(self.fetch("/").error, "upstream-informational-flood")

    def test_an_app_that_does_not_speak_http_2(self):
        def handler(conn):
            conn.fill()
            conn.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.origin.drop_connections()
        self.origin.handler = handler
        response = self.fetch("/")
        self.assertEqual(response.status, 502)
        self.assertIn(response.error, ("upstream-protocol-mismatch", "upstream-malformed", "upstream-closed", "upstream-reset"))

    def test_a_slow_app_is_504_and_its_stream_is_cancelled(self):
        self.app(lambda app, number, _: None)
        self.assertEqual(self.fetch("/").error, "upstream-timeout")
        self.origin.wait_for(lambda: self.apps[0].streams[1].reset == CANCEL or self.apps[0].conn.gone.is_set())

    def test_a_client_that_goes_away_cancels_its_stream_only(self):
        heads = []
        self.app(lambda app, number, stream: heads.append(number) or (stream.fields[":path"] == "/ok" and app.answer(number)), early=True)
        with self.h2() as h2:
            stream = h2.open(h2.fields("/held", "POST"), end=False)
            self.origin.wait_for(lambda: heads)
            h2.send(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))
            self.origin.wait_for(lambda: self.apps[0].streams[1].reset is not None)
            self.assertEqual(h2.request("/ok").status, 200)
        self.assertEqual(len(self.apps), 1)

    def test_a_stalled_upload_does_not_hold_its_siblings(self):
        """The app gives one stream no window: the other streams of the shared connection go on."""
        def handler(conn):
            app = H2App(conn, lambda app, number, stream: stream.fields[":path"] == "/ok" and app.answer(number), window=1000)
            self.apps.append(app)
            real = conn.send
            conn.send = lambda data: real(b"" if data[3:4] == bytes([WINDOW_UPDATE]) else data)
            app.serve()
        self.apps = []
        self.origin.drop_connections()
        self.origin.handler = handler
        with self.h2() as h2:
            stalled = h2.open(h2.fields("/stalled", "POST"), end=False)
            h2.data(stalled, b"x" * 60_000)
            for _ in range(5):
                self.assertEqual(h2.request("/ok").status, 200)
            self.assertIsNone(h2.responses[stalled].status)


if __name__ == "__main__":
    unittest.main()
