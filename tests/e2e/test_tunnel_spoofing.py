"""What a visitor sends about himself never reaches a shared app as the truth, on either side of the tunnel; names belong to
their tokens."""
from agent_peer import NOTICE_PATH, Refused
from edge_world import *
from origin import answer

as_root()

FORGED = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "http"), ("X-Forwarded-Host", "evil.test"),
          ("X-Forwarded-Port", "1"), ("X-Forwarded-Prefix", "/evil"), ("X-Forwarded-Server", "evil"), ("X-Real-IP", "6.6.6.6"),
          ("Forwarded", "for=6.6.6.6;proto=http;host=evil.test"), ("X-Original-Host", "evil.test"),
          ("X-Forwarded-Scheme", "http"), ("X-Forwarded-Ssl", "off"), ("Front-End-Https", "off"), ("X-Url-Scheme", "http"),
          ("X-Client-IP", "6.6.6.6"), ("True-Client-IP", "6.6.6.6"), ("CF-Connecting-IP", "6.6.6.6"),
          ("X-Original-Uri", "/evil"), ("X-Forwarded-Uri", "/evil"), ("X_Forwarded_For", "6.6.6.6")]
LINTEL_FIELDS = [("Lintel-Hello", "e30"), ("Lintel-Welcome", "e30"), ("Lintel-Client", "6.6.6.6"), ("Lintel-Session", "evil")]
EVIL = ("6.6.6.6", "evil")


