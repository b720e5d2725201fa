"""`lintel share` against an edge of a few lines, which can do what a real one would never do."""
import os
import subprocess
import threading

from lintel_test import LINTEL, answer, free_port, wait_until
from share_test import TOKEN, ShareTestCase
from small_edge import SmallEdge, encode

PYTHON = "/usr/bin/python3"


class AgentTestCase(ShareTestCase):
    def setUp(self):
        super().setUp()
        self.edge = SmallEdge(self.ca)
        self.addCleanup(lambda: self.edge.stop())

    def start(self, *args, **options):
        options.setdefault("edge", f"localhost:{self.edge.port}")
        return self.share(*args, **options)


class Visitors(AgentTestCase):
    def test_the_app_learns_who_visits_and_under_which_address(self):
        share = self.start(str(self.origin.port), "--name", "shop")
        tunnel = self.edge.agent()
        public = f"shop.localhost:{self.edge.port}"
        self.assertEqual(share.wait_event("connected")["url"], f"https://{public}/")
        got = tunnel.visit("/a?b=1", visitor="192.0.2.9")
        self.assertEqual((got.status, got.body), (200, b"ok\n"))
        self.assertEqual(got.get("x-robots-tag"), "noindex")
        request = self.origin.requests[-1]
        self.assertEqual(request.line, "GET /a?b=1 HTTP/1.1")
        self.assertEqual(request.all("host"), [public])
        self.assertEqual(request.all("x-forwarded-for"), ["192.0.2.9"])
        self.assertEqual(request.all("x-forwarded-proto"), ["https"])
        self.assertEqual(request.all("x-forwarded-host"), [public])
        self.assertEqual(request.all("x-forwarded-port"), [str(self.edge.port)])
        line = share.wait_event("request")
        self.assertEqual((line["method"], line["path"], line["status"], line["visitor"]),
                         ("GET", "/a", 200, "192.0.2.9"))

    def test_what_a_visitor_claims_beside_the_edge_does_not_reach_the_app(self):
        self.start(str(self.origin.port))
        self.edge.agent().visit("/", headers=[("x-real-ip", "6.6.6.6"), ("forwarded", "for=6.6.6.6"),
                                              ("cf-connecting-ip", "6.6.6.6"), ("x-forwarded-user", "root")])
        seen = self.origin.seen()
        self.assertNotIn(b"6.6.6.6", seen)
        self.assertNotIn(b"root", seen)

    def test_a_redirect_to_http_is_repaired_to_the_public_address(self):
        self.start(str(self.origin.port))
        tunnel = self.edge.agent()
        host = tunnel.welcomed["url"].split("://")[1].split(":")[0]
        self.origin.respond = lambda _: answer(302, b"", [("Location", f"http://{host}/next")])
        self.assertEqual(tunnel.visit("/").get("location"), f"{tunnel.welcomed['url']}/next")

    def test_no_app_is_a_page_that_does_not_say_where_it_would_be(self):
        port = free_port()
        self.start(str(port))
        got = self.edge.agent().visit("/")
        self.assertEqual(got.status, 502)
        self.assertNotIn(str(port).encode(), got.body)

    def test_index_lets_search_engines_in(self):
        self.start(str(self.origin.port), "--index")
        self.assertIsNone(self.edge.agent().visit("/").get("x-robots-tag"))


