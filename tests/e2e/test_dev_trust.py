"""`lintel dev --trust`: behind a proxy or tunnel agent that speaks for the client, and what strangers cannot do."""
import json
import socket
import ssl
import subprocess
import unittest

from dev_test import PATIENCE, Dev, Echo, listens
from lintel_test import LINTEL, wait_until


class Trust(unittest.TestCase):
    """The peer is 127.0.0.1 where the agent runs on this machine, and 127.0.0.2 stands for anybody else."""

    @classmethod
    def setUpClass(cls):
        cls.echo = Echo()
        cls.addClassCleanup(cls.echo.server_close)
        cls.addClassCleanup(cls.echo.shutdown)

    def dev(self, *options):
        dev = Dev(self, options=(*options, str(self.echo.server_address[1])))
        wait_until(lambda: dev.root.exists() and listens(dev.port), "lintel to listen", PATIENCE)
        return dev

    def ask(self, dev, *lines, tls=False, source="127.0.0.1", host=None):
        """One request from `source`; the status, and the app's header lines (or the location) as a dictionary."""
        connection = socket.create_connection(("127.0.0.1", dev.port), PATIENCE, (source, 0))
        if tls:
            context = ssl.create_default_context(cafile=str(dev.root))
            connection = context.wrap_socket(connection, server_hostname="localhost")
        with connection, connection.makefile("rb") as answer:
            request = ["GET / HTTP/1.1", f"Host: {host or f'localhost:{dev.port}'}", "Connection: close", *lines]
            connection.sendall("\r\n".join([*request, "", ""]).encode())
            status = int(answer.readline().split()[1])
            fields = dict(line.decode().rstrip("\r\n").lower().split(": ", 1) for line in iter(answer.readline, b"\r\n"))
            body = answer.read(int(fields.get("content-length", 0)))
        if status != 200:
            return status, fields
        return status, {name.lower(): value for name, value in json.loads(body)}

    def test_an_address_speaks_for_client_and_scheme(self):
        dev = self.dev("--trust", "127.0.0.1")
        status, seen = self.ask(dev, "X-Forwarded-For: 6.6.6.6, 203.0.113.9", "X-Forwarded-Proto: https",
                                "X-Forwarded-Host: evil.example")
        self.assertEqual(status, 200, "a plain connection of a proxy that ended TLS is not redirected")
        self.assertEqual(seen["x-forwarded-for"], "203.0.113.9")
        self.assertEqual(seen["x-real-ip"], "203.0.113.9")
        self.assertEqual(seen["x-forwarded-proto"], "https")
        self.assertEqual(seen["x-forwarded-host"], f"localhost:{dev.port}")
        self.assertEqual(seen["host"], f"localhost:{dev.port}")

    def test_everybody_else_is_believed_nothing(self):
        """Another process on this machine, or another machine with --host, cannot choose who it is."""
        dev = self.dev("--trust", "127.0.0.1")
        forged = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "CF-Connecting-IP: 203.0.113.9")
        status, fields = self.ask(dev, *forged, source="127.0.0.2")
        self.assertEqual((status, fields["location"]), (308, f"https://localhost:{dev.port}/"))
        status, seen = self.ask(dev, *forged, tls=True, source="127.0.0.2")
        self.assertEqual((status, seen["x-forwarded-for"], seen["x-real-ip"]), (200, "127.0.0.2", "127.0.0.2"))
        self.assertNotIn("cf-connecting-ip", seen)

    def test_without_it_nobody_is_believed(self):
        dev = self.dev()
        status, fields = self.ask(dev, "X-Forwarded-Proto: https")
        self.assertEqual(status, 308)
        _, seen = self.ask(dev, "X-Forwarded-For: 203.0.113.9", tls=True)
        self.assertEqual(seen["x-forwarded-for"], "127.0.0.1")

    def test_a_preset_with_its_peers(self):
        """ngrok's agent on this machine: what it appended counts, and the host that a client forged does not."""
        dev = self.dev("--trust", "ngrok=127.0.0.1", "--allow-host", "shop.ngrok.app")
        status, seen = self.ask(dev, "X-Forwarded-For: 6.6.6.6, 203.0.113.9", "X-Forwarded-Proto: http, https",
                                "X-Forwarded-Host: evil.example", host="shop.ngrok.app")
        self.assertEqual(status, 200)
        self.assertEqual((seen["x-forwarded-for"], seen["x-forwarded-proto"], seen["x-forwarded-host"]),
                         ("203.0.113.9", "https", "shop.ngrok.app"))

    def test_a_preset_reads_its_own_headers(self):
        dev = self.dev("--trust", "cloudflared=127.0.0.1")
        status, seen = self.ask(dev, "CF-Connecting-IP: 203.0.113.9", "X-Forwarded-For: 6.6.6.6,203.0.113.9",
                                "X-Forwarded-Proto: https")
        self.assertEqual((status, seen["x-forwarded-for"], seen["x-forwarded-proto"]), (200, "203.0.113.9", "https"))
        self.assertNotIn("cf-connecting-ip", seen)

    def test_it_may_be_repeated(self):
        dev = self.dev("--trust", "127.0.0.1", "--trust", "fly=127.0.0.3")
        _, seen = self.ask(dev, "X-Forwarded-For: 203.0.113.9", tls=True)
        self.assertEqual(seen["x-forwarded-for"], "203.0.113.9")
        _, seen = self.ask(dev, "Fly-Client-IP: 203.0.113.7", "X-Forwarded-For: 203.0.113.9", tls=True,
                           source="127.0.0.3")
        self.assertEqual(seen["x-forwarded-for"], "203.0.113.7")

    def test_it_is_announced(self):
        dev = self.dev("--trust", "127.0.0.1")
        dev.wait_for("Note: X-Forwarded-For and X-Forwarded-Proto are believed from 127.0.0.1")

    def test_garbage_from_a_trusted_peer_is_refused(self):
        dev = self.dev("--trust", "127.0.0.1")
        status, fields = self.ask(dev, "X-Forwarded-For: not-an-address!", tls=True)
        self.assertEqual((status, fields["x-lintel-error"]), (400, "forwarded-garbage"))

    def test_mistakes_are_usage_errors(self):
        for value, why in (("cloudflare=127.0.0.1", "published addresses"), ("ngrok", "ngrok=127.0.0.1"),
                           ("0.0.0.0/0", "everybody"), ("fastly", "Fastly-Client-IP"), ("ngork=::1", "mean ngrok?")):
            done = subprocess.run([LINTEL, "dev", "--trust", value, "5000"], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 2, value)
            self.assertIn(why, done.stderr)
        done = subprocess.run([LINTEL, "dev", "--trust", "10.0.0.1", "--simulate", "fly", "5000"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--simulate fly and --trust 10.0.0.1", done.stderr)


if __name__ == "__main__":
    unittest.main()
