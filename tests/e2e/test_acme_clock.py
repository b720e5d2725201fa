"""Lintel's clock is moved forward by months (libfaketime): 90-day certificates are renewed again and again.

Pebble's own clock cannot be moved (Go asks the kernel without libc), so what it issues is dated anew on the way, by an
issuer whose clock goes with Lintel's.
"""
import datetime
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from acme_faults import Faults
from acme_serve import AcmeServe
from lintel_test import *
from pebble import Pebble

DAY = datetime.timedelta(days=1)
LIBRARY = next(iter(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)


class MovedClock:
    def __init__(self, folder):
        self.file = folder / "clock"
        self.days = 0
        self.set(0)
        self.environment = {"LD_PRELOAD": str(LIBRARY), "FAKETIME_TIMESTAMP_FILE": str(self.file),
                            "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def set(self, days):
        self.days = days
        beside = self.file.with_suffix(".new")
        beside.write_text(f"+{days}d\n")
        beside.rename(self.file)

    def now(self):
        return datetime.datetime.now(datetime.timezone.utc) + self.days * DAY


class DatedAnew:
    """Issues what Pebble issued for 90 days from the moved clock's now."""

    def __init__(self, folder, clock):
        ca = CertificateAuthority(folder / "dated-ca", "An issuer in the future", days=3650)
        self.ca = x509.load_pem_x509_certificate(pathlib.Path(ca.cert).read_bytes())
        self.key = serialization.load_pem_private_key(pathlib.Path(ca.key).read_bytes(), None)
        self.clock = clock

    def __call__(self, chain):
        leaf = x509.load_pem_x509_certificate(chain)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        now = self.clock.now()
        made = (x509.CertificateBuilder().subject_name(leaf.subject).issuer_name(self.ca.subject)
                .public_key(leaf.public_key()).serial_number(x509.random_serial_number())
                .not_valid_before(now).not_valid_after(now + 90 * DAY)
                .add_extension(names.value, names.critical)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)
                .sign(self.key, hashes.SHA256()))
        return made.public_bytes(serialization.Encoding.PEM) + self.ca.public_bytes(serialization.Encoding.PEM)


def shown(lintel, name):
    """The certificate that is served, whoever signed it and whatever its dates."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", lintel.https), 10) as raw:
            with context.wrap_socket(raw, server_hostname=name) as tls:
                return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))
    except OSError:
        return None


class Clock(unittest.TestCase):
    def setUp(self):
        self.assertTrue(LIBRARY, "the package faketime is missing (scripts/setup)")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.clock = MovedClock(self.folder)
        self.pebble = self.enterContext(Pebble(self.folder / "pebble", validity_s=90 * 86400))
        self.faults = self.enterContext(Faults(self.pebble, self.folder))

    def serve(self, name):
        return AcmeServe(self.folder / "lintel", self.pebble, [name], directory=self.faults.directory,
                         ca_file=self.faults.ca_file, environment=self.clock.environment)

    def orders(self):
        return len(self.faults.times("order-plz"))

    def test_renewed_at_two_thirds_again_and_again_while_the_clock_is_moved_forward(self):
        self.faults.rewrite = DatedAnew(self.folder, self.clock)
        with self.serve("a.test") as lintel:
            last = wait_until(lambda: shown(lintel, "a.test"), "the first certificate", 90)
            keys, serials = {last.public_key().public_numbers()}, {last.serial_number}
            for moved in (65, 130, 195):
                self.clock.set(moved)
                renewed = wait_until(lambda: (lambda one: one if one and one.serial_number not in serials else None)(
                    shown(lintel, "a.test")), f"the renewal at day {moved}", 120)
                self.assertGreater(renewed.not_valid_after, self.clock.now().replace(tzinfo=None) + 89 * DAY)
                serials.add(renewed.serial_number)
                keys.add(renewed.public_key().public_numbers())
            self.assertEqual(len(keys), 4, "a key was used twice")
            self.assertEqual(self.orders(), 4, "one order for each renewal")

    def test_a_clock_that_is_wrong_does_not_order_without_end(self):
        """Each certificate is past its renewal when it comes. Ordered every two seconds, the issuer locks the account."""
        self.clock.set(70)
        with self.serve("b.test") as lintel:
            wait_until(lambda: "is in use until" in lintel.log(), "the certificate", 90)
            wait_until(lambda: "was due for renewal when it came" in lintel.log(), "the warning", 30)
            # A forced renewal is a flow through the same schedule: after it nothing more is due either.
            self.assertEqual(lintel.cli("cert", "renew", "b.test", "-c", str(lintel.config)).returncode, 0)
            wait_until(lambda: lintel.log().count("is in use until") >= 2, "the renewed certificate", 60)
            wait_until(lambda: '"state": "valid"' in lintel.cli("cert", "list", "--json", "-c", str(lintel.config)).stdout,
                       "the order to end", 30)
            lintel.stop()
            lintel.start()
            wait_until(lambda: shown(lintel, "b.test"), "the kept certificate", 60)
            self.assertEqual(self.orders(), 2, "ordered without need")


if __name__ == "__main__":
    unittest.main()
