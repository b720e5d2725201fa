"""hsts = "auto": the promise is made only after a day under a certificate that the machine's store trusts."""
from lintel_test import *

PROMISE = "max-age=2592000"


class HstsAuto(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.ca = CertificateAuthority(self.folder / "ca")
        self.cert = self.ca.issue("app.example", "app.test", "127.0.0.1")
        self.origin = Origin()
        self.addCleanup(self.origin.stop)
        self.names = self.folder / "state/hsts-names"

    def serve(self, store=None, **changes):
        site = {"hosts": ["app.example", "app.test", "127.0.0.1"], "to": [self.origin.url],
                "certificate": {"file": self.cert[0], "key": self.cert[1]}, **changes}
        env = {"SSL_CERT_FILE": store or self.ca.cert, "SSL_CERT_DIR": str(self.folder)}
        lintel = Serve(self.folder, [site], env=env)
        self.addCleanup(lintel.stop)
        return lintel

    def promise(self, lintel, host="app.example", sni=None, headers=()):
        with RawClient(lintel.https, tls=True, sni=sni or host) as client:
            return client.request(get("/", host=host, headers=headers)).get("strict-transport-security")

    def age(self, hours):
        """Moves what the file says into the past."""
        lines = self.names.read_text().splitlines()
        moved = [f"{int(line.split()[0]) - hours * 3600} {line.split()[1]}" for line in lines[1:]]
        self.names.write_text("\n".join([lines[0], *moved]) + "\n")

    def test_after_a_day(self):
        lintel = self.serve()
        self.assertIsNone(self.promise(lintel))
        wait_until(self.names.exists, "the name to be written down", 30)
        self.assertIn(" app.example\n", self.names.read_text())
        self.assertEqual(self.names.stat().st_mode & 0o777, 0o600)
        self.assertIsNone(self.promise(lintel))
        lintel.stop()
        self.age(23)
        lintel = self.serve()
        self.assertIsNone(self.promise(lintel))
        lintel.stop()
        self.age(2)
        lintel = self.serve()
        self.assertEqual(self.promise(lintel), PROMISE)
        self.assertIsNone(self.promise(lintel, "app.test"), "a developer's name")
        self.assertIsNone(self.promise(lintel, "127.0.0.1", sni="app.example"))
        with RawClient(lintel.http) as client:
            self.assertIsNone(client.request(get("/", host="app.example")).get("strict-transport-security"))
        self.origin.respond = lambda request: answer(headers=[("Strict-Transport-Security", "max-age=7")])
        self.assertEqual(self.promise(lintel), "max-age=7", "the app's own wins")

    def test_a_private_authority_promises_nothing(self):
        other = CertificateAuthority(self.folder / "other", "Another CA")
        lintel = self.serve(store=other.cert)
        self.assertIsNone(self.promise(lintel))
        lintel.stop()
        self.assertFalse(self.names.exists())

    def test_a_damaged_file_is_set_aside(self):
        self.names.parent.mkdir(mode=0o700)
        self.names.write_text("lintel hsts 1\n1 app.example\nrubbish\n")
        lintel = self.serve()
        self.assertIsNone(self.promise(lintel))
        self.assertIn("hsts-names is damaged; it is set aside as", lintel.stderr())
        self.assertTrue(list(self.names.parent.glob("hsts-names.damaged-*")))

    def test_off_is_off(self):
        self.names.parent.mkdir(mode=0o700)
        self.names.write_text("lintel hsts 1\n1 app.example\n")
        self.assertIsNone(self.promise(self.serve(hsts=False)))


if __name__ == "__main__":
    unittest.main()
