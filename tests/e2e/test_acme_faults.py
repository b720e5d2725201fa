"""An issuer on a bad day: the certificate comes all the same, with few requests, and nothing wrong is ever taken."""
import tempfile

from acme_faults import *
from acme_faults import Faults
from acme_tool import acme_call
from lintel_test import *
from pebble import Pebble


class BadDay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.pebble = cls.enterClassContext(Pebble(cls.folder / "pebble", challenge_server=True))
        cls.faults = cls.enterClassContext(Faults(cls.pebble, cls.folder))

    def setUp(self):
        self.faults.clear()
        self.state = pathlib.Path(tempfile.mkdtemp(prefix="state-", dir=self.folder))

    def obtain(self, **options):
        return acme_call(self.pebble, self.state, directory=self.faults.directory, ca_file=self.faults.ca_file, **options)

    def assert_arrives(self, at_most_requests):
        result = self.obtain()
        self.assertNotIn("problem", result, result)
        self.assertIn("BEGIN CERTIFICATE", result["chain"])
        self.assertEqual(self.faults.waiting, [], "every fault was met")
        self.assertLessEqual(len(self.faults.seen), at_most_requests, self.faults.seen)
        self.assertEqual(len(self.faults.seen), result["requests"], "requests are counted")
        return result

    def test_a_nonce_refused_three_times_running(self):
        self.faults.add("order-plz", refused_nonce(), refused_nonce(), refused_nonce())
        self.assert_arrives(20)

    def test_one_garbage_certificate(self):
        self.faults.add("/certZ/", garbage_certificate())
        self.assert_arrives(20)

    def test_a_dropped_finalize(self):
        self.faults.add("/finalize-order/", drop())
        self.assert_arrives(20)
        self.assertEqual(len(self.faults.times("order-plz")), 1, "the order was not given up")

    def test_a_finalize_whose_answer_was_dropped(self):
        self.faults.add("/finalize-order/", drop_answer())
        self.assert_arrives(20)
        self.assertEqual(len(self.faults.times("/finalize-order/")), 1)

    def test_429_is_honoured_to_the_second(self):
        self.faults.add("order-plz", problem(429, "rateLimited", fields=[("Retry-After", "3")]))
        self.assert_arrives(20)
        first, second = self.faults.times("order-plz")
        self.assertGreaterEqual(second - first, 3)

    def test_errors_and_rubbish_for_a_while(self):
        self.faults.add("order-plz", answer_with(500, b"<html>", content_type="text/html"), drop())
        self.faults.add("/my-order/", answer_with(200, b"{{{ rubbish"))
        self.faults.add("/dir", answer_with(503, b"", [("Retry-After", "1")]))
        self.assert_arrives(25)

    def test_a_long_wait_is_handed_on_and_not_sat_out(self):
        self.faults.add("order-plz", problem(429, "rateLimited", "50 certificates this week", [("Retry-After", "7200")]))
        result = self.obtain()
        self.assertEqual(result["problem"]["code"], "acme-rate-limited")
        self.assertEqual(result["problem"]["retry_after_ms"], 7_200_000)
        self.assertIn("50 certificates this week", result["problem"]["message"])

    def test_an_issuer_that_hangs_is_left_at_the_deadline(self):
        self.faults.add("/dir", *[hang(600)] * 10)
        result = self.obtain(seconds=3)
        self.assertEqual(result["problem"]["code"], "acme-unreachable")
        self.assertFalse(result["problem"]["permanent"])

    def test_an_answer_without_end_is_cut_off(self):
        self.faults.add("/dir", *[answer_with(200, b"[" * 5_000_000)] * 10)
        result = self.obtain(seconds=30)
        self.assertEqual(result["problem"]["code"], "acme-protocol")
        self.assertIn("larger than", result["problem"]["message"])


if __name__ == "__main__":
    unittest.main()