class Knocking(AgentTestCase):
    def test_the_hello(self):
        self.start(str(self.origin.port), "--name", "shop", "--pool")
        knock = self.edge.knock()
        self.assertEqual(knock.line, "GET /.well-known/lintel/agent HTTP/1.1")
        self.assertEqual(knock.headers["upgrade"], "lintel-tunnel/1")
        self.assertEqual(knock.headers["authorization"], f"Bearer {TOKEN}")
        self.assertEqual(knock.headers["host"], f"localhost:{self.edge.port}")
        self.assertEqual((knock.hello["name"], knock.hello["pool"], knock.hello["kind"]), ("shop", True, "http"))
        second = self.edge.knock()
        self.assertEqual(second.hello["session"], "c2Vzc2lvbg")
        self.assertEqual(second.hello["secret"], "c2VjcmV0")
        self.assertEqual((second.hello["agent"], second.hello["generation"]), (knock.hello["agent"], 0))

    def test_legs(self):
        self.start(str(self.origin.port), "--legs", "3")
        tunnels = [self.edge.agent() for _ in range(3)]
        for tunnel in tunnels:
            self.assertEqual(tunnel.visit("/").status, 200)

    def test_what_comes_with_the_101_is_not_lost(self):
        """An edge sends its first HTTP/2 frames at once, often in the same packet."""
        self.edge.script = lambda knock: knock.welcome(at_once=True)
        share = self.start(str(self.origin.port))
        share.wait_event("round-trip")
        self.assertEqual(self.edge.agent().visit("/").status, 200)

    def test_an_edge_that_nobody_vouches_for_does_not_get_the_token(self):
        share = self.start(str(self.origin.port), ca=None)
        self.assertIn("TLS", share.wait_event("away")["why"])
        self.assertTrue(self.edge.knocks.empty())

    def test_a_final_refusal_of_the_first_connection_ends_it_with_the_reason(self):
        self.edge.script = lambda knock: knock.refuse("token-refused", "the token is unknown; \x1b[2Jask its owner",
                                                      401, final=True)
        share = self.start(str(self.origin.port), json_=False)
        self.assertEqual(share.process.wait(30), 1)
        self.assertIn("token-refused", share.stderr())
        self.assertIn("ask its owner", share.stderr())
        self.assertNotIn("\x1b", share.stderr())

    def test_other_refusals_are_told_and_tried_again(self):
        refused = []

        def script(knock):
            if not refused:
                refused.append(knock)
                return knock.refuse("agent-limited", "too many agents", 429)
            return knock.welcome()
        self.edge.script = script
        share = self.start(str(self.origin.port))
        self.assertEqual(share.wait_event("refused")["error"], "agent-limited")
        share.wait_event("connected")

    def test_a_later_refusal_does_not_end_it(self):
        share = self.start(str(self.origin.port), "--legs", "1")
        tunnel = self.edge.agent()
        self.edge.script = lambda knock: knock.refuse("token-refused", "revoked", 401, final=True)
        tunnel.close()
        share.wait_event("refused")
        self.edge.script = lambda knock: knock.welcome()
        share.wait_event("connected", 2)


class Reconnecting(AgentTestCase):
    def test_an_edge_that_comes_later(self):
        self.edge.stop()
        share = self.start(str(self.origin.port))
        share.wait_event("away")
        self.edge = SmallEdge(self.ca, self.edge.port)
        share.wait_event("connected")
        self.assertEqual(self.edge.agent().visit("/").status, 200)

    def test_the_same_name_with_the_secret_after_the_edge_was_gone(self):
        share = self.start(str(self.origin.port))
        first = self.edge.knock()
        self.edge.agent(), self.edge.agent()
        self.edge.close_connections()
        share.wait_event("connected", 2)
        while True:
            knock = self.edge.knock()
            if knock.hello["generation"] == 1:
                break
        self.assertEqual(knock.hello["name"], "quiet-otter-k7w2m")
        self.assertEqual((knock.hello["session"], knock.hello["secret"]), ("c2Vzc2lvbg", "c2VjcmV0"))
        self.assertEqual(knock.hello["agent"], first.hello["agent"])
        self.assertEqual(share.events("connected")[1]["again"], True)

    def test_one_connection_lost_of_two_is_not_a_loss(self):
        share = self.start(str(self.origin.port))
        first, second = self.edge.agent(), self.edge.agent()
        self.assertEqual((first.visit("/").status, second.visit("/").status), (200, 200))
        first.close()
        again = self.edge.agent()
        self.assertEqual(again.knock.hello["generation"], 0)
        self.assertEqual(second.visit("/").status, 200)
        self.assertEqual(again.visit("/").status, 200)
        self.assertEqual(share.events("away"), [])

    def test_an_edge_that_goes_away_in_order_loses_nothing(self):
        """GOAWAY: what runs is answered on the old connection while there is a new one already."""
        self.start(str(self.origin.port), "--legs", "1")
        tunnel = self.edge.agent()
        reached, release = threading.Event(), threading.Event()

        def respond(_):
            reached.set()
            release.wait(30)
            return answer(200, b"late")
        self.origin.respond = respond
        slow = tunnel.start("/slow", [("x-forwarded-for", "192.0.2.9"), ("x-forwarded-proto", "https")])
        self.assertTrue(reached.wait(30))
        tunnel.say_goodbye()
        again = self.edge.agent()
        release.set()
        self.assertTrue(slow.ended.wait(30))
        self.assertEqual((slow.status, slow.body), (200, b"late"))
        self.assertEqual(again.knock.hello["generation"], 0)

    def test_it_survives_whatever_answers(self):
        upgraded = (b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: lintel-tunnel/1\r\nLintel-Welcome: " +
                    encode({"session": "c2Vzc2lvbg", "secret": "c2VjcmV0", "name": "app",
                            "url": "https://app.localhost"}).encode() + b"\r\n\r\n")
        for number, octets in enumerate((
                b"", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000,
                b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b" " * 100_000,
                b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: lintel-tunnel/1\r\nLintel-Welcome: !\r\n\r\n",
                upgraded + b"\x00" * 5000, upgraded + b"GET / HTTP/1.1\r\n\r\n",
                upgraded + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 5000)):
            with self.subTest(octets=octets[:80]):
                def script(knock, octets=octets, tried=[]):
                    if tried:
                        return knock.welcome()
                    tried.append(knock)
                    return knock.send(octets)
                self.edge.script = script
                share = self.start(str(self.origin.port), "--legs", "1", home=f"home{number}")
                self.assertEqual(self.edge.agent().visit("/").status, 200)
                self.assertTrue(share.events("away"))
                share.stop()


