"""Who may share through an edge: `lintel edge token`, ban and revoke, what a running edge makes of them, and what its
status, metrics and log say about agents."""
from lintel_test import *
from small_agent import Refused, SmallAgent

DOMAIN = "t.localhost"


class EdgeCase(unittest.TestCase):
    """One edge for the class."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.ca = CertificateAuthority(cls.folder / "ca")
        cert, key = cls.ca.issue(DOMAIN, "*." + DOMAIN)
        cls.tokens = cls.folder / "tokens.toml"
        cls.metrics = free_port()
        cls.lintel = Serve(cls.folder, [], {"metrics": f"127.0.0.1:{cls.metrics}", "user": ""}, wait=False)
        cls.lintel.stop()
        edge = f'\n[edge]\ndomain = "{DOMAIN}"\ntokens = "tokens.toml"\nhold = "2s"\n' \
               f'certificate = {{ file = "{cert}", key = "{key}" }}\n'
        cls.lintel.config_path.write_text(cls.lintel.config_path.read_text() + edge)
        cls.lintel.stderr_path.write_text("")
        Lintel.__init__(cls.lintel, ["serve", "-c", str(cls.lintel.config_path)], cls.folder)
        cls.lintel.wait_listening(cls.lintel.https)
        cls.addClassCleanup(cls.stop)

    @classmethod
    def stop(cls):
        cls.lintel.stop()
        cls.lintel.check_sanitizers()

    def edge(self, *args, code=0):
        done = subprocess.run([LINTEL, "edge", *args, "--file", str(self.tokens)], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def change(self, *args):
        """The command, and until the edge has read what it wrote."""
        before = self.lintel.stderr().count("tokens.toml: ")
        done = self.edge(*args)
        wait_until(lambda: self.lintel.stderr().count("tokens.toml: ") > before, "the edge to read its tokens")
        return done

    def token(self, name, *options):
        return self.change("token", "new", "--name", name, *options).stdout.strip()

    def agent(self, token, name="", **hello):
        agent = SmallAgent(self.lintel.https, DOMAIN, token, name, ca=self.ca.cert, **hello)
        self.addCleanup(agent.close)
        return agent

    def status(self):
        code, out, err = self.lintel.command("status", "--json")
        self.assertEqual(code, 0, err)
        return json.loads(out)["agents"]

    def shares(self):
        return {one["share"]: one for one in self.status()}

    def visit(self, name, path="/"):
        with RawClient(self.lintel.https, tls=True, sni=f"{name}.{DOMAIN}") as client:
            return client.request(get(path, host=f"{name}.{DOMAIN}:{self.lintel.https}"))


class Commands(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(temp_folder())
        self.file = self.folder / "tokens.toml"

    def edge(self, *args, code=0, place=True):
        place = ["--file", str(self.file)] if place else []
        done = subprocess.run([LINTEL, "edge", *args, *place], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=60)
        self.assertEqual(done.returncode, code, done.stderr + done.stdout)
        return done

    def test_new_prints_the_token_once_and_keeps_its_hash_only(self):
        done = self.edge("token", "new", "--name", "laptop", "--allow", "app,app-*", "--expires", "90d")
        token = done.stdout.strip()
        self.assertRegex(token, r"^lt_[a-z2-7]{8}_[A-Za-z0-9_-]{43}$")
        self.assertEqual(done.stdout, token + "\n", "a script takes stdout for the token")
        self.assertNotIn(token, done.stderr)
        text = self.file.read_text()
        self.assertNotIn(token[12:], text, "whoever reads the file or its backup could share")
        self.assertIn('allow = ["app", "app-*"]', text)
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        listed = json.loads(self.edge("token", "list", "--json").stdout)["tokens"]
        self.assertEqual([(one["name"], one["state"], one["allow"]) for one in listed],
                         [("laptop", "valid", ["app", "app-*"])])
        self.assertNotIn(token[12:], json.dumps(listed))
        self.assertAlmostEqual(listed[0]["expires"] - listed[0]["created"], 90 * 86400, delta=5)

    def test_json_has_the_token_for_programs(self):
        made = json.loads(self.edge("token", "new", "--name", "ci", "--no-tcp", "--json").stdout)
        self.assertTrue(made["token"].startswith("lt_" + made["id"]))
        self.assertFalse(made["tcp"])

    def test_two_commands_at_once_lose_no_token(self):
        names = [f"t{i}" for i in range(12)]
        running = [subprocess.Popen([LINTEL, "edge", "token", "new", "--name", name, "--file", str(self.file)],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for name in names]
        self.assertEqual([one.wait(60) for one in running], [0] * len(names))
        listed = json.loads(self.edge("token", "list", "--json").stdout)["tokens"]
        self.assertEqual(sorted(one["name"] for one in listed), sorted(names))

    def test_ban_and_revoke(self):
        self.edge("token", "new", "--name", "laptop")
        self.assertIn('the token "laptop" is banned', self.edge("ban", "laptop").stdout)
        self.assertIn('the name "paypal" is banned', self.edge("ban", "paypal").stdout)
        self.assertIn('the name "laptop" is banned', self.edge("ban", "laptop", "--share-name").stdout)
        listed = json.loads(self.edge("token", "list", "--json").stdout)
        self.assertEqual((listed["tokens"][0]["state"], listed["banned_names"]), ("banned", ["laptop", "paypal"]))
        self.edge("unban", "laptop")
        self.edge("unban", "paypal")
        listed = json.loads(self.edge("token", "list", "--json").stdout)
        self.assertEqual((listed["tokens"][0]["state"], listed["banned_names"]), ("valid", ["laptop"]))
        self.edge("token", "revoke", listed["tokens"][0]["id"])
        self.assertEqual(json.loads(self.edge("token", "list", "--json").stdout)["tokens"], [])

    def test_mistakes_say_what_to_do(self):
        self.edge("token", "new", "--name", "laptop")
        for args, said in ((("token", "new", "--name", "laptop"), "already"),
                           (("token", "new", "--name", "a b"), "no name for a token"),
                           (("token", "new", "--name", "x", "--allow", "a.b"), "no name of a share"),
                           (("token", "new", "--name", "x", "--allow", "App"), "no name of a share"),
                           (("token", "new", "--name", "x", "--expires", "soon"), "as in 90d"),
                           (("token", "revoke", "other"), "no token \"other\""),
                           (("unban", "other"), "is banned"),
                           (("ban", "Not.A.Name"), "neither")):
            self.assertIn(said, self.edge(*args, code=2).stderr, args)
        whole = "lt_abcdefgh_" + "s" * 43
        self.assertNotIn("sss", self.edge("token", "revoke", whole, code=2).stderr, "a secret would be in a log")
        config = self.folder / "lintel.toml"
        config.write_text('[[site]]\nhosts = "a.test"\nto = "8000"\ncertificate = "local"\n')
        self.assertIn("has no [edge]", self.edge("token", "list", "-c", str(config), code=2, place=False).stderr)
        self.file.write_text("[[token]\n")
        self.assertIn("tokens.toml:1:9", self.edge("token", "new", "--name", "x", code=2).stderr)
        self.assertEqual(self.file.read_text(), "[[token]\n", "a file that is not understood would be lost")

    def test_check_says_what_is_wrong_with_an_edge(self):
        def check(edge, *, tokens=""):
            config = self.folder / "lintel.toml"
            config.write_text('[server]\nhttps = "127.0.0.1:8443"\nhttp = []\n[edge]\ndomain = "t.example.com"\n'
                              'tokens = "tokens.toml"\n' + edge)
            self.file.write_text(tokens)
            done = subprocess.run([LINTEL, "check", "-c", str(config)], capture_output=True, text=True, timeout=60)
            return done.returncode, done.stdout + done.stderr
        code, said = check("[acme]\nagree = true\n")
        self.assertEqual(code, 2)
        self.assertIn("lintel.toml:5:10", said)
        self.assertIn("dns-01", said)
        self.assertIn("weekly limits", said)
        code, said = check('certificate = "self-signed"\n[[site]]\nhosts = "example.com"\nto = "8000"\n'
                           'certificate = "self-signed"\n')
        self.assertEqual(code, 0, said)
        self.assertIn("lies under the site", said)
        code, said = check('certificate = "self-signed"\n', tokens="[[token]]\nname = 1\n")
        self.assertEqual(code, 2)
        self.assertIn("tokens.toml:1:1: this token has no", said)
        for name in ("one", "two"):
            self.file.unlink(missing_ok=True) if name == "one" else None
            self.edge("token", "new", "--name", name)
        code, said = check('certificate = "self-signed"\n', tokens=self.file.read_text())
        self.assertEqual(code, 0, said)
        self.assertIn("Public Suffix List", said)


class Running(EdgeCase):
    def test_a_revoked_token_is_cut_within_a_second_and_stays_out(self):
        token = self.token("cut")
        agent = self.agent(token, "cut")
        self.assertEqual(agent.welcome["url"], f"https://cut.{DOMAIN}:{self.lintel.https}")
        wait_until(lambda: self.shares().get("cut", {}).get("connected"), "the agent in lintel status")
        self.assertEqual(self.visit("cut").body, b"hello")
        self.edge("token", "revoke", "cut")
        self.assertTrue(agent.cut.wait(15), "the agent of a revoked token is still there")
        with self.assertRaises(Refused) as refused:
            self.agent(token, "cut", session=agent.welcome["session"], secret=agent.welcome["secret"])
        self.assertEqual((refused.exception.status, refused.exception.error), (401, "token-refused"))
        self.assertTrue(refused.exception.refusal["final"])
        self.assertNotIn("cut", self.shares())
        self.assertEqual(self.visit("cut").status, 503)

    def test_a_ban_cuts_and_unban_lets_in(self):
        token = self.token("banned")
        agent = self.agent(token, "banned")
        self.edge("ban", "banned")
        self.assertTrue(agent.cut.wait(15))
        with self.assertRaises(Refused) as refused:
            self.agent(token, "banned")
        self.assertIn("banned at this edge", refused.exception.refusal["message"])
        self.change("unban", "banned")
        agent = self.agent(token, "banned")
        self.edge("ban", "banned", "--share-name")
        self.assertTrue(agent.cut.wait(15))

    def test_names_are_kept_from_other_tokens(self):
        first, second = self.token("first", "--allow", "mine,ours-*"), self.token("second")
        self.agent(first, "mine")
        with self.assertRaises(Refused) as refused:
            self.agent(second, "mine")
        self.assertEqual((refused.exception.status, refused.exception.error), (409, "share-name-taken"))
        self.assertNotIn("first", json.dumps(refused.exception.refusal))
        with self.assertRaises(Refused) as refused:
            self.agent(first, "theirs")
        self.assertEqual((refused.exception.status, refused.exception.error), (403, "share-name-refused"))
        self.assertIn("mine, ours-*", refused.exception.refusal["message"])
        self.assertTrue(self.agent(first).welcome["name"].startswith("ours-"))

    def test_status_metrics_and_logs_name_the_agent_but_no_secret(self):
        token = self.token("seen")
        agent = self.agent(token, "seen")
        wait_until(lambda: self.shares().get("seen", {}).get("connected"), "the agent in lintel status")
        for _ in range(3):
            self.assertEqual(self.visit("seen", "/page").status, 200)
        one = wait_until(lambda: next((s for s in self.status() if s["share"] == "seen" and s["requests"] == 3
                                       and s["streams"] == 0), None), "three requests in lintel status")
        self.assertEqual(one["bytes_out"], 15)
        self.assertEqual((one["token"], one["kind"], one["legs"], one["address"], one["software"]),
                         ("seen", "http", 1, "127.0.0.1", "test/1"))
        code, out, _ = self.lintel.command("status")
        self.assertEqual(code, 0)
        row = next(line for line in out.splitlines() if line.split()[:1] == ["seen"])
        self.assertIn(f"https://seen.{DOMAIN}:{self.lintel.https}", row)
        with RawClient(self.metrics, tls=False) as client:
            page = client.request(get("/metrics", host=f"127.0.0.1:{self.metrics}")).body.decode()
        self.assertIn('lintel_share_connected{share="seen",token="seen"} 1', page)
        self.assertIn('lintel_share_requests_total{share="seen",token="seen"} 3', page)
        self.assertIn('lintel_share_reconnects_total{share="seen",token="seen"} 0', page)
        line = self.lintel.wait_log(lambda one: one.get("share") == "seen")
        self.assertEqual((line["token"], line["status"]), ("seen", 200))
        agent.close()
        wait_until(lambda: "share seen: the agent of seen from 127.0.0.1 has gone" in self.lintel.stderr(), "the log to say so")
        said = self.lintel.stderr() + self.lintel.access_log_path.read_text() + page + out
        self.assertIn("share seen: an agent of seen has come from 127.0.0.1", said)
        for secret in (token, token[12:], agent.welcome["secret"], agent.welcome["session"]):
            self.assertNotIn(secret, said)

    def test_an_agent_that_is_lost_is_away_for_hold_and_comes_back_with_its_secret(self):
        token = self.token("holds")
        agent = self.agent(token, "holds")
        wait_until(lambda: self.shares().get("holds", {}).get("connected"), "the agent in lintel status")
        agent.close()
        wait_until(lambda: not self.shares().get("holds", {}).get("connected", True), "the edge to miss it")
        back = self.agent(token, "holds", session=agent.welcome["session"], secret=agent.welcome["secret"], generation=1)
        self.assertEqual(back.welcome["session"], agent.welcome["session"])
        wait_until(lambda: self.shares()["holds"]["connected"], "the agent to be back")
        self.assertEqual(self.shares()["holds"]["reconnects"], 1)
        self.assertEqual(self.visit("holds").status, 200)


class WrongTokens(EdgeCase):
    def test_wrong_tokens_are_limited_by_address_and_lock_nobody_out(self):
        token = self.token("right")
        seen = []
        for _ in range(14):
            with self.assertRaises(Refused) as refused:
                self.agent("lt_aaaaaaaa_" + "a" * 43, "x")
            seen.append(refused.exception.status)
        self.assertIn(429, seen)
        self.assertEqual(seen[0], 401)
        self.agent(token, "right")


if __name__ == "__main__":
    unittest.main()
