"""Attacks on what visitors and agents share: an edge's workers, a tunnel's window, a port, and the agent's trust."""
import socket
import ssl
import threading

from lintel_test import answer, free_port, wait_until
from small_agent import Refused, SmallAgent
from small_edge import SmallEdge
from share_test import ShareTestCase
from test_share import DOMAIN, Edge, token

HOLD_S = 1


class Echo:
    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            connection, _ = self.socket.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    @staticmethod
    def serve(connection):
        with connection:
            while octets := connection.recv(65536):
                connection.sendall(octets)


class SilentAgent(SmallAgent):
    """Comes in, and never begins HTTP/2."""

    def _send(self, *_):
        pass


class EdgeAttacks(ShareTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token, entry = token(1)
        port = free_port()
        cls.edge = Edge(cls.class_folder / "edge", cls.ca, [entry],
                        {"hold": f"{HOLD_S}s", "tcp_ports": f"{port}-{min(65535, port + 3)}"})
        cls.addClassCleanup(cls.end_edge)

    @classmethod
    def end_edge(cls):
        cls.edge.stop()
        cls.edge.check_sanitizers()

    def start(self, *args, **options):
        share = self.share(*args, edge=f"{DOMAIN}:{self.edge.port}", token=self.token, **options)
        return share, share.wait_event("connected")["url"]

    def agent(self, name, program=SmallAgent, **hello):
        agent = program(self.edge.port, DOMAIN, self.token, name, ca=self.ca.cert, **hello)
        self.addCleanup(agent.close)
        return agent

    def more(self, first, program=SmallAgent, **hello):
        welcome = first.welcome
        return self.agent(welcome["name"], program, session=welcome["session"], secret=welcome["secret"], **hello)

    def test_visitors_who_do_not_read_do_not_stop_the_others(self):
        """Twenty phones in a tunnel of the railway, or one attacker, and the share was dead for everybody."""
        big = b"x" * (6 << 20)
        self.origin.respond = lambda request: answer(200, big if "/big" in request.line else b"small")
        _, url = self.start(str(self.origin.port), "--name", "shop")
        host = url.split("/")[2].split(":")[0]
        context = ssl.create_default_context(cafile=self.ca.cert)

        def visit(path):
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.settimeout(60)
            raw.connect(("127.0.0.1", self.edge.port))
            client = context.wrap_socket(raw, server_hostname=host)
            self.addCleanup(client.close)
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{self.edge.port}\r\nConnection: close\r\n\r\n".encode())
            return client

        for client in [visit("/big") for _ in range(40)]:
            self.assertEqual(client.recv(12), b"HTTP/1.1 200")
        for _ in range(4):  # on each leg
            client, got = visit("/small"), b""
            while octets := client.recv(4096):
                got += octets
            self.assertTrue(got.endswith(b"small"), got)

    def test_the_port_of_an_agent_that_was_given_up_is_free_for_its_return(self):
        """The edge went on listening for the share that had ended, so that nobody ever reached the new one."""
        echo = Echo()
        share, url = self.start(f"tcp://127.0.0.1:{echo.port}", "--name", "db", "--allow", "127.0.0.1")
        port = int(url.rpartition(":")[2])

        def answers():
            try:
                with socket.create_connection(("127.0.0.1", port), 5) as client:
                    client.settimeout(5)
                    client.sendall(b"hi")
                    return client.recv(2) == b"hi"
            except OSError:
                return False
        wait_until(answers, "the share", 30)
        share.process.kill()
        share.process.wait()
        wait_until(lambda: "share db: the agent of token1 from 127.0.0.1 has gone: it did not come back" in
                   self.edge.stderr(), "the edge to give the agent up", 30)
        _, again = self.start(f"tcp://127.0.0.1:{echo.port}", "--name", "db", "--allow", "127.0.0.1", home="again")
        self.assertEqual(again, url)
        wait_until(answers, "the share that has come back", 30)

    def test_a_visitor_whom_no_connection_takes_is_not_handed_to_and_fro(self):
        """Legs on both workers that take no streams: the workers gave him to each other for ever, also when he had gone."""
        first = self.agent("full", kind="tcp")  # it does not say that it takes extended CONNECT
        for _ in range(5):
            self.more(first, kind="tcp")
        port = first.welcome["tcp_port"]

        def connected():
            try:
                return socket.create_connection(("127.0.0.1", port), 60)
            except ConnectionRefusedError:
                return None
        with wait_until(connected, "the port", 30) as visitor:
            visitor.settimeout(30)
            visitor.sendall(b"is there anybody?")
            try:
                self.assertEqual(visitor.recv(1), b"")
            except ConnectionResetError:
                pass

    def test_connections_that_never_begin_are_counted(self):
        """Each costs a file descriptor for 15 s, and only those that had begun counted as connections of the agent."""
        first = self.agent("mute")
        opened = []
        with self.assertRaises(Refused) as refused:
            for _ in range(100):
                opened.append(self.more(first, SilentAgent))
        self.assertEqual(refused.exception.error, "share-limit")
        self.assertFalse(refused.exception.refusal["final"])
        self.assertGreater(len(opened), 8, "an agent whose connections have just been lost gets new ones at once")


class AgentAttacks(ShareTestCase):
    def test_an_edge_cannot_ask_a_sealed_share_in_plain_text(self):
        """Its owner promised visitors that only they and the laptop read what is said."""
        edge = SmallEdge(self.ca)
        self.addCleanup(edge.stop)
        self.share(str(self.origin.port), "--sealed", "--agree", "--directory", "https://127.0.0.1:1/none", "--state",
                   str(self.folder / "state"), edge=f"localhost:{edge.port}")
        got = edge.agent().visit("/", visitor="127.0.0.1")
        self.assertEqual((got.status, got.get("x-lintel-error")), (421, "sni-mismatch"))
        self.assertEqual(self.origin.requests, [])


if __name__ == "__main__":
    import unittest
    unittest.main()