class Notices(AgentTestCase):
    def test_the_edges_own_word_is_told_and_never_reaches_the_app(self):
        share = self.start(str(self.origin.port))
        tunnel = self.edge.agent()
        body = b'{"agents": 2, "message": "joined from 192.0.2.7"}'
        got = tunnel.request("/.well-known/lintel/notice", method="POST", body=body,
                             authority=f"localhost:{self.edge.port}")
        self.assertEqual(got.status, 204)
        self.assertEqual(share.wait_event("notice")["agents"], 2)
        self.assertEqual(self.origin.requests, [])

    def test_a_visitor_cannot_speak_for_the_edge(self):
        share = self.start(str(self.origin.port))
        tunnel = self.edge.agent()
        self.assertEqual(tunnel.visit("/.well-known/lintel/notice", method="POST", body=b'{"agents": 9}').status, 200)
        self.assertEqual([request.target for request in self.origin.requests], ["/.well-known/lintel/notice"])
        self.assertEqual(share.events("notice"), [])

    def test_a_notice_without_end_is_refused(self):
        self.start(str(self.origin.port))
        tunnel = self.edge.agent()
        got = tunnel.request("/.well-known/lintel/notice", method="POST", body=b" " * 20_000, authority="localhost")
        self.assertEqual(got.status, 400)
        self.assertEqual(tunnel.visit("/").status, 200)


class Ending(AgentTestCase):
    def test_it_says_goodbye_on_every_connection(self):
        """The edge frees the name at once, instead of letting visitors wait for an agent that will not come."""
        share = self.start(str(self.origin.port))
        tunnels = [self.edge.agent(), self.edge.agent()]
        for tunnel in tunnels:
            self.assertEqual(tunnel.visit("/").status, 200)
        self.assertEqual(share.stop(), 0)
        for tunnel in tunnels:
            self.assertTrue(tunnel.closed.wait(30))
            self.assertEqual(tunnel.goaway, 0)

    def test_it_ends_while_the_edge_is_away(self):
        self.edge.stop()
        share = self.start(str(self.origin.port))
        share.wait_event("away")
        self.assertEqual(share.stop(), 0)

    def test_the_apps_exit_code_and_environment(self):
        share = self.start("--name", "shop", command=(
            PYTHON, "-c", "import os, sys; print(os.environ['LINTEL_URL'], 'LINTEL_TOKEN' in os.environ, "
            "flush=True); sys.exit(7)"))
        self.assertEqual(share.process.wait(60), 7)
        self.assertIn(f"https://shop.localhost:{self.edge.port} False", share.stdout())

    def test_a_command_that_is_not_there(self):
        share = self.start(command=("/nonexistent/app",))
        self.assertEqual(share.process.wait(60), 127)


