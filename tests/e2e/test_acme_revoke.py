"""`lintel cert revoke`: the issuer hears of it, and another certificate with another key takes its place."""
import tempfile

from cryptography import x509

from acme_faults import Faults, problem
from acme_serve import AcmeServe
from lintel_test import *
from pebble import Pebble


class Revoke(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.pebble = self.enterContext(Pebble(self.folder / "pebble"))
        self.faults = self.enterContext(Faults(self.pebble, self.folder))

    def test_revoked_and_replaced_also_when_the_next_order_fails_at_first(self):
        with AcmeServe(self.folder / "lintel", self.pebble, ["a.test"], directory=self.faults.directory,
                       ca_file=self.faults.ca_file) as lintel:
            root = self.pebble.root()
            first = lintel.wait_served("a.test", root)
            self.faults.add("order-plz", problem(429, "rateLimited", "not now", [("Retry-After", "70")]))
            revoked = lintel.cli("cert", "revoke", "a.test", "-c", str(lintel.config))
            self.assertEqual(revoked.returncode, 0, revoked.stderr)
            serial = format(x509.load_der_x509_certificate(first).serial_number, "x")
            self.assertEqual(self.pebble.certificate_status(serial)["Status"], "Revoked")
            wait_until(lambda: "not now" in lintel.log(), "the failed order", 60)
            # A restart before the next try forgets neither: not the issuer's wish, not that it must be replaced.
            lintel.kill()
            lintel.start()
            second = wait_until(lambda: (lambda one: one if one not in (None, first) else None)(
                lintel.served("a.test", root)), "the new certificate", 110)
            self.assertNotEqual(*[x509.load_der_x509_certificate(one).public_key().public_numbers()
                                  for one in (first, second)])
            status = self.pebble.certificate_status(format(x509.load_der_x509_certificate(second).serial_number, "x"))
            self.assertEqual(status["Status"], "Valid")

    def test_a_name_without_a_certificate_is_told_so(self):
        with AcmeServe(self.folder / "lintel", self.pebble, ["a.test"], directory=self.faults.directory,
                       ca_file=self.faults.ca_file) as lintel:
            lintel.wait_served("a.test", self.pebble.root())
            told = lintel.cli("cert", "revoke", "b.test", "-c", str(lintel.config))
            self.assertNotEqual(told.returncode, 0)
            self.assertIn("b.test", told.stderr)
            self.assertEqual(self.faults.times("revoke"), [])


if __name__ == "__main__":
    unittest.main()
