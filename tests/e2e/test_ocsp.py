"""OCSP stapling: certificates of an issuer (Pebble) that name a responder (`openssl ocsp`), seen by `openssl s_client`."""
from acme_serve import AcmeServe
from lintel_test import *
from pebble import Pebble


class Responder:
    """Knows what `index` (openssl's database) says when it starts; signs as the issuer."""

    def __init__(self, folder, port, pebble):
        self.folder, self.port = folder, port
        self.certificate, key = pebble.intermediate()
        (folder / "issuer.pem").write_text(self.certificate)
        (folder / "issuer.key").write_text(key)
        self.process = None

    def start(self, serial, state="V"):
        revoked = "250101000000Z,keyCompromise" if state == "R" else ""
        (self.folder / "index").write_text(f"{state}\t491231000000Z\t{revoked}\t{serial}\tunknown\t/CN=a.test\n")
        with open(self.folder / "responder.log", "ab") as log:
            self.process = subprocess.Popen(
                ["openssl", "ocsp", "-port", str(self.port), "-index", str(self.folder / "index"),
                 "-CA", str(self.folder / "issuer.pem"), "-rsigner", str(self.folder / "issuer.pem"),
                 "-rkey", str(self.folder / "issuer.key"), "-ndays", "4"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: "waiting for OCSP" in (self.folder / "responder.log").read_text()
                   or self.process.poll() is not None, "openssl ocsp", 60)

    def stop(self):
        if self.process is not None:
            end_process(self.process)


class Stapling(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, True)

    def status(self, lintel, root):
        (self.folder / "root.pem").write_text(root)
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{lintel.https}", "-servername", "a.test", "-status",
             "-CAfile", str(self.folder / "root.pem")], input="", capture_output=True, text=True, timeout=60)
        return shown.stdout

    def serial(self, certificate_der):
        text = subprocess.run(["openssl", "x509", "-inform", "der", "-noout", "-serial"], input=certificate_der,
                              capture_output=True, timeout=60, check=True).stdout.decode()
        return text.strip().removeprefix("serial=")

    def test_the_responders_answer_is_stapled_and_a_revoked_certificate_renewed(self):
        port = free_port()
        with Pebble(self.folder / "pebble", ocsp_url=f"http://127.0.0.1:{port}/") as pebble:
            responder, root = Responder(self.folder, port, pebble), pebble.root()
            self.addCleanup(responder.stop)
            with AcmeServe(self.folder / "lintel", pebble, ["a.test"]) as lintel:
                # Nobody answers yet: that costs no handshake, and nothing is stapled.
                certificate = lintel.wait_served("a.test", root)
                wait_until(lambda: "OCSP response for a.test from" in lintel.log(), "the failed question", 60)
                self.assertIn("OCSP response: no response sent", self.status(lintel, root))
                lintel.stop()
                responder.start(self.serial(certificate))
                lintel.start()
                wait_until(lambda: "OCSP Response Status: successful" in self.status(lintel, root), "a staple", 60)
                stapled = self.status(lintel, root)
                self.assertIn("Cert Status: good", stapled)
                self.assertIn("Verify return code: 0 (ok)", stapled)
                # A restart without a responder staples what was kept.
                lintel.stop()
                responder.stop()
                lintel.start()
                wait_until(lambda: "Cert Status: good" in self.status(lintel, root), "the staple that was kept", 60)
                # Revoked: what was kept is gone (else it would be asked in two days), so that it is asked now.
                lintel.stop()
                shutil.rmtree(lintel.state / "ocsp")
                responder.start(self.serial(certificate), "R")
                lintel.start()
                wait_until(lambda: lintel.served("a.test", root) not in (None, certificate), "another certificate", 90)
                self.assertIn("certificate of a.test is revoked, says http://127.0.0.1", lintel.log())
                self.assertNotIn("Cert Status: revoked", self.status(lintel, root))


if __name__ == "__main__":
    unittest.main()