class App(AgentTestCase):
    def test_it_is_started_and_found(self):
        share = self.start(command=(PYTHON, "-m", "http.server", "0", "--bind", "127.0.0.1"), cwd=self.folder)
        (self.folder / "hello.txt").write_text("hello")
        share.wait_event("app-up")
        got = self.edge.agent().visit("/hello.txt")
        self.assertEqual((got.status, got.body), (200, b"hello"))


class Telling(AgentTestCase):
    def test_the_address_comes_first(self):
        share = self.start(str(self.origin.port), "--name", "shop", "--path", "/start", json_=False)
        self.edge.agent().visit("/x?secret=1")
        share.wait_stderr(r"GET    /x  200  .*  192\.0\.2\.9")
        self.assertEqual(share.stdout().splitlines()[0], f"https://shop.localhost:{self.edge.port}/start")
        self.assertIn(f"port {self.origin.port} of this machine", share.stdout())
        self.assertNotIn("secret", share.stderr())
        share.wait_stderr("round trip to the edge")

    def test_usage_errors_say_what_to_do(self):
        for args, expected in ((["5000"], "lintel login"), (["5000", "--edge", "a b"], "t.example.com"),
                               (["--edge", "e.test"], "lintel share 5000"),
                               (["5000", "--edge", "e.test", "--name", "Up"], "--name shop"),
                               (["5000", "--edge", "e.test", "--path", "x"], "begins with /")):
            share = self.share(*args, ca=None, home="-".join(args).replace("/", "").replace(" ", ""))
            self.assertEqual(share.process.wait(30), 2, args)
            self.assertIn(expected, share.stderr(), args)
        without = self.share("5000", "--edge", "e.test", token=None, home="no-token")
        self.assertEqual(without.process.wait(30), 2)
        self.assertIn("lintel login e.test", without.stderr())


class Login(AgentTestCase):
    def login(self, *args, stdin=TOKEN + "\n"):
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        environment = dict(os.environ, HOME=str(home), XDG_CONFIG_HOME=str(home / "config"), NO_COLOR="1")
        return subprocess.run([LINTEL, "login", *args], input=stdin, capture_output=True, text=True, timeout=60,
                              env=environment)

    def test_a_token_that_is_kept_is_used(self):
        self.edge.script = lambda knock: knock.welcome() if knock.hello else knock.send(
            b"HTTP/1.1 204 No Content\r\n\r\n")
        done = self.login(f"localhost:{self.edge.port}", "--ca-file", self.ca.cert)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        self.assertEqual(self.edge.knock().headers["authorization"], f"Bearer {TOKEN}")
        file = self.folder / "home/config/lintel/edges.toml"
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        self.assertNotIn(TOKEN, done.stdout)
        share = self.share(str(self.origin.port), ca=None, token=None)
        share.wait_event("connected")
        self.assertEqual(self.edge.knock().headers["authorization"], f"Bearer {TOKEN}")

    def test_a_token_that_the_edge_does_not_know_is_not_kept(self):
        self.edge.script = lambda knock: knock.refuse("token-refused", "the token is unknown", 401, final=True)
        done = self.login(f"localhost:{self.edge.port}", "--ca-file", self.ca.cert)
        self.assertEqual(done.returncode, 1)
        self.assertIn("the token is unknown", done.stderr)
        self.assertFalse((self.folder / "home/config/lintel/edges.toml").exists())

    def test_an_edge_that_is_away_does_not_stop_it(self):
        self.edge.stop()
        done = self.login(f"localhost:{self.edge.port}", "--ca-file", self.ca.cert)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("could not be tried", done.stderr)

    def test_several_logins_and_none_named(self):
        for port in (1, 2):
            self.assertEqual(self.login(f"localhost:{port}").returncode, 0)
        share = self.share(str(self.origin.port), ca=None, token=None)
        self.assertEqual(share.process.wait(30), 2)
        self.assertIn("localhost:1, localhost:2", share.stderr())

    def test_what_is_no_token(self):
        for stdin in ("", "\n", "two words\n", "x" * 5000 + "\n"):
            done = self.login("localhost:1", stdin=stdin)
            self.assertEqual(done.returncode, 2, stdin[:20])
