"""`lintel check`: what it prints and which exit code scripts get. A file that passes here must be one that serve takes,
and a mistake must be shown where it is, or people look for it in the wrong place."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINTEL = os.environ.get("LINTEL_BIN") or str(ROOT / "build/release/lintel")

SITE = """[[site]]
hosts = ["example.com"]
to = "http://127.0.0.1:8000"
certificate = "self-signed"
"""

# name: (file, line, column, a part of the message)
BAD = {
    "unknown key": (SITE + "hots = [\"a\"]\n", 5, 1, 'unknown key "hots" in [[site]]; did you mean "hosts"?'),
    "unknown table": ("[sever]\n" + SITE, 1, 2, 'did you mean "server"?'),
    "wrong type": ("[server]\nworkers = \"two\"\n" + SITE, 2, 11, "a whole number from 0 to 256, not a string"),
    "no unit": ("[server]\ntimeouts = { header = \"10\" }\n" + SITE, 2, 23, "a unit is missing"),
    "syntax": (SITE + "maintenance = yes\n", 5, 15, "not valid TOML"),
    "duplicate key": (SITE + "to = \"8000\"\n", 5, 1, "redefine"),
    "bad host": (SITE.replace("example.com", "exa mple.com"), 2, 10, "a space is not allowed in a host name"),
    "bad port": (SITE.replace("8000", "80000"), 3, 6, "the port must be a number from 1 to 65535"),
    "upstream with a path": (SITE.replace(":8000", ":8000/app"), 3, 6, "an upstream has no path"),
    "missing file": (SITE.replace('"self-signed"', '{ file = "no.pem", key = "no.key" }'), 4, 24, "No such file"),
    "later version": ("[acme]\nemail = \"me@example.com\"\n" + SITE, 1, 2,
                      '"acme" is known, but not available in this version'),
    "managed header": (SITE + "headers.request.set = { X-Forwarded-Proto = \"https\" }\n", 5, 25, "only Lintel writes it"),
    "preload": (SITE + "hsts = { max_age = \"30d\", preload = true }\n", 5, 27, "preload needs a max_age"),
    "unset variable": (SITE + "canonical = \"${LINTEL_E2E_ABSENT}\"\n", 5, 13, "LINTEL_E2E_ABSENT is not set"),
    "no site": ("[server]\nworkers = 1\n", None, None, "there is no site"),
    "no certificate": (SITE.replace('certificate = "self-signed"\n', ""), 1, 1, "this site needs a certificate"),
    "loop": ("[server]\nhttps = \":443\"\nhttp = \":8000\"\n" + SITE, 6, 6, "is Lintel's own listener"),
}


class Check(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-check-"))
        self.addCleanup(shutil.rmtree, self.folder, True)

    def check(self, text, *options):
        if text is not None:
            data = text if isinstance(text, bytes) else text.encode()
            (self.folder / "lintel.toml").write_bytes(data)
        environment = {key: value for key, value in os.environ.items() if key != "LINTEL_E2E_ABSENT"}
        return subprocess.run([LINTEL, "check", "-c", "lintel.toml", *options], cwd=self.folder, env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=30)

    def test_a_good_file(self):
        done = self.check(SITE)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(done.stdout, b"lintel.toml: fine: 1 site, 2 listeners, 1 file\n")

    def test_each_mistake_has_its_place_a_caret_and_exit_code_2(self):
        for name, (text, line, column, message) in BAD.items():
            with self.subTest(name):
                done = self.check(text)
                self.assertEqual((done.returncode, done.stdout), (2, b""), done.stderr)
                shown = done.stderr.decode().splitlines()
                self.assertIn(message, shown[0])
                self.assertTrue(shown[-1].startswith("lintel: lintel.toml is not valid: "), shown[-1])
                if line is None:
                    self.assertTrue(shown[0].startswith("lintel.toml: error: "), shown[0])
                    continue
                where = shown[0].split(" error: ")[0]
                self.assertEqual(where.split(":")[0:2], ["lintel.toml", str(line)], shown[0])
                if name != "duplicate key":  # its column is that of the TOML library
                    self.assertEqual(where, f"lintel.toml:{line}:{column}:")
                    self.assertEqual(shown[2].index("^"), 2 + column - 1)
                self.assertEqual(shown[1], "  " + text.splitlines()[line - 1])

    def test_all_mistakes_at_once(self):
        done = self.check("[server]\nworkers = -1\nusr = \"x\"\n" + SITE + "hsts = \"always\"\nbalance = \"least-conn\"\n")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr.count(b": error: "), 4)
        self.assertTrue(done.stderr.endswith(b"lintel: lintel.toml is not valid: 4 errors\n"), done.stderr)

    def test_warnings_alone_are_fine(self):
        done = self.check(SITE + '[[site.route]]\npath = "/a/*"\n[[site.route]]\npath = "/a/b"\n')
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"lintel.toml:8:1: warning: this route is never reached", done.stderr)
        self.assertEqual(done.stdout, b"lintel.toml: fine: 1 site, 2 listeners, 1 file, 1 warning\n")

    def test_trust_rules_are_counted(self):
        """Whoever added one wants to see that it was read."""
        done = self.check(SITE + '[[trust]]\npeers = ["10.0.0.2"]\nsource = "x-forwarded"\n')
        self.assertEqual(done.stdout, b"lintel.toml: fine: 1 site, 2 listeners, 1 file, 1 trust rule\n")

    def test_certificates_are_opened(self):
        """serve would refuse to start, or browsers would refuse the site: better to hear it before."""
        for name, host in (("a", "example.com"), ("b", "*.other.test")):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-days", "2", "-subj", "/CN=x", "-addext", f"subjectAltName=DNS:{host}",
                            "-keyout", self.folder / f"{name}.key", "-out", self.folder / f"{name}.pem"],
                           check=True, capture_output=True)
        site = SITE.replace('"self-signed"', '{ file = "%s", key = "%s" }')
        done = self.check(site % ("a.pem", "a.key"))
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        done = self.check(site % ("a.pem", "b.key"))
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertTrue(done.stderr.startswith(b"lintel.toml:4:15: error: "), done.stderr)
        done = self.check(site % ("a.key", "a.key"))
        self.assertEqual(done.returncode, 2, done.stderr)
        done = self.check((site % ("b.pem", "b.key")).replace('"example.com"', '"a.other.test", "a.b.other.test"'))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count(b"warning"), 1, done.stderr)
        self.assertIn(b"4:15: warning: the certificate is not for a.b.other.test: it names *.other.test", done.stderr)

    def test_included_files_are_named(self):
        (self.folder / "sites").mkdir()
        (self.folder / "sites/a.toml").write_text(SITE)
        (self.folder / "sites/b.toml").write_text(SITE.replace("example.com", "b.test"))
        done = self.check('include = ["sites/*.toml"]\n')
        self.assertEqual(done.stdout, b"lintel.toml: fine: 2 sites, 2 listeners, 3 files\n")
        (self.folder / "sites/b.toml").write_text(SITE)
        done = self.check(None)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b'sites/b.toml:2:10: error: the host "example.com" is there twice; the first is at sites/a.toml:2',
                      done.stderr)

    def test_a_file_that_is_not_there(self):
        done = self.check(None)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"lintel.toml: error: the file cannot be read: No such file or directory", done.stderr)

    def test_json_for_programs(self):
        done = self.check(SITE, "--json")
        self.assertEqual(done.returncode, 0)
        answer = json.loads(done.stdout)
        self.assertEqual((answer["ok"], answer["diagnostics"]), (True, []))
        self.assertEqual([os.path.basename(file) for file in answer["files"]], ["lintel.toml"])
        done = self.check(SITE + "hots = 1\n", "--json")
        self.assertEqual((done.returncode, done.stderr), (2, b""))
        answer = json.loads(done.stdout)
        self.assertFalse(answer["ok"])
        self.assertEqual([(d["severity"], d["file"], d["line"], d["column"]) for d in answer["diagnostics"]],
                         [("error", "lintel.toml", 5, 1)])

    def test_a_hostile_file_does_not_drive_the_terminal(self):
        """An administrator checks a file from elsewhere: escape sequences in it must stay text."""
        for text in (b'"\x1b[2J" = 1\n', b'"\\u001b]0;owned\\u0007" = 1\n', SITE.encode() + b'# \x1b[31m\nx = 1\n',
                     "\u202e = 1\n".encode(), b"\xff\x9b31m\n"):
            for options in ((), ("--json",)):
                with self.subTest(text, options=options):
                    done = self.check(text, *options)
                    self.assertEqual(done.returncode, 2)
                    output = done.stdout + done.stderr
                    self.assertNotIn(b"\x1b", output)
                    self.assertNotIn(b"\x9b", output)
                    self.assertNotIn("\u202e".encode(), output)

    def test_an_expanded_variable_is_not_shown(self):
        os.environ["LINTEL_E2E_SECRET"] = "hunter2 hunter2"
        self.addCleanup(os.environ.pop, "LINTEL_E2E_SECRET")
        done = self.check(SITE.replace("example.com", "${LINTEL_E2E_SECRET}"))
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"${LINTEL_E2E_SECRET}", done.stderr)
        self.assertNotIn(b"hunter2", done.stderr)

    def test_usage(self):
        done = subprocess.run([LINTEL, "check", "--no-such-option"], capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 2)
        done = subprocess.run([LINTEL, "check", "--help"], capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"Example: lintel check -c", done.stdout)


if __name__ == "__main__":
    unittest.main()
