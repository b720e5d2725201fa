"""`lintel trust` and `lintel cert` with real tools: NSS's certutil, OpenSSL's verifier. Nothing of this machine's own
stores is touched: HOME is temporary and the system store is a folder."""
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINTEL = os.environ.get("LINTEL_BIN") or str(ROOT / "build/release/lintel")


class TrustTestCase(unittest.TestCase):
    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="lintel-trust-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.system = self.home / "system"
        self.system.mkdir()
        self.ca = self.home / ".local/share/lintel/ca"
        # A Firefox profile as Firefox makes it: a database without a password.
        self.profile = self.home / ".mozilla/firefox/abcd.default-release"
        self.profile.mkdir(parents=True)
        self.tool("certutil", "-N", "-d", f"sql:{self.profile}", "--empty-password")

    def environment(self, **more):
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS")
                if name in os.environ}
        return {**kept, "HOME": str(self.home), **more}

    def lintel(self, *arguments, expect=0, env=None, cwd=None):
        done = subprocess.run([LINTEL, *map(str, arguments)], env=env or self.environment(), cwd=cwd or self.home,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, expect, f"{arguments}\n{done.stdout}\n{done.stderr}")
        return done

    def trust(self, *arguments, **keywords):
        return self.lintel("trust", *arguments, "--system-store", self.system, **keywords)

    def tool(self, *command, expect=0):
        done = subprocess.run(list(map(str, command)), env=self.environment(), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)
        if expect is not None:
            self.assertEqual(done.returncode, expect, f"{command}\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def roots_in(self, database):
        listed = self.tool("certutil", "-L", "-d", f"sql:{database}")
        return [line for line in listed.splitlines() if line.startswith("Lintel local root")]

    def verify(self, leaf, purpose="sslserver"):
        return self.tool("openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", self.ca / "root.pem",
                         "-untrusted", self.ca / "intermediate.pem", leaf, expect=None)


class Install(TrustTestCase):
    def test_install_status_uninstall(self):
        before = json.loads(self.trust("status", "--json", expect=1).stdout)
        self.assertIsNone(before["root"])
        self.assertFalse(self.ca.exists(), "asking must not create anything")

        said = self.trust("install").stdout
        self.assertIn(str(self.profile), said)
        self.assertIn("NODE_EXTRA_CA_CERTS", said)
        self.assertEqual(len(self.roots_in(self.profile)), 1)
        self.assertRegex(self.roots_in(self.profile)[0], r"C,,\s*$")
        self.tool("certutil", "-V", "-d", f"sql:{self.profile}", "-u", "L", "-n",
                  re.sub(r"\s+C,,\s*$", "", self.roots_in(self.profile)[0]))
        files = list(self.system.iterdir())
        self.assertEqual([f.read_bytes() for f in files], [(self.ca / "root.pem").read_bytes()])

        status = json.loads(self.trust("status", "--json").stdout)
        self.assertTrue(all(store["trusted"] for store in status["stores"]), status)
        self.assertIn("trusted", self.trust("status").stdout)
        again = self.trust("install").stdout
        self.assertIn("already trusted", again)
        self.assertEqual(len(self.roots_in(self.profile)), 1, "a second install must not pile up roots")

        self.trust("uninstall")
        self.assertEqual(self.roots_in(self.profile), [])
        self.assertEqual(list(self.system.iterdir()), [])
        self.assertFalse(self.ca.exists(), "the key that could sign must not outlive the trust")
        self.trust("uninstall")

    def test_chromium_database_is_made_when_chromium_is_there_and_has_none(self):
        self.trust("install")
        database = self.home / ".pki/nssdb"
        if shutil.which("chromium") is None:
            self.assertFalse(database.exists())
            return
        self.assertEqual(len(self.roots_in(database)), 1)
        self.assertEqual(stat.S_IMODE(database.stat().st_mode), 0o700)

    def test_the_one_store_that_lost_the_root_is_named(self):
        self.trust("install")
        nickname = re.sub(r"\s+C,,\s*$", "", self.roots_in(self.profile)[0])
        self.tool("certutil", "-D", "-d", f"sql:{self.profile}", "-n", nickname)
        status = json.loads(self.trust("status", "--json", expect=1).stdout)
        self.assertEqual([store["place"] for store in status["stores"] if not store["trusted"]], [str(self.profile)])
        self.trust("install")
        self.trust("status")

    def test_adding_a_name_replaces_the_root_everywhere(self):
        self.trust("install")
        first = (self.ca / "root.pem").read_bytes()
        self.trust("install", "--name", "dev.example.com")
        self.assertNotEqual((self.ca / "root.pem").read_bytes(), first)
        self.assertEqual(len(self.roots_in(self.profile)), 1, "the old root must not stay trusted")
        self.assertEqual([f.read_bytes() for f in self.system.iterdir()], [(self.ca / "root.pem").read_bytes()])
        self.trust("install", "--name", "other.example.org")
        self.lintel("cert", "new", "a.dev.example.com", "other.example.org")

    def test_a_whole_top_level_domain_is_refused(self):
        refused = self.trust("install", "--name", "com", expect=2).stderr
        self.assertRegex(refused, r"^lintel: cannot let the local CA sign for com: .*top-level domain; ")
        self.assertFalse(self.ca.exists())

    def test_damaged_authority_is_reported_not_replaced(self):
        self.trust("install")
        (self.ca / "intermediate.pem").write_text("damaged")
        key = (self.ca / "intermediate-key.pem").read_bytes()
        said = self.trust("install", expect=2).stderr
        self.assertIn("intermediate.pem", said)
        self.assertIn("lintel trust uninstall", said)
        self.assertEqual((self.ca / "intermediate-key.pem").read_bytes(), key)
        self.trust("uninstall")
        self.trust("install")

    def test_under_sudo_everything_belongs_to_the_calling_user(self):
        # A root-owned CA folder would be unusable for `lintel dev` without sudo.
        data = self.home / "data"
        data.mkdir()
        env = self.environment(XDG_DATA_HOME=str(data))
        owner = os.geteuid()
        if owner == 0:
            owner = 65534
            os.chown(data, owner, owner)
            os.chmod(self.home, 0o755)
            os.chown(self.system, owner, owner)
            env.update(SUDO_UID=str(owner), SUDO_GID=str(owner), SUDO_USER="nobody")
            # A process that has changed its user cannot be traced, so LeakSanitizer cannot look at it.
            env.update(ASAN_OPTIONS="detect_leaks=0")
        self.trust("install", env=env)
        made = [data / "lintel", *(data / "lintel").rglob("*")]
        self.assertGreaterEqual(len(made), 5)
        self.assertEqual({path.stat().st_uid for path in made}, {owner})


class Constraints(TrustTestCase):
    def setUp(self):
        super().setUp()
        self.trust("install")

    def forge(self, name):
        """A certificate for `name` as somebody makes it who has stolen the key that is on disk."""
        key, request, leaf, extensions = (self.home / f"forged.{end}" for end in ("key", "csr", "pem", "ext"))
        kind = "IP" if re.fullmatch(r"[0-9.]+|.*:.*", name) else "DNS"
        extensions.write_text(f"subjectAltName={kind}:{name}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n"
                              "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nkeyUsage=digitalSignature\n")
        self.tool("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                  "-out", request, "-subj", "/O=thief")
        self.tool("openssl", "x509", "-req", "-in", request, "-CA", self.ca / "intermediate.pem", "-CAkey",
                  self.ca / "intermediate-key.pem", "-days", "1", "-extfile", extensions, "-out", leaf)
        return leaf

    def test_stolen_key_cannot_impersonate_other_sites(self):
        for name in ("example.com", "localhost.evil.com", "notest", "192.168.0.1", "2001:db8::1"):
            with self.subTest(name):
                self.assertIn("permitted subtree violation", self.verify(self.forge(name)))

    def test_the_same_forgery_for_local_names_would_pass(self):
        # So that the test above fails for the constraint and not for a mistake in the forgery.
        for name in ("app.localhost", "x.test", "127.0.0.1", "::1"):
            with self.subTest(name):
                self.assertIn(": OK", self.verify(self.forge(name)))

    def test_stolen_key_cannot_sign_mail_or_code(self):
        leaf = self.forge("app.test")
        self.assertNotIn(": OK", self.verify(leaf, "smimesign"))

    def test_nss_enforces_the_constraints_too(self):
        for name, fine in (("app.localhost", True), ("example.com", False)):
            with self.subTest(name):
                leaf = self.forge(name)
                with tempfile.TemporaryDirectory() as database:
                    self.tool("certutil", "-N", "-d", f"sql:{database}", "--empty-password")
                    for nick, flags, file in (("root", "C,,", self.ca / "root.pem"),
                                              ("between", ",,", self.ca / "intermediate.pem"), ("leaf", ",,", leaf)):
                        self.tool("certutil", "-A", "-d", f"sql:{database}", "-n", nick, "-t", flags, "-i", file)
                    verdict = self.tool("certutil", "-V", "-d", f"sql:{database}", "-u", "V", "-n", "leaf", expect=None)
                    self.assertEqual("certificate is valid" in verdict, fine, verdict)

    def test_no_root_key_on_disk(self):
        root_public = self.tool("openssl", "x509", "-in", self.ca / "root.pem", "-noout", "-pubkey")
        keys = []
        for path in self.home.rglob("*"):
            if not path.is_file() or b"PRIVATE KEY" not in path.read_bytes():
                continue
            keys.append(path)
            self.assertNotEqual(self.tool("openssl", "pkey", "-in", path, "-pubout"), root_public)
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(keys, [self.ca / "intermediate-key.pem"])
        self.assertEqual(stat.S_IMODE(self.ca.stat().st_mode), 0o700)


class Cert(TrustTestCase):
    def test_new_list_show(self):
        made = json.loads(self.lintel("cert", "new", "my-app.test", "*.my-app.test", "127.0.0.1", "--json").stdout)
        certificate, key = self.home / made["certificate"], self.home / made["key"]
        self.assertEqual(made["names"], ["my-app.test", "*.my-app.test", "127.0.0.1"])
        self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)
        self.assertIn(": OK", self.verify(certificate))
        for name in ("my-app.test", "a.my-app.test"):
            self.tool("openssl", "verify", "-verify_hostname", name, "-CAfile", self.ca / "root.pem", "-untrusted",
                      certificate, certificate)
        listed = json.loads(self.lintel("cert", "list", "--json").stdout)["certificates"]
        self.assertEqual([one["names"][0] for one in listed], ["my-app.test"])
        shown = json.loads(self.lintel("cert", "show", "my-app.test", "--json").stdout)
        self.assertFalse(shown["expired"])
        serial = self.tool("openssl", "x509", "-in", certificate, "-noout", "-serial").strip().split("=")[1]
        self.assertEqual(shown["serial"], serial)
        self.assertIn("my-app.test", self.lintel("cert", "show", certificate).stdout)

    def test_an_existing_file_is_kept_unless_forced(self):
        self.lintel("cert", "new", "a.test")
        before = (self.home / "a.test-key.pem").read_bytes()
        self.assertIn("--force", self.lintel("cert", "new", "a.test", expect=2).stderr)
        self.assertEqual((self.home / "a.test-key.pem").read_bytes(), before)
        self.lintel("cert", "new", "a.test", "--force")
        self.assertNotEqual((self.home / "a.test-key.pem").read_bytes(), before)

    def test_names_beyond_the_constraints_say_what_to_do(self):
        said = self.lintel("cert", "new", "app.example.com", expect=2).stderr
        self.assertIn("lintel trust install --name app.example.com", said)
        self.assertEqual(list(self.home.glob("*.pem")), [])

    def test_rsa_days_and_folder(self):
        (self.home / "out").mkdir()
        self.lintel("cert", "new", "old.test", "--key", "rsa", "--days", "2", "--out", "out")
        text = self.tool("openssl", "x509", "-in", self.home / "out/old.test.pem", "-noout", "-text")
        self.assertIn("2048 bit", text)
        self.tool("openssl", "x509", "-in", self.home / "out/old.test.pem", "-noout", "-checkend", str(3 * 86400),
                  expect=1)

    def test_usage_errors_are_exit_2_and_missing_things_exit_3(self):
        self.lintel("cert", "new", expect=2)
        self.lintel("cert", "new", "a.test", "--days", "0", expect=2)
        self.lintel("cert", "new", "a.test", "--days", "91", expect=2)
        self.lintel("cert", "new", "a.test", "--key", "dsa", expect=2)
        self.lintel("cert", "new", "a/../b.test", expect=2)
        self.lintel("cert", "show", "nothing.pem", expect=3)
        self.lintel("cert", "new", "a.test", "--out", "nowhere", expect=3)

    def test_control_octets_of_a_certificate_do_not_reach_the_terminal(self):
        # A certificate from somebody else may say anything in its subject.
        key, certificate = self.home / "x.key", self.home / "x.pem"
        self.tool("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8",
                  "-keyout", key, "-out", certificate, "-days", "1", "-subj", "/CN=\x1b[31mred")
        for arguments in (("show", certificate), ("show", certificate, "--json")):
            self.assertNotIn("\x1b", self.lintel("cert", *arguments).stdout)

    def test_help_has_examples(self):
        for command in (("trust",), ("trust", "install"), ("trust", "uninstall"), ("trust", "status"), ("cert",),
                        ("cert", "new"), ("cert", "list"), ("cert", "show")):
            self.assertIn("Example: lintel", self.lintel(*command, "--help").stdout, command)


if __name__ == "__main__":
    unittest.main()
