"""`lintel serve HOST --to URL`, without a file: which certificate a name gets, and who agrees to an issuer's terms."""
import pty

from acme_serve import served
from lintel_test import *
from origin import Origin
from pebble import Pebble


class WithoutFile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.pebble = cls.enterClassContext(Pebble(cls.folder / "pebble"))
        cls.origin = Origin()
        cls.addClassCleanup(cls.origin.stop)

    def command(self, host, *more, state="state", directory=None):
        return [LINTEL, "serve", *host.split(), "--to", self.origin.url, "--https", f"127.0.0.1:{self.pebble.tls_port}",
                "--http", f"127.0.0.1:{self.pebble.http_port}", "--directory", directory or self.pebble.directory,
                "--ca-file", str(self.pebble.ca_file), "--state", str(self.folder / state), *more]

    def started(self, command, **options):
        log = open(self.folder / f"{self.id()}.log", "ab")
        self.addCleanup(log.close)
        process = subprocess.Popen(command, stdout=log, **{"stdin": subprocess.DEVNULL, "stderr": log, **options})
        self.addCleanup(end_process, process)
        return process

    def wait_served(self, host):
        wait_until(lambda: served(host, self.pebble.tls_port, self.pebble.root()), f"{host} to be served", 60)

    @staticmethod
    def accepts(port):
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    def refused(self, command):
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertEqual(ran.returncode, 2, ran.stderr)
        return ran.stderr

    def test_a_public_name_gets_an_issuers_certificate_and_the_terms_are_agreed_to_once(self):
        said = self.refused(self.command("app.example.com", state="refused"))
        self.assertIn("--agree", said)
        self.assertFalse((self.folder / "refused").exists(), "without agreement nothing is begun")

        first = self.started(self.command("app.example.com", "--agree", "--email", "me@example.com"))
        self.wait_served("app.example.com")
        end_process(first)
        self.started(self.command("app.example.com"))  # a restart, where nobody is there to say it again
        self.wait_served("app.example.com")

    def test_on_a_terminal_it_asks(self):
        for answer, code in ((b"n\n", 2), (b"y\n", None)):
            main, other = pty.openpty()
            process = self.started(self.command("b.example.com", state=f"asked-{answer[:1].decode()}"), stdin=other,
                                   stderr=other)
            os.close(other)
            shown = b""
            while b"[y/N]" not in shown:
                shown += os.read(main, 4096)
            self.assertIn(b"127.0.0.1", shown, "the issuer is named")
            os.write(main, answer)
            if code is None:
                self.wait_served("b.example.com")
                end_process(process)
            else:
                self.assertEqual(process.wait(60), code)
            os.close(main)

    def test_names_that_no_public_issuer_signs_for(self):
        for host in ("app.test", "localhost", "127.0.0.1"):
            with self.subTest(host):
                port = self.pebble.tls_port
                process = self.started(self.command(host, state="local"))
                wait_until(lambda: self.accepts(port) or process.poll() is not None, "the listener", 30)
                self.assertIsNone(process.poll())
                end_process(process)
                self.assertFalse((self.folder / "local" / "accounts").exists(), "an issuer was asked for " + host)

    def test_mistakes(self):
        self.assertIn("a site for each", self.refused(self.command("app.test shop.example.com")))
        self.assertIn("choose acme, local or self-signed", self.refused(self.command("a.test", "--certificate", "x")))
        self.assertIn("no issuer", self.refused(self.command("shop.example.com", directory="nobody")))
        self.assertIn("dns-01", self.refused(self.command("*.shop.example.com", "--agree")))


if __name__ == "__main__":
    unittest.main()
