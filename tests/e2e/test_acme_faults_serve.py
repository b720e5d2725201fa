"""`lintel serve` and an issuer on a bad day: the certificate comes after it, with few requests; the old one stays."""
import json
import tempfile

from acme_faults import Faults, answer_with, drop, garbage_certificate, hang, problem, refused_nonce
from acme_serve import AcmeServe
from lintel_test import *
from pebble import Pebble

ORDER, FINALIZE, CERTIFICATE = "order-plz", "/finalize-order/", "/certZ/"


class BadDay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.pebble = cls.enterClassContext(Pebble(cls.folder / "pebble"))
        cls.root = cls.pebble.root()

    def setUp(self):
        self.faults = self.enterContext(Faults(self.pebble, pathlib.Path(tempfile.mkdtemp(prefix="faults-", dir=self.folder))))

    def serve(self, name, **options):
        return AcmeServe(pathlib.Path(tempfile.mkdtemp(prefix="lintel-", dir=self.folder)), self.pebble, [name],
                         **{"directory": self.faults.directory, "ca_file": self.faults.ca_file, **options})

    def entry(self, lintel, name):
        listed = lintel.cli("cert", "list", "--json", "-c", str(lintel.config))
        return next((one for one in json.loads(listed.stdout)["certificates"] if one.get("name") == name), {})

    def assert_arrives(self, lintel, name, at_most_requests):
        shown = lintel.wait_served(name, self.root)
        self.assertEqual(self.faults.waiting, [], "every fault was met")
        self.assertLessEqual(len(self.faults.seen), at_most_requests, self.faults.seen)
        return shown

    def test_one_garbage_certificate(self):
        self.faults.add(CERTIFICATE, garbage_certificate())
        with self.serve("garbage.test") as lintel:
            self.assert_arrives(lintel, "garbage.test", 25)
            kept = next((lintel.state / "certificates").glob("*/garbage.test/cert.pem")).read_text()
            self.assertNotIn("Z2FyYmFnZQ", kept, "rubbish was kept")

    def test_a_nonce_refused_three_times_running(self):
        self.faults.add(ORDER, refused_nonce(), refused_nonce(), refused_nonce())
        with self.serve("nonce.test") as lintel:
            self.assert_arrives(lintel, "nonce.test", 20)
            self.assertEqual(len(self.faults.times(ORDER)), 4)

    def test_a_dropped_finalize(self):
        self.faults.add(FINALIZE, drop())
        with self.serve("finalize.test") as lintel:
            self.assert_arrives(lintel, "finalize.test", 20)
            self.assertEqual(len(self.faults.times(ORDER)), 1, "the order was given up for one lost answer")

    def test_retry_after_of_a_429_is_kept_to_the_second(self):
        self.faults.add(ORDER, problem(429, "rateLimited", fields=[("Retry-After", "4")]))
        with self.serve("later.test") as lintel:
            self.assert_arrives(lintel, "later.test", 20)
            first, second = self.faults.times(ORDER)
            self.assertGreaterEqual(second - first, 4, "asked again before the issuer permits it")

    def test_a_long_retry_after_is_kept_over_a_restart(self):
        """A server that forgets it hammers an issuer that has asked for rest, and is blocked there."""
        self.faults.add(ORDER, *[problem(429, "rateLimited", "too many orders", [("Retry-After", "3600")])] * 9)
        with self.serve("rest.test") as lintel:
            entry = wait_until(lambda: (lambda one: one if one.get("failures") else None)(self.entry(lintel, "rest.test")),
                               "the failure to be listed", 60)
            self.assertIn("too many orders", json.dumps(entry))
            asked = len(self.faults.times(ORDER))
            self.assertEqual(asked, 1)
            for _ in range(2):
                lintel.kill()
                lintel.start()
                wait_until(lambda: self.entry(lintel, "rest.test").get("failures"), "the failure to be remembered", 60)
            self.assertEqual(len(self.faults.times(ORDER)), asked, "a restart forgot the issuer's Retry-After")

    def test_the_old_certificate_stays_while_the_issuer_hangs_answers_rubbish_or_refuses(self):
        with self.serve("stays.test") as lintel:
            first = lintel.wait_served("stays.test", self.root)
            for fault, listed in (
                    ([hang(1)] + [drop()] * 4, "acme-unreachable"),
                    ([answer_with(200, b"{{{ rubbish", content_type="application/json")] * 5, "acme-protocol"),
                    ([problem(403, "unauthorized", "not you")], "not you")):
                with self.subTest(listed):
                    before = lintel.log().count("failed (")
                    self.faults.clear()
                    self.faults.add(ORDER, *fault)
                    self.assertEqual(lintel.cli("cert", "renew", "stays.test", "-c", str(lintel.config)).returncode, 0)
                    wait_until(lambda: lintel.log().count("failed (") > before, "the failure in the log", 60)
                    self.assertEqual(lintel.served("stays.test", self.root), first, "the old certificate is gone")
                    entry = self.entry(lintel, "stays.test")
                    self.assertEqual(entry["state"], "valid")
                    self.assertIn(listed, json.dumps(entry))
                    self.assertLessEqual(len(self.faults.seen), 12, self.faults.seen)
            # The issuer is well again.
            self.faults.clear()
            self.assertEqual(lintel.cli("cert", "renew", "stays.test", "-c", str(lintel.config)).returncode, 0)
            wait_until(lambda: lintel.served("stays.test", self.root) not in (None, first), "the renewed one", 60)
            self.assertEqual(self.entry(lintel, "stays.test")["failures"], 0)


if __name__ == "__main__":
    unittest.main()
