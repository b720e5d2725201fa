"""WebSockets over HTTP/1.1 and over HTTP/2 (RFC 8441), to an HTTP/1.1 app."""
import asyncio

import websockets
import wsproto.connection
import wsproto.events

from lintel_test import *

MIB = 1 << 20


class WebSockets(LintelTestCase):
    """Echo by the `websockets` package, a real server; the HTTP/2 form by frames."""

    @classmethod
    def configure(cls):
        cls.requests = []
        cls.app_closed = threading.Event()
        ready = threading.Event()

        async def echo(socket_):
            cls.requests.append(socket_.request_headers)
            try:
                async for message in socket_:
                    await socket_.send(message)
            finally:
                cls.app_closed.set()

        async def serve():
            async with websockets.serve(echo, "127.0.0.1", 0, max_size=None, subprotocols=["chat"]) as server:
                cls.app_port = server.sockets[0].getsockname()[1]
                cls.loop, cls.stop_app = asyncio.get_running_loop(), asyncio.Event()
                ready.set()
                await cls.stop_app.wait()
        threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
        ready.wait(10)
        cls.addClassCleanup(lambda: cls.loop.call_soon_threadsafe(cls.stop_app.set))
        return [cls.site(to=[f"http://127.0.0.1:{cls.app_port}"]), cls.site(hosts=["www.test"])], {}

    def setUp(self):
        super().setUp()
        self.requests.clear()
        self.app_closed.clear()

    def test_real_client_over_http_1(self):
        async def talk():
            url = f"wss://app.test:{self.lintel.https}/chat?x=1"
            context = ssl.create_default_context(cafile=self.ca.cert)
            async with websockets.connect(url, ssl=context, host="127.0.0.1", max_size=None, subprotocols=["chat"]) as ws:
                self.assertEqual(ws.subprotocol, "chat")
                for size in (0, 1, 125, 126, 65535, 65536, 3 * MIB):
                    await ws.send(b"x" * size)
                    self.assertEqual(len(await ws.recv()), size)
                await ws.send("grüß")
                self.assertEqual(await ws.recv(), "grüß")
                await (await ws.ping())
        asyncio.run(talk())
        self.assertTrue(self.app_closed.wait(10))
        self.assertEqual(self.requests[0]["X-Forwarded-Proto"], "https", "never wss: Express and Plug do not read that as secure")
        self.assertEqual(self.requests[0]["Connection"].lower(), "upgrade")

    def open_h2(self, h2, **more):
        fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/chat"),
                  (":authority", "app.test"), ("sec-websocket-version", "13"), ("origin", "https://app.test"), *more.items()]
        return h2.open(fields, end=False)

    def test_over_http_2(self):
        """RFC 8441, to an HTTP/1.1 app; requests beside it on the same connection go on."""
        with self.h2() as h2:
            self.assertEqual(h2.peer_settings.get(8), 1, "SETTINGS_ENABLE_CONNECT_PROTOCOL")
            stream = self.open_h2(h2)
            response = h2.responses[stream]
            h2.until(lambda: response.status)
            self.assertEqual(response.status, 200)
            self.assertIsNone(response.get("sec-websocket-accept"))
            peer = wsproto.connection.Connection(wsproto.connection.ConnectionType.CLIENT)
            seen = 0
            for size in (1, 126, 70000, 300_000):
                h2.data(stream, peer.send(wsproto.events.BytesMessage(data=b"x" * size)))
                got = 0
                while got < size:
                    h2.until(lambda: len(response.body) > seen)
                    peer.receive_data(bytes(response.body[seen:]))
                    seen = len(response.body)
                    got += sum(len(e.data) for e in peer.events() if isinstance(e, wsproto.events.BytesMessage))
                self.assertEqual(got, size)
            self.assertNotEqual(h2.request("/", authority="www.test").status, None)
            h2.data(stream, peer.send(wsproto.events.CloseConnection(code=1000)))
            self.assertTrue(h2.wait(stream).ended, "the app's close ends the stream")
        self.assertTrue(self.app_closed.wait(10))
        request = self.requests[0]
        self.assertEqual((request["Upgrade"], request["Sec-WebSocket-Version"], request["X-Forwarded-Proto"]), ("websocket", "13", "https"))

    def test_a_client_that_goes_away_closes_the_apps_side(self):
        with self.h2() as h2:
            stream = self.open_h2(h2)
            h2.until(lambda: h2.responses[stream].status)
            h2.send(frame(3, 0, stream, (8).to_bytes(4, "big")))
            self.assertTrue(self.app_closed.wait(10), "RST_STREAM")
        self.app_closed.clear()
        with self.client() as client:
            client.send(self.upgrade())
            self.assertEqual(client.read_head().status, 101)
        self.assertTrue(self.app_closed.wait(10), "close")

    @staticmethod
    def upgrade(key="dGhlIHNhbXBsZSBub25jZQ==", host="app.test"):
        return get("/", host=host, headers=[("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                                            ("Sec-WebSocket-Key", key)])

    def test_frames_right_behind_the_handshake_are_not_lost(self):
        peer = wsproto.connection.Connection(wsproto.connection.ConnectionType.CLIENT)
        with self.client() as client:
            client.send(self.upgrade() + peer.send(wsproto.events.TextMessage(data="early")))
            response = client.read_head()
            self.assertEqual((response.status, response.get("sec-websocket-accept")), (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
            peer.receive_data(client.read_exactly(2 + len("early")))
            self.assertEqual([e.data for e in peer.events()], ["early"])

    def test_an_app_that_refuses_the_upgrade_is_heard(self):
        self.origin.respond = lambda request: answer(403, b"no")
        with self.client(sni="www.test") as client:
            self.assertEqual(client.request(self.upgrade(host="www.test")).body, b"no")
            self.assertEqual(client.request(get("/", host="www.test")).status, 403)
        self.assertEqual(self.origin.requests[0].get("upgrade"), "websocket")
        self.origin.reset()
        with self.h2(sni="www.test") as h2:
            self.origin.respond = lambda request: answer(403, b"no")
            stream = h2.open([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/"),
                              (":authority", "www.test"), ("sec-websocket-version", "13")], end=False)
            self.assertEqual(h2.wait(stream).status, 403)

    def test_a_wrong_accept_key_is_not_an_upgrade(self):
        """An app that did not understand the handshake must not become a raw tunnel (WebSocket smuggling)."""
        def handler(conn):
            while conn.read_request() is not None:
                conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: bad\r\n\r\n")
        self.origin.drop_connections()
        self.origin.handler = handler
        with self.client(sni="www.test") as client:
            self.assertEqual(client.request(self.upgrade(host="www.test")).status, 502)

    def test_smuggling_by_a_failed_upgrade(self):
        """The app says 426 to a wrong version: what follows is a request of its own for Lintel, not raw octets for the app."""
        self.origin.respond = lambda request: answer(426 if request.get("upgrade") else 200, request.target)
        with self.client(sni="www.test") as client:
            client.send(self.upgrade(host="www.test").replace(b"Version: 13", b"Version: 777") + get("/second", host="www.test", headers=[("X-Forwarded-For", "6.6.6.6")]))
            self.assertIn(client.read_response().status, (400, 426))
            with contextlib.suppress(Closed):
                self.assertEqual(client.read_response().body, b"/second")
        self.assertNotIn(b"6.6.6.6", self.origin.seen())


if __name__ == "__main__":
    unittest.main()
