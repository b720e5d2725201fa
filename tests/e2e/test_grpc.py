"""gRPC, unary and streaming, over TLS and HTTP/2 to an h2c app."""
from concurrent import futures

import grpc

from lintel_test import *

MIB = 1 << 20


class Grpc(LintelTestCase):
    """A real gRPC server (h2c) and client (TLS, HTTP/2) with handlers on raw octets."""

    @classmethod
    def configure(cls):
        cls.cancelled = threading.Event()

        def client_stream(requests, _):
            return b"%d" % sum(len(request) for request in requests)

        def forever(_, context):
            context.add_callback(cls.cancelled.set)
            yield b"started"
            while context.is_active() and not cls.cancelled.wait(0.05):
                pass

        def failing(_, context):
            context.set_trailing_metadata((("x-detail", "why"),))
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: grüß")
        handlers = grpc.method_handlers_generic_handler("test.Echo", {
            "Unary": grpc.unary_unary_rpc_method_handler(lambda request, _: request),
            "ServerStream": grpc.unary_stream_rpc_method_handler(lambda request, _: iter([request] * 100)),
            "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
            "Both": grpc.stream_stream_rpc_method_handler(lambda requests, _: (request * 2 for request in requests)),
            "Forever": grpc.unary_stream_rpc_method_handler(forever),
            "Failing": grpc.unary_unary_rpc_method_handler(failing)})
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        cls.server = grpc.server(futures.ThreadPoolExecutor(8), handlers=(handlers,), options=options)
        port = cls.server.add_insecure_port("127.0.0.1:0")
        cls.server.start()
        cls.addClassCleanup(lambda: cls.server.stop(None).wait(5))
        return [cls.site(to=[f"h2c://127.0.0.1:{port}"])], {}

    def setUp(self):
        super().setUp()
        credentials = grpc.ssl_channel_credentials(pathlib.Path(self.ca.cert).read_bytes())
        self.channel = grpc.secure_channel(f"127.0.0.1:{self.lintel.https}", credentials, options=[
            ("grpc.ssl_target_name_override", "app.test"), ("grpc.default_authority", "app.test"),
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.enable_http_proxy", 0)])
        self.addCleanup(self.channel.close)

    def test_unary(self):
        call = self.channel.unary_unary("/test.Echo/Unary")
        for size in (0, 1, 1000, 4 * MIB):
            self.assertEqual(call(b"x" * size, timeout=20), b"x" * size)

    def test_server_streaming(self):
        call = self.channel.unary_stream("/test.Echo/ServerStream")
        self.assertEqual(list(call(b"y" * 50_000, timeout=20)), [b"y" * 50_000] * 100)

    def test_client_streaming(self):
        call = self.channel.stream_unary("/test.Echo/ClientStream")
        self.assertEqual(call(iter([b"z" * 50_000] * 100), timeout=20), b"5000000")

    def test_both_ways_message_by_message(self):
        """Each message is sent only after the answer to the one before has come: nothing may wait in a buffer."""
        turn = threading.Semaphore(1)

        def messages():
            for i in range(50):
                turn.acquire(timeout=10)
                yield b"%d," % i
        for i, message in enumerate(self.channel.stream_stream("/test.Echo/Both")(messages(), timeout=30)):
            self.assertEqual(message, b"%d,%d," % (i, i))
            turn.release()

    def test_status_and_trailers(self):
        with self.assertRaises(grpc.RpcError) as raised:
            self.channel.unary_unary("/test.Echo/Failing")(b"", timeout=10)
        self.assertEqual((raised.exception.code(), raised.exception.details()), (grpc.StatusCode.FAILED_PRECONDITION, "not now: grüß"))
        self.assertIn(("x-detail", "why"), [tuple(pair) for pair in raised.exception.trailing_metadata()])
        with self.assertRaises(grpc.RpcError) as raised:
            self.channel.unary_unary("/test.Echo/Missing")(b"", timeout=10)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_cancelling_reaches_the_app(self):
        call = self.channel.unary_stream("/test.Echo/Forever")(b"", timeout=30)
        self.assertEqual(next(call), b"started")
        call.cancel()
        self.assertTrue(self.cancelled.wait(10))

    def test_many_calls_at_once(self):
        call = self.channel.unary_unary("/test.Echo/Unary")
        pending = [call.future(b"%d" % i, timeout=30) for i in range(500)]
        self.assertEqual([future.result() for future in pending], [b"%d" % i for i in range(500)])


if __name__ == "__main__":
    unittest.main()
