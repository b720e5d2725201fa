"""`lintel share` through a real edge: an app that is public under a name, and stays so."""
import base64
import hashlib
import signal
import ssl
import threading

from clients import RawClient, get
from lintel_test import Lintel, answer, free_port, toml_key, toml_value, wait_until
from share_test import ShareTestCase

DOMAIN = "t.localhost"


def token(number, allow=("*",), **more):
    """(what an agent shows, its entry in the file of tokens)"""
    ident = "abcdefg" + "234567"[number]
    text = f"lt_{ident}_{str(number) * 43}"
    entry = {"id": ident, "name": f"token{number}", "hash": hashlib.sha256(text.encode()).hexdigest(),
             "allow": list(allow), **more}
    return text, "\n[[token]]\n" + "".join(f"{toml_key(key)} = {toml_value(value)}\n" for key, value in entry.items())


class Edge(Lintel):
    def __init__(self, folder, ca, tokens, edge=None, port=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.tokens_path = folder / "tokens.toml"
        self.tokens_path.write_text("".join(tokens))
        cert, key = ca.issue(DOMAIN, f"*.{DOMAIN}")
        tables = {"server": {"https": f"127.0.0.1:{self.port}", "state": str(folder / "state"), "workers": 2,
                             "admin": f"unix:{folder / 'admin.sock'}", "access_log": str(folder / "access.log")},
                  "edge": {"domain": DOMAIN, "tokens": str(self.tokens_path), "certificate": {"file": cert, "key": key},
                           **(edge or {})}}
        config = folder / "lintel.toml"
        config.write_text("\n".join(f"[{name}]\n" + "".join(f"{toml_key(k)} = {toml_value(v)}\n" for k, v in table.items())
                                    for name, table in tables.items()))
        super().__init__(["serve", "-c", str(config)], folder)
        self.wait_listening(self.port)


class EdgeTestCase(ShareTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token, first = token(1)
        cls.other, second = token(2)
        cls.narrow, third = token(3, allow=["shop", "shop-*"])
        cls.tokens = [first, second, third]
        cls.edge = Edge(cls.class_folder / "edge", cls.ca, cls.tokens)
        cls.addClassCleanup(cls.end_edge)

    @classmethod
    def end_edge(cls):
        code = cls.edge.stop()
        cls.edge.check_sanitizers()
        if code != 0:
            raise AssertionError(f"the edge exited with {code}:\n{cls.edge.stderr()[-3000:]}")

    def start(self, *args, edge=None, **options):
        options.setdefault("token", self.token)
        return self.share(*args, edge=f"{DOMAIN}:{(edge or self.edge).port}", **options)

    def shared(self, *args, **options):
        """A share of the recording app: (process, host name)."""
        share = self.start(str(self.origin.port), *args, **options)
        return share, share.wait_event("connected")["url"].split("/")[2].split(":")[0]

    def visit(self, host, path="/", edge=None, timeout=60, **options):
        port = (edge or self.edge).port
        context = ssl.create_default_context(cafile=self.ca.cert)
        with RawClient(port, tls=context, sni=host, timeout=timeout) as client:
            return client.request(get(path, host=f"{host}:{port}", **options))


class Visitors(EdgeTestCase):
    def test_the_app_is_public_and_knows_it(self):
        share, host = self.shared("--name", "shop")
        self.assertEqual(host, f"shop.{DOMAIN}")
        got = self.visit(host, "/a?b=c")
        self.assertEqual((got.status, got.body), (200, b"ok\n"))
        self.assertEqual(got.get("x-robots-tag"), "noindex")
        request = self.origin.requests[-1]
        public = f"{host}:{self.edge.port}"
        self.assertEqual(request.line, "GET /a?b=c HTTP/1.1")
        for name, value in (("host", public), ("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "https"),
                            ("x-forwarded-host", public), ("x-forwarded-port", str(self.edge.port))):
            self.assertEqual(request.all(name), [value], name)
        self.assertEqual(share.wait_event("request")["visitor"], "127.0.0.1")

    def test_nothing_that_a_visitor_claims_reaches_the_app(self):
        _, host = self.shared()
        self.visit(host, headers=[("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "http"),
                                  ("X-Forwarded-Host", "evil.example"), ("Forwarded", "for=6.6.6.6;proto=http"),
                                  ("X-Real-IP", "6.6.6.6"), ("Connection", "x-forwarded-for")])
        seen = self.origin.seen()
        self.assertNotIn(b"6.6.6.6", seen)
        self.assertNotIn(b"evil.example", seen)
        self.assertIn(b"x-forwarded-for: 127.0.0.1\r\n", seen.lower())

    def test_a_body_both_ways(self):
        _, host = self.shared()
        body = bytes(range(256)) * 8192
        self.origin.respond = lambda request: answer(200, request.body)
        got = self.visit(host, method="POST", body=body)
        self.assertEqual(got.status, 200)
        self.assertEqual(hashlib.sha256(got.body).digest(), hashlib.sha256(body).digest())

    def test_a_websocket(self):
        _, host = self.shared()

        def echo(connection):
            request = connection.read_head()
            digest = hashlib.sha1((request.get("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
            connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                            b"Sec-WebSocket-Accept: " + base64.b64encode(digest.digest()) + b"\r\n\r\n")
            while connection.pending or connection.fill():
                connection.send(bytes(connection.pending))
                connection.pending.clear()
        self.origin.handler = echo
        context = ssl.create_default_context(cafile=self.ca.cert)
        with RawClient(self.edge.port, tls=context, sni=host) as client:
            client.send(f"GET /ws HTTP/1.1\r\nHost: {host}:{self.edge.port}\r\nConnection: Upgrade\r\n"
                        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
            self.assertEqual(client.read_response().status, 101)
            client.send(b"\x81\x85\x00\x00\x00\x00hello")
            self.assertEqual(client.read_exactly(11), b"\x81\x85\x00\x00\x00\x00hello")


class Names(EdgeTestCase):
    def test_a_random_name(self):
        _, host = self.shared()
        self.assertRegex(host, rf"^[a-z]+-[a-z]+-[a-z2-9]{{5}}\.{DOMAIN}$")
        self.assertEqual(self.visit(host).status, 200)

    def test_a_name_that_somebody_else_has_is_refused_and_stays_his(self):
        _, host = self.shared("--name", "mine")
        thief = self.start(str(self.origin.port), "--name", "mine", token=self.other, home="thief", json_=False)
        self.assertEqual(thief.process.wait(30), 1)
        self.assertIn("share-name-taken", thief.stderr())
        self.assertEqual(self.visit(host).status, 200)

    def test_a_name_that_the_token_does_not_allow(self):
        share = self.start(str(self.origin.port), "--name", "bank", token=self.narrow, json_=False)
        self.assertEqual(share.process.wait(30), 1)
        self.assertIn("share-name-refused", share.stderr())

    def test_a_wrong_token(self):
        share = self.start(str(self.origin.port), token="lt_abcdefg2_" + "x" * 43, json_=False)
        self.assertEqual(share.process.wait(30), 1)
        self.assertIn("token-refused", share.stderr())
        self.assertIn("lintel login", share.stderr())

    def test_two_agents_with_pool(self):
        first, host = self.shared("--name", "many", "--pool")
        second, _ = self.shared("--name", "many", "--pool", home="second")
        # Whoever shares a name hears that another one has joined.
        self.assertEqual(first.wait_event("notice")["agents"], 2)
        self.assertEqual(second.events("connected")[0]["agents"], 2)
        self.assertEqual(self.visit(host).status, 200)
        second.stop()
        self.assertEqual(self.visit(host).status, 200)


class Losses(EdgeTestCase):
    def test_requests_wait_for_an_agent_that_is_killed_and_comes_back(self):
        share, host = self.shared("--name", "back")
        self.assertEqual(self.visit(host).status, 200)
        share.process.send_signal(signal.SIGKILL)
        share.process.wait()
        answers = []
        visitor = threading.Thread(target=lambda: answers.append(self.visit(host, "/waits").status))
        visitor.start()
        self.shared("--name", "back", home="again")
        visitor.join(60)
        self.assertEqual(answers, [200])

    def test_a_share_that_has_ended_is_not_waited_for(self):
        share, host = self.shared("--name", "ended")
        self.assertEqual(self.visit(host).status, 200)
        self.assertEqual(share.stop(), 0)
        got = wait_until(lambda: (r := self.visit(host)).status == 503 and r, "the share to be away")
        self.assertEqual(got.get("x-lintel-error"), "share-away")

    def test_the_same_name_after_the_edge_was_killed(self):
        edge = Edge(self.folder / "edge", self.ca, self.tokens)
        self.addCleanup(lambda: edge.stop())
        share = self.start(str(self.origin.port), edge=edge)
        host = share.wait_event("connected")["url"].split("/")[2].split(":")[0]
        self.assertEqual(self.visit(host, edge=edge).status, 200)
        edge.process.send_signal(signal.SIGKILL)
        edge.process.wait()
        share.wait_event("away")
        edge = Edge(self.folder / "edge", self.ca, self.tokens, port=edge.port)
        again = share.wait_event("connected", 2)
        self.assertEqual(again["url"].split("/")[2].split(":")[0], host)
        self.assertEqual(self.visit(host, edge=edge).status, 200)

    def test_a_revoked_token_cuts_its_agent(self):
        edge = Edge(self.folder / "edge", self.ca, self.tokens)
        self.addCleanup(lambda: edge.stop())
        share = self.start(str(self.origin.port), edge=edge)
        share.wait_event("connected")
        edge.tokens_path.write_text(self.tokens[1])
        refused = share.wait_event("refused")
        self.assertEqual(refused["error"], "token-refused")
        self.assertFalse(refused["given_up"])
