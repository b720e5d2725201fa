"""What people share, seen from another network through an edge in a third one: pages, large uploads and downloads,
server-sent events, WebSockets, gRPC. Every client is a real one and verifies the edge's certificate."""
import asyncio
import hashlib
import json

import grpc
import websockets

from edge_world import *
from lintel_test import FULL
from shared_apps import BLOCK, MIB

LARGE_MIB = 1024 if FULL else 64

as_root()


class SharedApps(EdgeTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for kind, port, target in (("flask", 5000, "5000"), ("websocket", 5001, "5001"), ("grpc", 5002, "h2c://127.0.0.1:5002")):
            cls.world.app(kind, port)
            cls.world.share(target, "--name", kind, log=f"share-{kind}").wait_for(f"https://{kind}.{DOMAIN}")

    def curl(self, *arguments, name="flask", path="/", input_file=None):
        done = subprocess.run(["curl", "--silent", "--show-error", "--fail", "--max-time", "300", "--cacert", self.world.ca.cert,
                               "--resolve", f"{self.host(name)}:443:{EDGE}", *arguments, f"https://{self.host(name)}{path}"],
                              stdin=input_file, capture_output=True, timeout=320)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout

    def test_a_page_knows_its_public_address_and_its_visitor(self):
        for version in ("--http1.1", "--http2"):
            page = self.curl(version).decode()
            self.assertIn("hello from the laptop", page)
            fields = dict(json.loads(self.curl(version, path="/headers")))
            self.assertEqual(fields["X-Forwarded-For"], VISITOR)
            self.assertEqual(fields["X-Forwarded-Proto"], "https")
            self.assertEqual(fields["Host"], self.host("flask"))

    def test_a_redirect_to_http_is_repaired(self):
        response = self.fetch("flask", "/redirect")
        self.assertEqual((response.status, response.get("location")), (302, f"https://{self.host('flask')}/"))

    def test_search_engines_are_kept_out(self):
        self.assertIn("noindex", self.fetch("flask").get("x-robots-tag", ""))

    def test_a_large_upload_arrives_whole(self):
        digest = hashlib.sha256()
        path = self.world.folder / "upload"
        with open(path, "wb") as file:
            for _ in range(LARGE_MIB):
                digest.update(BLOCK)
                file.write(BLOCK)
        for version in ("--http1.1", "--http2"):
            got = json.loads(self.curl(version, "--header", "Expect:", "--data-binary", f"@{path}", "--header",
                                       "Content-Type: application/octet-stream", path="/upload"))
            self.assertEqual(got, {"size": LARGE_MIB * MIB, "sha256": digest.hexdigest()})
        path.unlink()

    def test_a_large_download_arrives_whole(self):
        digest = hashlib.sha256()
        for _ in range(LARGE_MIB):
            digest.update(BLOCK)
        path = self.world.folder / "download"
        for version in ("--http1.1", "--http2"):
            self.curl(version, "--output", str(path), path=f"/download/{LARGE_MIB}")
            with open(path, "rb") as file:
                self.assertEqual(hashlib.file_digest(file, "sha256").hexdigest(), digest.hexdigest())
        path.unlink()

    def test_each_event_arrives_before_the_next_is_sent(self):
        """Buffered anywhere, the second would never be sent: the app waits for the visitor's word."""
        with self.client("flask") as client:
            client.send(get("/events?count=10", self.host("flask"), [("Accept", "text/event-stream")]))
            head = client.read_head()
            self.assertEqual((head.status, head.get("content-type").split(";")[0]), (200, "text/event-stream"))
            for number in range(10):
                client.read_until(b"data: %d\n\n" % number)
                self.assertEqual(self.fetch("flask", "/seen", method="POST", body=b"").status, 204)

    def test_websocket_messages_of_all_sizes(self):
        context = self.world.context

        async def talk():
            with socket.create_connection((EDGE, 443), timeout=10) as raw:
                async with websockets.connect(f"wss://{self.host('websocket')}/", sock=raw, ssl=context, max_size=None,
                                              server_hostname=self.host("websocket")) as connection:
                    for message in ("hello", b"", "x" * 200, b"y" * 70_000, b"z" * (4 * MIB)):
                        await connection.send(message)
                        self.assertEqual(await asyncio.wait_for(connection.recv(), 30), message)
                    pong = await connection.ping()
                    await asyncio.wait_for(pong, 30)
        asyncio.run(talk())

    def channel(self):
        credentials = grpc.ssl_channel_credentials(pathlib.Path(self.world.ca.cert).read_bytes())
        name = self.host("grpc")
        channel = grpc.secure_channel(f"{EDGE}:443", credentials, options=[
            ("grpc.ssl_target_name_override", name), ("grpc.default_authority", name), ("grpc.enable_http_proxy", 0),
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
        self.addCleanup(channel.close)
        return channel

    def test_grpc_calls_with_status_and_trailers(self):
        channel = self.channel()
        for size in (0, 1000, 4 * MIB):
            self.assertEqual(channel.unary_unary("/test.Echo/Unary")(b"x" * size, timeout=30), b"x" * size)
        with self.assertRaises(grpc.RpcError) as raised:
            channel.unary_unary("/test.Echo/Failing")(b"", timeout=30)
        self.assertEqual((raised.exception.code(), raised.exception.details()),
                         (grpc.StatusCode.FAILED_PRECONDITION, "not now: grüß"))
        self.assertIn(("x-detail", "why"), [tuple(pair) for pair in raised.exception.trailing_metadata()])

    def test_grpc_both_ways_message_by_message(self):
        turn = threading.Semaphore(1)

        def messages():
            for i in range(20):
                turn.acquire(timeout=20)
                yield b"%d," % i
        got = []
        for message in self.channel().stream_stream("/test.Echo/Both")(messages(), timeout=60):
            got.append(message)
            turn.release()
        self.assertEqual(got, [b"%d,%d," % (i, i) for i in range(20)])


if __name__ == "__main__":
    unittest.main()
