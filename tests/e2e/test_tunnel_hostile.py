"""An agent that wants to harm: its edge, another token's tunnel, or the visitors. It has a valid token, as anybody may who
was given one; after the 101 it sends what it likes."""
import os
import struct

from agent_peer import Refused
from clients import Closed
from edge_world import *
from h2client import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, PUSH_PROMISE, RST_STREAM,
                      SETTINGS, WINDOW_UPDATE, block, frame, settings)
from lintel_test import SANITIZED

as_root()

MIB = 1 << 20
MAY_GROW_KIB = (96 if SANITIZED else 24) * 1024


class HostileAgents(EdgeTestCase):
    edge_options = {"hold": "1s", "limits": {"shares": 500, "agents": 500}}  # shares that are held for their agents count

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.origin = cls.world.origin()
        cls.world.share("5000", "--name", "app").wait_for(f"https://app.{DOMAIN}")
        cls.hostile_token = cls.world.token("hostile")
        cls.count = 0

    def setUp(self):
        for _ in range(20):  # pools and arenas are as large as they get
            self.fetch("app")
        self.rss_before = self.world.edge.rss_kib()

    def hostile(self, **options):
        HostileAgents.count += 1
        agent = self.world.raw_agent(self.hostile_token, f"evil-{HostileAgents.count}", **options)
        self.addCleanup(agent.close)
        return agent

    def visit(self, agent, **options):
        """A visitor's request to the hostile share, sent and not waited for."""
        client = self.client(agent.welcome["name"], **options)
        self.addCleanup(client.close)
        client.send(get("/", self.host(agent.welcome["name"])))
        return client

    def assert_unharmed(self):
        """The other tunnel answers, and the edge has not grown."""
        for _ in range(10):
            response = self.fetch("app")
            self.assertEqual((response.status, response.body), (200, b"ok\n"))
        if not SANITIZED:
            self.assertLess(self.world.edge.rss_kib() - self.rss_before, MAY_GROW_KIB)
        self.assertIsNone(self.world.edge.process.poll())

    def assert_cut(self, agent):
        self.assertTrue(agent.wait_closed(40), "the hostile connection is still there")

    # --- wrong protocol
    def test_wrong_protocols_after_the_101(self):
        for octets in (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 10, os.urandom(65536),
                       PREFACE + settings(), b"\x16\x03\x01\x02\x00\x01\x00" + bytes(600), bytes(20_000)):
            with self.subTest(octets=octets[:16]):
                agent = self.hostile(start=False)
                agent.send(octets)
                self.assert_cut(agent)
        self.assert_unharmed()

    def test_streams_that_only_the_edge_may_open(self):
        for octets in (frame(HEADERS, END_HEADERS | END_STREAM, 2, block([(":status", "200")])),
                       frame(HEADERS, END_HEADERS | END_STREAM, 1001, block([(":status", "200")])),
                       frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + block([(":method", "GET")])),
                       frame(DATA, 0, 7, b"x"), frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0)),
                       frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF)) * 2, settings((4, 0xFFFFFFFF)), settings((5, 1))):
            with self.subTest(octets=octets[:16]):
                agent = self.hostile()
                agent.send(octets)
                self.assert_cut(agent)
        self.assert_unharmed()

    # --- floods
    def flood(self, octets, times, reads=False, **options):
        """The agent's own end (cut) is fine, and so is that the edge takes it all: it costs neither memory nor others."""
        agent = self.hostile(**options)
        agent.raw.sock.settimeout(2)
        try:
            for _ in range(times):
                if not agent.send(octets):
                    break
        except (TimeoutError, OSError):
            pass  # the edge does not read any more
        self.assert_unharmed()
        agent.close()

    def test_floods_of_small_frames(self):
        for octets in (settings((3, 100)), frame(PING, 0, 0, b"12345678"), frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)),
                       frame(SETTINGS, ACK), frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 1)), frame(250, 0, 0, b"unknown")):
            with self.subTest(kind=octets[3]):
                self.flood(octets * 200, 100)

    def test_an_agent_that_resets_every_request(self):
        agent = self.hostile()

        def reset_all():
            try:
                while (got := agent.read_frame()) is not None:
                    if got.kind == HEADERS:
                        agent.send(frame(RST_STREAM, 0, got.stream, struct.pack(">I", 7)))  # REFUSED_STREAM: try again
            except (OSError, ValueError):
                pass
        threading.Thread(target=reset_all, daemon=True).start()
        for _ in range(20):
            response = self.fetch(agent.welcome["name"])
            self.assertGreaterEqual(response.status, 500)
        self.assertLess(len([got for got in agent.frames if got.kind == HEADERS]), 200, "it was tried again without end")
        self.assert_unharmed()

    # --- giant heads
    def test_a_head_without_end(self):
        agent = self.hostile()
        visitor = self.visit(agent)
        request = agent.wait_request()
        agent.raw.sock.settimeout(5)
        part = block([("x-" + "a" * 100, "b" * 8000)])
        try:
            agent.send(frame(HEADERS, 0, request.stream, block([(":status", "200")]) + part))
            for _ in range(10_000):
                if not agent.send(frame(CONTINUATION, 0, request.stream, part)):
                    break
            else:
                self.fail("80 MB of one head were taken")
        except (TimeoutError, OSError):
            pass
        # The connection is cut, and the request then waits for an agent that may come back.
        self.assertIn(visitor.read_response().status, (502, 503))
        self.assert_unharmed()

    def test_a_head_that_grows_when_it_is_decoded(self):
        """One field in the dynamic table, named thousands of times: 4 KiB on the wire are 16 MB."""
        agent = self.hostile()
        visitor = self.visit(agent)
        request = agent.wait_request()
        value = b"v" * 4000
        entry = b"\x40\x01x\x7f" + bytes([(4000 - 127) % 128 + 128, (4000 - 127) // 128]) + value
        head = b"\x88" + entry + b"\xbe" * 4000
        agent.send(frame(HEADERS, END_HEADERS | END_STREAM, request.stream, head))
        self.assertIn(visitor.read_response().status, (502, 503))
        self.assert_unharmed()

    # --- windows
    def test_a_window_of_nothing(self):
        """The visitor's upload waits at the visitor, not in the edge's memory."""
        agent = self.hostile(window=0)
        name = agent.welcome["name"]
        agent.serve(lambda request: (200, [], b""))
        clients = []
        for _ in range(4):
            client = self.client(name, timeout=0.5)
            self.addCleanup(client.close)
            clients.append(client)
            client.send(get("/", self.host(name), [("Content-Length", str(64 * MIB))], "POST"))
            try:
                for _ in range(64):
                    client.send(bytes(MIB))
            except (TimeoutError, OSError):
                pass
        self.assert_unharmed()

    def test_more_than_the_window(self):
        agent = self.hostile()
        self.visit(agent, receive_buffer=4096)
        request = agent.wait_request()
        agent.send(frame(HEADERS, END_HEADERS, request.stream, block([(":status", "200")])))
        agent.raw.sock.settimeout(5)
        try:
            for _ in range(64 * 256):  # 256 MiB; the visitor reads nothing
                if not agent.send(frame(DATA, 0, request.stream, bytes(16384))):
                    break
            else:
                self.fail("256 MiB were taken for a visitor that reads nothing")
        except (TimeoutError, OSError):
            pass
        self.assert_unharmed()

    def test_an_agent_that_never_reads(self):
        agent = self.hostile(receive_buffer=4096)
        name, visitors = agent.welcome["name"], []
        for number in range(40):
            client = self.client(name)
            self.addCleanup(client.close)
            client.send(get("/", self.host(name), [(f"X-{i}", "y" * 4000) for i in range(7)]))
            visitors.append(client)
        self.assert_unharmed()

    # --- visitors' connections
    def test_an_answer_cannot_break_out_of_its_place(self):
        """The visitor's HTTP/1 connection must not show a second answer that the agent made up."""
        for fields in ([("x-a", "b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nEVIL!")], [("x-a\r\nx-b", "c")],
                       [("transfer-encoding", "chunked")], [("content-length", "3"), ("content-length", "5")],
                       [("content-length", "-1")], [("connection", "close")], [("x-a", "b\0c")], [("X-Upper", "a")],
                       [(":status", "200")], [("upgrade", "evil")]):
            with self.subTest(fields=fields):
                agent = self.hostile()
                name = agent.welcome["name"]
                visitor = self.visit(agent)
                request = agent.wait_request()
                agent.send(frame(HEADERS, END_HEADERS, request.stream, block([(":status", "200"), *fields]))
                           + frame(DATA, END_STREAM, request.stream, b"body"))
                response = visitor.read_response()
                self.assertEqual(response.status, 502)
                self.assertNotIn(b"EVIL", response.body)
                visitor.close()
                agent.close()
        self.assert_unharmed()

    def test_a_length_that_is_a_lie_ends_the_answer(self):
        agent = self.hostile()
        visitor = self.visit(agent)
        request = agent.wait_request()
        agent.send(frame(HEADERS, END_HEADERS, request.stream, block([(":status", "200"), ("content-length", "3")]))
                   + frame(DATA, END_STREAM, request.stream, b"abcHTTP/1.1 200 OK\r\n\r\nEVIL"))
        try:
            response = visitor.read_response()
            self.assertTrue(response.status == 502 or response.body == b"abc", response.body)
        except Closed:
            pass
        self.assertNotIn(b"EVIL", visitor.buffer)
        self.assert_unharmed()

    def test_cookies_for_the_whole_edge_are_narrowed(self):
        """Another share's cookie jar: a Domain above the share's own name would reach every tenant."""
        agent = self.hostile()
        name = agent.welcome["name"]
        cookies = [f"a=1; Domain={DOMAIN}", f"b=2; domain=.{DOMAIN}; Path=/", "c=3; Domain=test", f"d=4; Domain={self.host(name)}",
                   f"e=5; Domain={self.host('app')}", f"f=6; Domain=x; Domain={DOMAIN}", "g=7; DOMAIN = .Example.Test"]
        agent.serve(lambda request: (200, [("set-cookie", cookie) for cookie in cookies], b"x"))
        response = self.fetch(name)
        self.assertEqual(response.status, 200)
        for cookie in response.all("set-cookie"):
            domains = re.findall(r"(?i)domain\s*=\s*([^;]*)", cookie)
            for domain in domains:
                self.assertEqual(domain.strip().lstrip(".").lower(), self.host(name), cookie)
        agent.close()

    # --- places
    def test_an_agent_may_have_only_so_many_connections(self):
        first = self.hostile()
        hello = {"agent": first.hello["agent"], "session": first.welcome["session"], "secret": first.welcome["secret"]}
        opened, refused = [], None
        for _ in range(20):
            try:
                opened.append(self.world.raw_agent(self.hostile_token, first.welcome["name"], hello=hello))
            except Refused as error:
                refused = error
                break
        for agent in opened:
            self.addCleanup(agent.close)
        self.assertIsNotNone(refused, "21 connections of one agent")
        self.assertEqual(refused.error, "share-limit")
        self.assert_unharmed()

    def test_strange_hellos(self):
        import base64
        for hello in (b"", b"{", b"[]", b"[" * 5000, b'{"version":2}', b'{"version":1,"kind":"magic"}', b'{"version":1,"name":7}',
                      b'{"version":1,"agent":"' + b"a" * 5000 + b'"}', b"\xff\xfe" * 100, b'{"version":1e999}'):
            with self.subTest(hello=hello[:24]), self.world.net.laptop.entered(), \
                    RawClient(443, host=EDGE, tls=self.world.context, sni=DOMAIN) as client:
                encoded = base64.urlsafe_b64encode(hello).decode().rstrip("=")
                response = client.request(get("/.well-known/lintel/agent", DOMAIN, [
                    ("Connection", "Upgrade"), ("Upgrade", "lintel-tunnel/1"), ("Authorization", f"Bearer {self.hostile_token}"),
                    ("Lintel-Hello", encoded)]))
                self.assertEqual((response.status, response.error), (400, "agent-protocol"))
        self.assert_unharmed()


if __name__ == "__main__":
    unittest.main()
