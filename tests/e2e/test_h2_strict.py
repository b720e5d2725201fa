"""HTTP/2 requests that break a rule (RFC 9113 §8) or that would become another request in HTTP/1 are refused, floods end
the connection within a budget, and nothing of either reaches the app."""
import struct

from h2client import (ACK, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR,
                      GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, RST_STREAM,
                      SETTINGS, WINDOW_UPDATE)
from lintel_test import *

M, S, P, A = (":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "app.test")
BASE = [M, S, P, A]


def without(name, *more):
    return [field for field in BASE if field[0] != name] + list(more)


# A stream error (RST_STREAM) or a 400 is right for each; the app never sees it. RFC 9113 §8.1.1, §8.2, §8.3.
MALFORMED = {
    "no :method": without(":method"),
    "no :scheme": without(":scheme"),
    "no :path": without(":path"),
    "no :authority and no host": without(":authority"),
    "empty :path": without(":path", (":path", "")),
    "empty :method": without(":method", (":method", "")),
    "empty :authority": without(":authority", (":authority", "")),
    ":path without a slash": without(":path", (":path", "admin")),
    ":path with a fragment": without(":path", (":path", "/a#b")),
    ":path with a space": without(":path", (":path", "/a HTTP/1.1")),
    ":path with CR LF": without(":path", (":path", "/ HTTP/1.1\r\nHost: app.test\r\n\r\nGET /smuggled")),
    ":path with NUL": without(":path", (":path", "/\0")),
    ":path in absolute-form": without(":path", (":path", "https://evil.test/")),
    ":path * with GET": without(":path", (":path", "*")),
    ":method with a space": without(":method", (":method", "GET / HTTP/1.1")),
    ":method with CR LF": without(":method", (":method", "GET /x HTTP/1.1\r\nX:")),
    ":authority with a path": without(":authority", (":authority", "app.test/admin")),
    ":authority with userinfo": without(":authority", (":authority", "user@app.test")),
    ":authority with CR LF": without(":authority", (":authority", "app.test\r\nX: y")),
    ":authority with a space": without(":authority", (":authority", "app.test evil")),
    ":authority list": without(":authority", (":authority", "app.test,evil.test")),
    ":scheme unknown": without(":scheme", (":scheme", "javascript")),
    ":scheme http on a TLS connection": without(":scheme", (":scheme", "http")),
    ":scheme with a URL in it": without(":scheme", (":scheme", "https://evil.test/?x=")),
    "two :method": [M, *BASE],
    "two :path": [*BASE, (":path", "/admin")],
    "two :authority": [*BASE, (":authority", "evil.test")],
    "two :scheme": [*BASE, S],
    ":status in a request": [*BASE, (":status", "200")],
    "unknown pseudo-header": [*BASE, (":evil", "1")],
    "pseudo-header after a field": [M, S, P, ("x", "y"), A],
    ":protocol without CONNECT": [*BASE, (":protocol", "websocket")],
    "plain CONNECT": [(":method", "CONNECT"), (":authority", "app.test:443")],
    "CONNECT with an unknown :protocol": [(":method", "CONNECT"), (":protocol", "connect-udp"), S, P, A],
    "upper-case name": [*BASE, ("X-Upper", "1")],
    "upper-case managed name": [*BASE, ("X-Forwarded-For", "6.6.6.6")],
    "empty name": [*BASE, ("", "x")],
    "name with a space": [*BASE, ("x y", "z")],
    "name with a colon": [*BASE, ("x:y", "z")],
    "name with CR LF": [*BASE, ("x\r\ny", "z")],
    "name with a control octet": [*BASE, ("x\x01", "z")],
    "name with a high octet": [*BASE, (b"x\xff", "z")],
    "value with CR LF": [*BASE, ("x", "y\r\nTransfer-Encoding: chunked")],
    "value with LF": [*BASE, ("x", "y\nz")],
    "value with CR": [*BASE, ("x", "y\rz")],
    "value with NUL": [*BASE, ("x", "y\0z")],
    "value with a control octet": [*BASE, ("x", "y\x0bz")],
    "connection": [*BASE, ("connection", "close")],
    "keep-alive": [*BASE, ("keep-alive", "timeout=5")],
    "proxy-connection": [*BASE, ("proxy-connection", "keep-alive")],
    "transfer-encoding": [*BASE, ("transfer-encoding", "chunked")],
    "upgrade": [*BASE, ("upgrade", "websocket")],
    "te other than trailers": [*BASE, ("te", "gzip")],
    "host that differs from :authority": [*BASE, ("host", "evil.test")],
    "two hosts": without(":authority", ("host", "app.test"), ("host", "evil.test")),
    "content-length list": [*BASE, ("content-length", "0, 0")],
    "content-length not a number": [*BASE, ("content-length", "x")],
    "content-length with a sign": [*BASE, ("content-length", "+0")],
    "two content-lengths": [*BASE, ("content-length", "0"), ("content-length", "1")],
    "content-length 5 and END_STREAM": [*BASE, ("content-length", "5")],
}
TOO_LARGE = {
    "300 fields": [*BASE, *((f"x-{i}", "y") for i in range(300))],
    "fields of 60 KiB": [*BASE, *((f"x-{i}", "y" * 6000) for i in range(10))],
}


class Mapping(LintelTestCase):
    @classmethod
    def configure(cls):
        return [cls.site(), cls.site(hosts=["evil.test"])], {}

    def refused(self, fields):
        with self.h2() as h2:
            payload = block(fields)
            stream = h2.next_stream
            h2.next_stream += 2
            h2.responses[stream] = H2Response()
            parts = [payload[i:i + 16000] for i in range(0, len(payload), 16000)]
            octets = frame(HEADERS, END_STREAM | (END_HEADERS if len(parts) == 1 else 0), stream, parts[0])
            for i, part in enumerate(parts[1:], 2):
                octets += frame(CONTINUATION, END_HEADERS if i == len(parts) else 0, stream, part)
            h2.send(octets)
            response = h2.responses[stream]
            h2.until(lambda: h2.goaway or response.reset is not None or response.ended)
            return response, h2.goaway

    def test_malformed_heads_are_refused_and_reach_nobody(self):
        for name, fields in MALFORMED.items():
            with self.subTest(name):
                response, goaway = self.refused(fields)
                if response.status is not None:
                    self.assertIn(response.status, (400, 421, 501), response.body[:200])
                    self.assertIsNotNone(response.error)
                else:
                    self.assertTrue(response.reset is not None or goaway)
        self.assert_only_canary_reached()

    def test_too_many_or_too_large_fields_are_431_or_a_closed_connection(self):
        for name, fields in TOO_LARGE.items():
            with self.subTest(name):
                response, goaway = self.refused(fields)
                self.assertTrue(response.status == 431 or goaway or response.reset is not None, response.status)
        self.assert_only_canary_reached()

    def test_a_refused_stream_leaves_its_siblings_alone(self):
        """One bad request of a browser tab must not break the page's other requests."""
        with self.h2() as h2:
            for name in ("upper-case name", "connection", "value with CR LF", ":authority with a path"):
                with self.subTest(name):
                    bad = h2.open(None, raw_block=block(MALFORMED[name]))
                    self.assertEqual(h2.request("/good").status, 200)
                    self.assertNotEqual(h2.wait(bad).status, 200)
        self.assertEqual({r.target for r in self.origin.requests}, {"/good"})

    def test_host_without_authority_and_equal_host_are_served(self):
        with self.h2() as h2:
            for fields in (without(":authority", ("host", "app.test")), [*BASE, ("host", "app.test")]):
                self.assertEqual(h2.wait(h2.open(fields)).status, 200)
        self.assertEqual([r.all("host") for r in self.origin.requests], [["app.test"], ["app.test"]])

    def body_case(self, length, octets, expect_whole):
        with self.h2() as h2:
            stream = h2.open([(":method", "POST"), S, P, A, ("content-length", str(length))], end=False)
            h2.data(stream, octets, end=True)
            response = h2.wait(stream)
            if expect_whole:
                self.assertEqual(response.status, 200)
            else:
                self.assertTrue(response.reset is not None or response.status == 400, response.status)

    def test_content_length_that_disagrees_with_data_never_completes_at_the_app(self):
        """Otherwise the rest of the body, or the next request, is read in the wrong place (h2.CL)."""
        for length, octets in ((5, b"hello, world"), (50, b"hello"), (10, b"GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n")):
            with self.subTest(length):
                whole = []
                self.origin.reset()
                self.origin.drop_connections()
                self.origin.respond = lambda request, w=whole: w.append(request.line) or answer()
                self.body_case(length, octets, False)
                self.assertEqual(self.fetch("/after").status, 200)
                self.assertEqual(whole, ["GET /after HTTP/1.1"])
                self.assertNotIn("/smuggled", [r.target for r in self.origin.requests])
        self.body_case(5, b"hello", True)

    def test_bodies_become_length_or_chunks_and_trailers_pass(self):
        self.origin.respond = lambda request: answer(
            200, chunked(request.body, trailers=[("X-Out", "2")]), [("Transfer-Encoding", "chunked")], length=False)
        with self.h2() as h2:
            response = h2.request("/", "POST", body=b"x" * 100_000, trailers=[("x-in", "1"), ("x-forwarded-for", "6.6.6.6")])
        self.assertEqual(len(response.body), 100_000)
        self.assertEqual(response.trailers, [("x-out", "2")])
        self.assertEqual([(n.lower(), v) for n, v in self.origin.requests[0].trailers], [("x-in", "1")])

    def test_pseudo_headers_in_trailers_are_refused(self):
        whole = []
        self.origin.respond = lambda request: whole.append(request) or answer()
        with self.h2() as h2:
            response = h2.request("/", "POST", body=b"x", trailers=[(":path", "/admin")])
            self.assertTrue(response.reset is not None or response.status == 400 or h2.goaway)
        self.fetch("/after")
        self.assertEqual([r.target for r in whole], ["/after"])

    def test_cookie_crumbs_become_one_cookie_line(self):
        """RFC 9113 §8.2.3: an HTTP/1 app would see only the first."""
        with self.h2() as h2:
            h2.request("/", headers=[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")])
        self.assertEqual(self.origin.requests[0].all("cookie"), ["a=1; b=2; c=3"])

    def test_answer_loses_connection_fields_and_keeps_its_length(self):
        self.origin.respond = lambda request: answer(200, b"hello", [
            ("Connection", "X-Private"), ("X-Private", "1"), ("Keep-Alive", "timeout=5"), ("X-Public", "Yes")])
        with self.h2() as h2:
            response = h2.request("/")
        self.assertEqual((response.body, response.get("content-length"), response.get("x-public")), (b"hello", "5", "Yes"))
        for name in ("connection", "keep-alive", "transfer-encoding", "x-private"):
            self.assertIsNone(response.get(name), name)

    def test_head_204_304_and_100_continue(self):
        self.origin.respond = lambda request: answer(200, b"", [("Content-Length", "99")], length=False)
        with self.h2() as h2:
            response = h2.request("/", "HEAD")
            self.assertEqual((response.status, response.get("content-length"), response.body), (200, "99", b""))
            for status in (204, 304):
                self.origin.respond = lambda request, s=status: answer(s, b"", length=False)
                self.assertEqual(h2.request("/").status, status)
            self.origin.respond = lambda request: answer(200, request.body)
            stream = h2.open(h2.fields("/", "POST", [("expect", "100-continue")]), end=False)
            h2.until(lambda: 100 in h2.responses[stream].informational)
            h2.data(stream, b"hello", end=True)
            self.assertEqual(h2.wait(stream).body, b"hello")

    def test_fifty_streams_are_answered_although_the_first_one_waits(self):
        release = threading.Event()
        self.origin.respond = lambda request: answer(200, request.target) if request.target != "/slow" or release.wait(10) else None
        with self.h2() as h2:
            slow = h2.open(h2.fields("/slow"))
            others = [h2.open(h2.fields(f"/{i}")) for i in range(50)]
            for i, stream in enumerate(others):
                self.assertEqual(h2.wait(stream).body, b"/%d" % i)
            release.set()
            self.assertEqual(h2.wait(slow).body, b"/slow")


class BrokenFrames(LintelTestCase):
    """Frames that break the connection's own rules: GOAWAY, and the connection ends."""

    CASES = {
        "DATA on stream 0": frame(DATA, 0, 0, b"x"),
        "HEADERS on stream 0": frame(HEADERS, END_HEADERS | END_STREAM, 0, block(BASE)),
        "HEADERS on an even stream": frame(HEADERS, END_HEADERS | END_STREAM, 2, block(BASE)),
        "CONTINUATION alone": frame(CONTINUATION, END_HEADERS, 1, block(BASE)),
        "PING between HEADERS and CONTINUATION": frame(HEADERS, END_STREAM, 1, block(BASE)) + frame(PING, 0, 0, b"x" * 8),
        "DATA on an idle stream": frame(DATA, END_STREAM, 1, b"x"),
        "RST_STREAM on an idle stream": frame(RST_STREAM, 0, 1, struct.pack(">I", CANCEL)),
        "PUSH_PROMISE from a client": frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + block(BASE)),
        "SETTINGS of 5 octets": frame(SETTINGS, 0, 0, b"x" * 5),
        "SETTINGS ACK with a payload": frame(SETTINGS, ACK, 0, b"x" * 6),
        "SETTINGS on a stream": frame(SETTINGS, 0, 1, b""),
        "SETTINGS with a window over 2^31-1": settings((4, 0x80000000)),
        "SETTINGS with a frame size of 1": settings((5, 1)),
        "SETTINGS with ENABLE_PUSH 2": settings((2, 2)),
        "PING of 7 octets": frame(PING, 0, 0, b"x" * 7),
        "WINDOW_UPDATE of 0 on the connection": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0)),
        "WINDOW_UPDATE beyond 2^31-1": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF)) * 2,
        "frame over SETTINGS_MAX_FRAME_SIZE": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00" * 20000),
        "padding longer than the payload": frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\xff" + block(BASE)),
        "HPACK index that does not exist": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\x7f"),
        "HPACK integer that does not end": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff" + b"\xff" * 40),
        "HPACK Huffman with a wrong end": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x81\x00\x81\x00"),
        "HPACK table size over the limit": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x3f\xe1\xff\x7f" + block(BASE)),
        "PRIORITY on stream 0": frame(PRIORITY, 0, 0, b"\0" * 5),
    }

    def test_connection_errors_end_the_connection(self):
        for name, octets in self.CASES.items():
            with self.subTest(name), self.h2() as h2:
                h2.send(octets)
                h2.read_to_end()
                self.assertTrue(h2.goaway is not None and h2.goaway.error != 0 or h2.goaway is None and h2.raw.closed)
        self.assert_only_canary_reached()

    def test_a_wrong_preface_ends_the_connection(self):
        with self.h2(handshake=False) as _:
            pass
        for octets in (b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", get("/"), PREFACE + frame(PING, 0, 0, b"x" * 8)):
            with self.subTest(octets[:30]), self.client(tls=tls_client_context(alpn=("h2",))) as client:
                client.send(octets)
                client.read_rest()
        self.assert_only_canary_reached()

    def test_frames_in_single_octets(self):
        with self.h2() as h2:
            stream = h2.next_stream
            h2.next_stream += 2
            h2.responses[stream] = H2Response()
            octets = frame(HEADERS, END_HEADERS, stream, block([(":method", "POST"), S, P, A])) + frame(DATA, END_STREAM, stream, b"hi")
            for i in range(len(octets)):
                h2.send(octets[i:i + 1])
            self.assertEqual(h2.wait(stream).status, 200)
        self.assertEqual(self.origin.requests[0].body, b"hi")


class Floods(LintelTestCase):
    """20,000 hostile frames on one connection cost at most 10 MiB and 0.5 s of CPU, an honest client beside them is
    served, and the app sees at most the reset budget."""

    FRAMES = 20_000

    @staticmethod
    def streams(count):
        return (1 + 2 * i for i in range(count))

    def flood(self, octets, settings_=(), app_budget=0, last_stream=None):
        self.assertEqual(self.fetch("/warm-up").status, 200)
        self.origin.reset()
        cpu, rss = self.lintel.cpu_seconds(), self.lintel.rss_kib()
        peak = rss
        honest = H2Client(self.lintel.https)
        self.addCleanup(honest.close)
        with self.h2(settings_=settings_, replenish=False) as h2:
            h2.raw.sock.settimeout(10)
            for start in range(0, len(octets), 65536):
                if not h2.send(octets[start:start + 65536]):
                    break
                peak = max(peak, self.lintel.rss_kib())
                self.assertEqual(honest.request("/honest").status, 200)
            # A flood ends the connection; refusing each stream for itself is as good where frames are few.
            h2.until(lambda: h2.raw.closed or last_stream in h2.responses and h2.responses[last_stream].ended)
            peak = max(peak, self.lintel.rss_kib())
            if h2.goaway:
                self.assertIn(h2.goaway.error, (ENHANCE_YOUR_CALM, PROTOCOL_ERROR, FRAME_SIZE_ERROR))
        if not SANITIZED:
            self.assertLessEqual(peak - rss, 10 * 1024, "KiB of memory")
        others = [r.target for r in self.origin.requests if r.target != "/honest"]
        self.assertLessEqual(len(others), app_budget, "requests that reached the app")
        used = self.lintel.cpu_seconds() - cpu
        if not SANITIZED:
            # The honest requests are in this figure too.
            self.assertLessEqual(used, 0.5 + 0.002 * len(self.origin.requests), "CPU seconds")

    def test_continuation_flood(self):
        """CVE-2024-27316 and relatives: a header block that never ends."""
        self.flood(frame(HEADERS, END_STREAM, 1, block(BASE)) + frame(CONTINUATION, 0, 1, block([("x", "y" * 50)])) * self.FRAMES)

    def test_empty_continuation_flood(self):
        self.flood(frame(HEADERS, END_STREAM, 1, block(BASE)) + frame(CONTINUATION, 0, 1) * self.FRAMES)

    def test_rapid_reset(self):
        """CVE-2023-44487: at most the reset budget reaches the app."""
        head = block(BASE[:2] + [(":path", "/flood"), A])
        self.flood(b"".join(frame(HEADERS, END_HEADERS | END_STREAM, s, head) + frame(RST_STREAM, 0, s, struct.pack(">I", CANCEL))
                            for s in self.streams(self.FRAMES // 2)), app_budget=130)

    def test_resets_that_the_server_is_provoked_to_send(self):
        """CVE-2025-8671 (MadeYouReset): the client breaks a rule on each stream after the request has started."""
        head = block(BASE[:2] + [(":path", "/flood"), A])
        self.flood(b"".join(frame(HEADERS, END_HEADERS | END_STREAM, s, head) + frame(WINDOW_UPDATE, 0, s, struct.pack(">I", 0))
                            for s in self.streams(self.FRAMES // 2)), app_budget=130)

    def test_malformed_head_flood(self):
        head = block(MALFORMED["upper-case name"])
        self.flood(b"".join(frame(HEADERS, END_HEADERS | END_STREAM, s, head) for s in self.streams(self.FRAMES)))

    def test_settings_flood(self):
        self.flood(settings((3, 100)) * self.FRAMES)

    def test_empty_settings_flood(self):
        self.flood(settings() * self.FRAMES)

    def test_ping_flood(self):
        self.flood(frame(PING, 0, 0, b"x" * 8) * self.FRAMES)

    def test_empty_data_flood(self):
        self.flood(frame(HEADERS, END_HEADERS, 1, block([(":method", "POST"), S, (":path", "/flood"), A]))
                   + frame(DATA, 0, 1) * self.FRAMES, app_budget=1)

    def test_priority_flood(self):
        self.flood(b"".join(frame(PRIORITY, 0, s, struct.pack(">IB", 0, 1)) for s in self.streams(self.FRAMES)))

    def test_window_update_flood(self):
        self.flood(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) * self.FRAMES)

    def test_hpack_bomb(self):
        """One 4 KiB entry in the table, then thousands of one-octet references to it in each block."""
        name = b"x"
        value = b"y" * 4000
        insert = b"\x40\x01" + name + b"\x7f" + bytes([(4000 - 127) % 128 + 128, (4000 - 127) // 128]) + value
        bombs = [frame(HEADERS, END_HEADERS | END_STREAM, 1, block(BASE) + insert)]
        bombs += [frame(HEADERS, END_HEADERS | END_STREAM, s, block(BASE) + b"\xbe" * 16000) for s in range(3, 103, 2)]
        self.flood(b"".join(bombs), app_budget=1)

    def test_thousands_of_fields(self):
        self.flood(b"".join(frame(HEADERS, END_HEADERS | END_STREAM, s, block(BASE) + literal("a", "") * 3000)
                            for s in self.streams(100)), last_stream=199)

    def test_zero_window_readers_do_not_hold_memory(self):
        """128 streams ask for a large answer and read nothing: what is held is bounded."""
        self.origin.record = False
        body = b"x" * 4_000_000
        self.origin.respond = lambda request: answer(200, body if request.target == "/large" else b"ok")
        rss = self.lintel.rss_kib()
        with self.h2(window=0, replenish=False) as h2:
            streams = [h2.open(h2.fields("/large")) for _ in range(100)]
            h2.until(lambda: all(h2.responses[s].status == 200 for s in streams))
            with self.h2() as honest:
                self.assertEqual(honest.request("/small").body, b"ok")
            if not SANITIZED:
                self.assertLessEqual(self.lintel.rss_kib() - rss, 12 * 1024)
        # The attacker leaves: the app's side is released.
        self.origin.wait_for(lambda: sum(not c.gone.is_set() for c in self.origin.connections if c.requests) <= 2,
                             "the app's connections to be released")


if __name__ == "__main__":
    unittest.main()