class Spoofing(EdgeTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.origin = cls.world.origin()
        cls.agent = cls.world.share("5000", "--name", "app")
        cls.agent.wait_for(f"https://app.{DOMAIN}")
        other_home = cls.world.folder / "other"
        cls.other_token = cls.world.token("other")
        cls.world.login(cls.other_token, other_home)

    def setUp(self):
        self.origin.reset()

    def assert_one_truth(self):
        request = self.origin.requests[-1]
        for name, value in (("x-forwarded-for", VISITOR), ("x-forwarded-proto", "https"),
                            ("x-forwarded-host", self.host("app")), ("host", self.host("app"))):
            self.assertEqual(request.all(name), [value], f"{name} in {request.headers}")
        told = [field for field in request.headers if any(evil in field[1] for evil in EVIL)]
        self.assertEqual(told, [])
        self.assertEqual([field for field in request.names() if field.startswith("lintel-")], [])

    def test_forged_fields_of_an_http1_visitor(self):
        for field in FORGED + LINTEL_FIELDS:
            with self.subTest(field=field):
                self.assertEqual(self.fetch("app", "/", [field]).status, 200)
                self.assert_one_truth()

    def test_all_forged_fields_at_once_twice_and_in_capitals(self):
        fields = FORGED + LINTEL_FIELDS
        self.assertEqual(self.fetch("app", "/", [*fields, *[(name.upper(), value) for name, value in fields]]).status, 200)
        self.assert_one_truth()

    def test_forged_fields_of_an_http2_visitor(self):
        with self.h2("app") as client:
            fields = [(name.lower(), value) for name, value in FORGED + LINTEL_FIELDS]
            self.assertEqual(client.request("/", headers=fields).status, 200)
        self.assert_one_truth()

    def test_fields_that_the_connection_would_remove(self):
        """`Connection: x-forwarded-for` must not take what the edge says away from the agent or the app."""
        for names in ("x-forwarded-for, x-forwarded-proto, x-forwarded-host", "lintel-identity, forwarded"):
            self.assertEqual(self.fetch("app", "/", [("Connection", names), *FORGED[:3]]).status, 200)
            self.assert_one_truth()

    def test_trailers_do_not_say_who_the_visitor_is(self):
        with self.client("app") as client:
            octets = get("/", self.host("app"), [("Transfer-Encoding", "chunked"), ("Trailer", "X-Forwarded-For")], "POST")
            response = client.request(octets + b"1\r\na\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\r\n")
            self.assertIn(response.status, (200, 400))
        for request in self.origin.requests:
            self.assertFalse([field for field in request.trailers if "6.6.6.6" in field[1]])

    def test_a_host_that_is_not_the_name_of_the_connection(self):
        """Another Host than the one that was routed by must not reach this app."""
        for line, fields in ((f"GET / HTTP/1.1\r\nHost: {self.host('app')}\r\nHost: evil.test\r\n", 0),
                             ("GET / HTTP/1.1\r\nHost: evil.test\r\n", 0),
                             (f"GET http://evil.test/ HTTP/1.1\r\nHost: {self.host('app')}\r\n", 0),
                             (f"GET / HTTP/1.1\r\nHost: {self.host('app')}@evil.test\r\n", 0)):
            with self.subTest(line=line), self.client("app") as client:
                client.send(line + "\r\n")
                response = client.read_response()
                self.assertGreaterEqual(response.status, 400)
        self.assertEqual(self.origin.requests, [])

    def test_the_edges_messages_to_its_agents_cannot_be_sent_by_a_visitor(self):
        """A notice is what the edge's own name asks for: a visitor can neither use that name nor that path."""
        self.origin.respond = lambda request: answer(200, b"the app's own")
        for host, sni in ((DOMAIN, DOMAIN), (DOMAIN, self.host("app")), (self.host("app"), DOMAIN)):
            for method in ("GET", "POST"):
                with self.subTest(host=host, sni=sni, method=method), \
                        RawClient(443, host=EDGE, tls=self.world.context, sni=sni) as client:
                    octets = get(NOTICE_PATH, host, [("Content-Type", "application/json")], method,
                                 body=b'{"agents":666,"message":"evil notice"}' if method == "POST" else None)
                    response = client.request(octets)
                    if host == DOMAIN:
                        self.assertGreaterEqual(response.status, 400)
                        self.assertNotEqual(response.body, b"the app's own")
        with self.h2("app") as client:
            stream = client.open([(":method", "POST"), (":scheme", "https"), (":path", NOTICE_PATH), (":authority", DOMAIN)], end=False)
            client.data(stream, b'{"agents":666,"message":"evil notice"}', end=True)
            self.assertGreaterEqual(client.wait(stream).status, 400)
        self.assertEqual(self.fetch("app").status, 200)
        self.assertNotIn("evil notice", self.agent.output())
        self.assertNotIn("666", self.agent.output())

    # --- names
    def test_a_name_that_is_in_use_is_refused_to_another_token(self):
        with self.assertRaises(Refused) as refused:
            self.world.raw_agent(self.other_token, "app")
        self.assertEqual((refused.exception.status, refused.exception.error), (409, "share-name-taken"))
        self.assertEqual(self.fetch("app").status, 200, "the owner still has it")
        self.assertEqual(len(self.origin.requests), 1)

    def test_the_agent_says_so_too(self):
        thief = self.world.share("5000", "--name", "app", home=self.world.folder / "other", log="thief")
        thief.wait_for("(?i)taken|somebody else")

    def test_a_session_without_its_secret_is_nobodys(self):
        """Knowing the session's number, and even the agent's own, does not evict its connections."""
        with self.world.raw_agent(self.laptop_token, "victim") as victim:
            victim.serve(lambda request: (200, [], b"victim"))
            for hello in ({"session": victim.welcome["session"], "secret": "AAAA", "agent": victim.hello["agent"], "generation": 5},
                          {"session": victim.welcome["session"], "secret": "", "agent": victim.hello["agent"], "generation": 5}):
                for token in (self.other_token, self.laptop_token):
                    with self.assertRaises(Refused):
                        self.world.raw_agent(token, "victim", hello=hello)
            self.assertEqual(self.fetch("victim").body, b"victim")

    def test_the_secret_of_a_session_is_of_no_use_with_another_token(self):
        with self.world.raw_agent(self.laptop_token, "mine") as agent:
            hello = {"session": agent.welcome["session"], "secret": agent.welcome["secret"], "agent": agent.hello["agent"],
                     "generation": 1}
            with self.assertRaises(Refused) as refused:
                self.world.raw_agent(self.other_token, "mine", hello=hello)
            self.assertIn(refused.exception.status, (403, 409))

    def test_a_released_name_rests_for_other_tokens(self):
        with self.world.raw_agent(self.laptop_token, "resting"):
            pass
        for _ in range(3):
            with self.assertRaises(Refused) as refused:
                self.world.raw_agent(self.other_token, "resting")
            self.assertEqual(refused.exception.error, "share-name-taken")
        with self.world.raw_agent(self.laptop_token, "resting", hello={"generation": 1}):
            pass

    def test_names_that_are_none(self):
        for name in ("UPPER", "a.b", "-a", "a-", "xn--a", "a" * 64, "a/b", "a\r\nb", "www.t.example.test", "ä"):
            with self.subTest(name=name), self.assertRaises(Refused) as refused:
                self.world.raw_agent(self.laptop_token, name)
            self.assertIn(refused.exception.error, ("agent-protocol", "share-name-refused"))


class Tokens(EdgeTestCase):
    def test_a_token_may_have_only_its_names(self):
        token = self.world.token("narrow", "web,web-*")
        with self.world.raw_agent(token, "web"), self.world.raw_agent(token, "web-2"):
            pass
        for name in ("app", "webx", "we", "a-web"):
            with self.subTest(name=name), self.assertRaises(Refused) as refused:
                self.world.raw_agent(token, name)
            self.assertEqual((refused.exception.status, refused.exception.error), (403, "share-name-refused"))

    def test_an_address_that_guesses_tokens_is_slowed_down(self):
        """Guessing is hopeless in itself; this keeps the log and the CPU free. The honest laptop has another address."""
        errors = []
        with self.world.net.visitor.entered():
            for number in range(15):
                try:
                    RawAgent(443, f"lt_{number:08d}_{'A' * 43}", "app", host=EDGE, domain=DOMAIN)
                except Refused as refused:
                    errors.append(refused.error)
        self.assertEqual(set(errors), {"token-refused", "agent-limited"})
        self.assertEqual(errors[-1], "agent-limited")
        with self.world.raw_agent(self.laptop_token, "honest"):
            pass


if __name__ == "__main__":
    unittest.main()
