"""Who the client is: every example row through `lintel resolve`."""
from forwarded_rows import C, HOP, ROWS, RULES, SERVED, STRANGER
from lintel_test import *

FLAGS = {"peers": "--trust"}


def rule_flags(rules):
    flags = []
    for rule in rules:
        for key, value in rule.items():
            flag = FLAGS.get(key, "--" + key.replace("_", "-"))
            flags += [flag, ",".join(value) if isinstance(value, list) else str(value)]
    return flags


def resolve(lines, *flags, raw=None):
    text = raw if raw is not None else "".join(f"{name}: {value}\n" for name, value in lines)
    done = subprocess.run([LINTEL, "resolve", *flags], input=text.encode(), capture_output=True, timeout=60)
    if done.returncode not in (0, 1):
        raise AssertionError(f"resolve {flags}: exit {done.returncode}: {done.stderr.decode()}")
    result = json.loads(done.stdout)
    if (result["status"] == 200) != (done.returncode == 0):
        raise AssertionError(f"status {result['status']} with exit {done.returncode}")
    return result


class Resolve(unittest.TestCase):
    maxDiff = None

    def test_a_served_wildcard_is_exactly_one_label_as_in_the_library(self):
        for host, status in (("a.app.example", 200), ("app.example", 421), ("b.a.app.example", 421), ("aapp.example", 421)):
            with self.subTest(host):
                self.assertEqual(resolve([("Host", host)], "--peer", "192.0.2.7", "--served", "*.app.example")["status"], status)

    def ask(self, row):
        listener = "https:443" if row["listener"] == "S" else "http:80"
        return resolve(row["lines"], "--listener", listener, "--peer", row["peer"], "--served", ",".join(SERVED),
                       *rule_flags(RULES[row["rule"]]))

    def test_the_example_of_the_help_text(self):
        result = resolve([("X-Forwarded-For", "1.2.3.4"), ("Host", "app.ex")], "--listener", "https:443", "--peer",
                         "10.0.0.2", "--trust", "10.0.0.0/8", "--source", "x-forwarded", "--accept", "for,proto")
        self.assertEqual({key: result[key] for key in ("status", "scheme", "host", "port", "client", "client_port",
                                                       "peer", "trusted")},
                         {"status": 200, "scheme": "https", "host": "app.ex", "port": 443, "client": "1.2.3.4",
                          "client_port": None, "peer": "10.0.0.2", "trusted": True})
        self.assertEqual(result["upstream_headers"][0], ["X-Forwarded-For", "1.2.3.4"])

    def test_notes_explain_each_step(self):
        trusted = resolve([("Host", "app.ex"), ("X-Forwarded-For", f"{C}, 10.0.0.7"), ("Forwarded", "for=6.6.6.6")],
                          "--peer", HOP, "--trust", "10.0.0.0/8")
        self.assertIn("10.0.0.7 is trusted, going on left", trusted["notes"])
        self.assertIn("Forwarded ignored: the rule does not read it", trusted["notes"])
        stranger = resolve([("Host", "app.ex"), ("X-Forwarded-Proto", "https")], "--peer", STRANGER, "--trust", "10.0.0.0/8")
        self.assertIn(f"X-Forwarded-Proto ignored: peer {STRANGER} is not trusted", stranger["notes"])

    def test_proxy_protocol(self):
        """Rows 68 to 70: the header replaces the peer, and then the rules look at that one."""
        flags = ["--listener", "http:80", "--peer", HOP, "--proxy-protocol", "10.0.0.0/8"]
        head = "Host: app.ex\r\n"
        self.assertEqual(resolve(None, *flags, raw=f"PROXY TCP4 {C} 10.0.0.1 56324 443\r\n{head}")["client"], C)
        self.assertEqual(resolve(None, *flags, raw=f"PROXY UNKNOWN\r\n{head}")["client"], HOP)
        wrong = resolve(None, *flags, raw=f"PROXY TCP4 203.0.113.999 10.0.0.1 56324 443\r\n{head}")
        self.assertEqual((wrong["status"], wrong["error"]), (400, "proxy-protocol-invalid"))
        everyone = [*flags[:-1], "0.0.0.0/0"]  # a listener may ask everybody: serve only warns
        self.assertEqual(resolve(None, *everyone, raw=f"PROXY TCP4 {C} 10.0.0.1 56324 443\r\n{head}")["client"], C)
        flags[3] = STRANGER
        foreign = resolve(None, *flags, raw=f"PROXY TCP4 {C} 10.0.0.1 56324 443\r\n{head}")
        self.assertEqual((foreign["status"], foreign["error"]), (400, "proxy-protocol-invalid"))

    def test_public_ports_and_emitted_variants(self):
        result = resolve([("Host", "app.ex:8080")], "--peer", C, "--public-port", "8080", "--emit", "forwarded,x-scheme")
        self.assertEqual((result["host"], result["port"]), ("app.ex", 8080))
        headers = dict(map(tuple, result["upstream_headers"]))
        self.assertEqual(headers["Forwarded"], f'for={C};proto=https;host="app.ex:8080"')
        self.assertEqual((headers["X-Scheme"], headers["X-Forwarded-Host"], headers["X-Forwarded-Port"]),
                         ("https", "app.ex:8080", "8080"))

    def test_wrong_use_is_told(self):
        for flags, sentence in [(["--peer", "10.0.0"], "neither an address"),
                                (["--peer", C, "--trust", "10.0.0.1/8"], "bits set beyond its length"),
                                (["--peer", C, "--trust", "0.0.0.0/0"], "i_know"),
                                (["--peer", C, "--hops", "1"], "peers is empty"),
                                (["--peer", C, "--preset", "cloudflare", "--trust", "198.51.100.0/24"], "published"),
                                (["--peer", C, "--preset", "cloudflair"], "did you mean \"cloudflare\""),
                                (["--peer", C, "--listener", "ftp:21"], "--listener"),
                                (["--peer", C, "--proxy-protocol", "10.0.0.1/8"], "--proxy-protocol 10.0.0.1/8"),
                                ([], "--peer")]:
            done = subprocess.run([LINTEL, "resolve", *flags], input=b"Host: a\n", capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 2, flags)
            self.assertIn(sentence, done.stderr.decode(), flags)


def add_resolve_row(one):
    def test(self):
        result = self.ask(one)
        if one["code"]:
            self.assertEqual((result["status"], result["error"]), (one["expected"], one["code"]), result)
            return
        self.assertEqual(result["status"], 200, result)
        self.assertEqual({key: result.get(key) for key in one["expected"]}, one["expected"], result["notes"])
        # Whatever was managed in the request is gone; what the app gets is one fresh line each.
        names = [name for name, _ in result["upstream_headers"]]
        self.assertEqual(len(names), len(set(names)))
        written = {"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Real-IP", "Host",
                   *(["X-Forwarded-Prefix"] if "prefix" in one["expected"] else [])}
        self.assertEqual(set(names), written)
        for name, _ in one["lines"]:
            if name not in ("Host", "Connection", "Upgrade"):
                self.assertIn(name, result["removed"])
    setattr(Resolve, f"test_row_{one['number']}", test)


for one_row in ROWS:
    add_resolve_row(one_row)
