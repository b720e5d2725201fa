"""TCP and sealed shares: octets that the edge passes on without looking at them."""
import hashlib
import socket
import ssl
import subprocess
import threading

from clients import RawClient, get
from lintel_test import answer, free_port, wait_until
from pebble import Pebble
from test_share import DOMAIN, Edge, EdgeTestCase, token


class EchoServer:
    """Says "hello" first, as a database does, then echoes; at the client's FIN it says how much came, and ends."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.peers = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        self.peers.append(connection)
        total = 0
        with connection:
            connection.sendall(b"hello\n")
            while octets := connection.recv(65536):
                total += len(octets)
                connection.sendall(octets)
            connection.sendall(b"bye %d\n" % total)


def read_all(connection):
    return b"".join(iter(lambda: connection.recv(65536), b""))


class RawTestCase(EdgeTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first_port = free_port()
        _, entry = token(1)
        cls.raw_edge = Edge(cls.class_folder / "raw-edge", cls.ca, [entry],
                            {"tcp_ports": f"{cls.first_port}-{min(65535, cls.first_port + 3)}", "hold": "5s"})
        cls.addClassCleanup(cls.raw_edge.stop)


class Tcp(RawTestCase):
    def tcp_share(self, port, *args):
        share = self.start(f"tcp://127.0.0.1:{port}", *args, edge=self.raw_edge)
        url = share.wait_event("connected")["url"]
        self.assertRegex(url, rf"^tcp://{DOMAIN}:\d+$")
        public = int(url.rsplit(":", 1)[1])
        share.wait_listening(public)
        return share, public

    def test_octets_both_ways_and_a_half_close(self):
        """A database behind a share: its server speaks first, and what comes after the client's FIN is not lost."""
        echo = EchoServer()
        share, public = self.tcp_share(echo.port, "--allow", "127.0.0.1", "--allow", "::1")
        body = bytes(range(256)) * 16384
        with socket.create_connection(("127.0.0.1", public), 30) as client:
            sender = threading.Thread(target=lambda: (client.sendall(body), client.shutdown(socket.SHUT_WR)))
            sender.start()
            got = read_all(client)
            sender.join()
        self.assertEqual(got[:6], b"hello\n")
        self.assertEqual(got[-12:], b"bye %d\n" % len(body))
        self.assertEqual(hashlib.sha256(got[6:-12]).digest(), hashlib.sha256(body).digest())
        self.assertEqual(share.wait_event("request")["visitor"], "127.0.0.1")

    def test_an_address_that_is_not_allowed_reaches_nothing(self):
        """The password of a database is tried by nobody whose address was not named."""
        echo = EchoServer()
        share, public = self.tcp_share(echo.port, "--allow", "192.0.2.7")
        with socket.create_connection(("127.0.0.1", public), 30) as client:
            try:
                self.assertEqual(client.recv(100), b"")
            except ConnectionResetError:
                pass
        self.assertEqual(share.wait_event("request")["error"], "access-denied")
        self.assertEqual(echo.peers, [])

    def test_without_allow_it_is_refused(self):
        share = self.start("tcp://127.0.0.1:5432", edge=self.raw_edge)
        self.assertEqual(share.process.wait(30), 2)
        self.assertIn("--allow", share.stderr())

    def test_an_agent_that_ends_frees_its_port(self):
        echo = EchoServer()
        share, public = self.tcp_share(echo.port, "--allow", "127.0.0.1")
        share.stop()

        def closed():
            try:
                socket.create_connection(("127.0.0.1", public), 5).close()
                return False
            except ConnectionRefusedError:
                return True
        wait_until(closed, "the port to be closed", 30)


class Sealed(RawTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pebble = cls.enterClassContext(Pebble(cls.class_folder / "pebble", tls_port=cls.raw_edge.port))

    def sealed_share(self, name):
        share = self.start(str(self.origin.port), "--name", name, "--sealed", "--agree", "--directory",
                           self.pebble.directory, "--acme-ca-file", self.pebble.ca_file, "--state",
                           str(self.folder / "state"), edge=self.raw_edge)
        share.wait_event("connected")
        states = lambda: [event["state"] for event in share.events("sealed")]
        wait_until(lambda: {"seen", "other-key"} & set(states()), lambda: f"the look from outside: {states()}", 60)
        self.assertIn("ready", states())
        self.assertNotIn("other-key", states())
        return share, f"{name}.{DOMAIN}"

    def context(self):
        root = self.folder / "root.pem"
        root.write_text(self.pebble.root())
        return ssl.create_default_context(cafile=root)

    def test_the_visitor_verifies_the_agents_own_certificate_and_the_edge_sees_no_plain_text(self):
        _, host = self.sealed_share("vault")
        seen = self.folder / "seen.pcap"
        secret = b"the-plain-text-that-nobody-may-see"
        self.origin.respond = lambda request: answer(200, secret + request.body)
        capture = subprocess.Popen(["tcpdump", "-i", "lo", "-U", "-s", "0", "-w", str(seen), "tcp", "port",
                                    str(self.raw_edge.port)], stderr=subprocess.PIPE)
        self.addCleanup(capture.kill)
        capture.stderr.readline()
        self.addCleanup(capture.stderr.close)
        with RawClient(self.raw_edge.port, tls=self.context(), sni=host) as client:
            got = client.request(get("/secret-path", host=f"{host}:{self.raw_edge.port}", method="POST",
                                     body=secret, headers=[("X-Forwarded-For", "6.6.6.6")]))
        self.assertEqual((got.status, got.body), (200, secret * 2))
        request = self.origin.requests[-1]
        for name, value in (("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "https"),
                            ("host", f"{host}:{self.raw_edge.port}")):
            self.assertEqual(request.all(name), [value], name)
        wait_until(lambda: seen.stat().st_size > 2000, "the capture")
        capture.terminate()
        capture.wait(30)
        octets = seen.read_bytes()
        self.assertGreater(len(octets), 2000)
        self.assertNotIn(secret, octets)
        self.assertNotIn(b"secret-path", octets)

    def test_a_sealed_name_on_a_connection_that_the_edge_ended_is_421(self):
        """Asked for by a Host under another SNI, it would travel through the edge in plain text."""
        _, host = self.sealed_share("vault2")
        context = ssl.create_default_context(cafile=self.ca.cert)
        with RawClient(self.raw_edge.port, tls=context, sni=f"other.{DOMAIN}") as client:
            got = client.request(get("/", host=f"{host}:{self.raw_edge.port}"))
        self.assertEqual((got.status, got.get("x-lintel-error")), (421, "sni-mismatch"))

    def test_a_sealed_name_stays_sealed_when_its_agent_has_gone(self):
        """Else a browser's cookies would reach the edge in plain text whenever the laptop sleeps."""
        share, host = self.sealed_share("vault3")
        share.stop()
        context = ssl.create_default_context(cafile=self.ca.cert)

        def refused():
            try:
                with RawClient(self.raw_edge.port, tls=context, sni=host) as client:
                    raise AssertionError(f"the edge has shown a certificate: {client}")
            except OSError as error:
                return str(error)
        self.assertNotIn("certificate", refused())

    def test_with_pool_or_without_consent_it_is_refused(self):
        for args, word in ((["--sealed"], "--agree"), (["--sealed", "--agree", "--pool"], "--pool")):
            share = self.start("5000", *args, edge=self.raw_edge, home="-".join(args))
            self.assertEqual(share.process.wait(30), 2)
            self.assertIn(word, share.stderr())
