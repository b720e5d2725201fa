"""The state folder is full, or read-only, or holds ten thousand certificates."""
import datetime
import json
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from acme_serve import AcmeServe
from lintel_test import *
from pebble import Pebble

MANY = 10_000
MEASURED = 400


class Mounted:
    """A tmpfs of `size` at `folder`."""

    def __init__(self, folder, size):
        self.folder = folder
        folder.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)], check=True)

    def remount(self, option):
        subprocess.run(["mount", "-o", f"remount,{option}", str(self.folder)], check=True)

    def stop(self):
        subprocess.run(["umount", "-l", str(self.folder)], check=False)


class BadDisk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.pebble = cls.enterClassContext(Pebble(cls.folder / "pebble"))
        cls.root = cls.pebble.root()

    def mounted(self, name, size):
        disk = Mounted(self.folder / name, size)
        self.addCleanup(disk.stop)
        return disk

    def renew(self, lintel, name):
        self.assertEqual(lintel.cli("cert", "renew", name, "-c", str(lintel.config)).returncode, 0)

    def orders(self):
        return self.pebble.log().count("There are now")

    def test_read_only_nothing_is_ordered_and_what_is_there_is_served(self):
        disk = self.mounted("readonly", "4m")
        with AcmeServe(self.folder / "one", self.pebble, ["a.test"], state=disk.folder) as lintel:
            first = lintel.wait_served("a.test", self.root)
            lintel.stop()
            disk.remount("ro")
            lintel.start()
            self.assertEqual(lintel.wait_served("a.test", self.root), first)
            orders = self.orders()
            self.renew(lintel, "a.test")
            wait_until(lambda: "Read-only file system" in lintel.log(), "the reason in the log", 60)
            self.assertEqual(lintel.served("a.test", self.root), first)
            self.assertEqual(self.orders(), orders, "a certificate was ordered that could not be kept")
            disk.remount("rw")
            self.renew(lintel, "a.test")
            wait_until(lambda: lintel.served("a.test", self.root) not in (None, first), "the renewed one", 90)

    def test_a_full_disk_is_said_and_waited_for(self):
        disk = self.mounted("full", "256k")
        with AcmeServe(self.folder / "two", self.pebble, ["b.test"], state=disk.folder) as lintel:
            first = lintel.wait_served("b.test", self.root)
            kept = next((lintel.state / "certificates").glob("*/b.test"))
            before = {path.name: path.read_bytes() for path in kept.iterdir()}
            orders = self.orders()
            fill = disk.folder / "fill"
            with open(fill, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 4096)
                except OSError:
                    pass
            self.renew(lintel, "b.test")
            wait_until(lambda: "No space left" in lintel.log(), "the reason in the log", 60)
            self.assertEqual(lintel.served("b.test", self.root), first)
            self.assertEqual({path.name: path.read_bytes() for path in kept.iterdir()}, before, "the old one was harmed")
            self.assertEqual(self.orders(), orders, "a certificate was ordered that could not be kept")
            fill.unlink()
            self.renew(lintel, "b.test")
            second = wait_until(lambda: (lambda one: one if one not in (None, first) else None)(
                lintel.served("b.test", self.root)), "the renewed one", 90)
            lintel.kill()
            lintel.start()
            self.assertEqual(lintel.wait_served("b.test", self.root), second, "what was obtained was not kept")


class TenThousand(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.names = [f"site{i:05}.test" for i in range(MANY)]
        cls.pebble = Pebble(cls.folder / "pebble", eab=True)  # not started: nothing may be ordered
        cls.root = cls.fill(cls.folder / "state", f"127.0.0.1:{cls.pebble.port}")

    @classmethod
    def fill(cls, state, issuer):
        now = datetime.datetime.now(datetime.timezone.utc)
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Ten thousand")])
        ca = (x509.CertificateBuilder().subject_name(ca_name).issuer_name(ca_name).public_key(ca_key.public_key())
              .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
              .not_valid_after(now + datetime.timedelta(days=365))
              .add_extension(x509.BasicConstraints(True, None), True).sign(ca_key, hashes.SHA256()))
        ca_pem = ca.public_bytes(serialization.Encoding.PEM)
        key = ec.generate_private_key(ec.SECP256R1())  # one for all: only the certificates are counted
        key_pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                    serialization.NoEncryption())
        public = key.public_key()
        aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
        folder = state / "certificates" / issuer
        folder.mkdir(parents=True, mode=0o700)
        for i, name in enumerate(cls.names):
            leaf = (x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(ca_name).public_key(public)
                    .serial_number(1000 + i).not_valid_before(now - datetime.timedelta(hours=1))
                    .not_valid_after(now + datetime.timedelta(days=90))
                    .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), True)
                    .add_extension(aki, False).sign(ca_key, hashes.SHA256()))
            one = folder / name
            one.mkdir(mode=0o700)
            (one / "cert.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + ca_pem)
            (one / "key.pem").write_bytes(key_pem)
            (one / "meta.json").write_text(json.dumps({"name": name, "names": [name], "issuer": issuer}))
        return ca_pem.decode()

    @staticmethod
    def rss_kib(lintel):
        text = pathlib.Path(f"/proc/{lintel.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:"))

    @staticmethod
    def listed(lintel):
        return json.loads(lintel.cli("cert", "list", "--json", "-c", str(lintel.config)).stdout)["certificates"]

    def test_served_at_once_and_loaded_only_when_asked_for(self):
        with AcmeServe(self.folder / "lintel", self.pebble, self.names, state=self.folder / "state",
                       start=False) as lintel:
            began = time.monotonic()
            lintel.start()
            started = time.monotonic() - began
            for name in (self.names[0], self.names[-1], self.names[MANY // 2]):
                self.assertTrue(lintel.served(name, self.root), f"{name} is not served at once")
            self.assertIsNone(lintel.served("stranger.test", self.root))
            served = time.monotonic() - began
            # All are known in the end, and none was ordered.
            wait_until(lambda: sum(one["state"] == "valid" for one in self.listed(lintel)) >= MANY, "the list", 240)
            self.assertNotIn("ordered at", lintel.log())
            known = self.rss_kib(lintel)
            for name in self.names[100:100 + 50]:  # what the first handshakes take by themselves
                self.assertTrue(lintel.served(name, self.root))
            before = self.rss_kib(lintel)
            for name in self.names[1000:1000 + MEASURED]:
                self.assertTrue(lintel.served(name, self.root))
            after = self.rss_kib(lintel)
            print(f"\n{MANY} certificates: listening after {started:.2f} s, first, last and middle served after "
                  f"{served:.2f} s; {known} KiB with all known; {(after - before) / MEASURED:.2f} KiB per certificate "
                  f"loaded ({before} -> {after} KiB for {MEASURED})", file=sys.stderr)
            # Ten times what was measured: if asking for one loaded the others, this would be far more.
            if not SANITIZED:
                self.assertLess(after - before, MEASURED * 100)


if __name__ == "__main__":
    unittest.main()
