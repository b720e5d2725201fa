"""The ACME client against Debian's Pebble, with the nonces it refuses, its delays and its reused authorizations."""
import tempfile

from acme_tool import acme_call
from lintel_test import *
from pebble import EAB_KEYS, Pebble

ALL = ["http-01", "tls-alpn-01", "dns-01"]


def openssl(*args, stdin=None):
    return subprocess.run(["openssl", *args], input=stdin, text=True, capture_output=True, check=True).stdout


class AcmeClientCase(unittest.TestCase):
    pebble_options = {}

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.pebble = cls.enterClassContext(Pebble(cls.folder / "pebble", challenge_server=True, **cls.pebble_options))

    def setUp(self):
        self.state = pathlib.Path(tempfile.mkdtemp(prefix="state-", dir=self.folder))

    def obtain(self, **options):
        return acme_call(self.pebble, self.state, **options)

    def assert_issued(self, result, *names):
        self.assertNotIn("problem", result, result)
        text = openssl("x509", "-noout", "-ext", "subjectAltName", "-pubkey", stdin=result["chain"])
        for name in names:
            self.assertIn(name, text)
        self.assertIn(openssl("pkey", "-pubout", stdin=result["key"]).strip(), text, "the certificate is for our key")
        (self.state / "chain.pem").write_text(result["chain"])
        (self.state / "root.pem").write_text(self.pebble.root())
        openssl("verify", "-CAfile", str(self.state / "root.pem"), "-untrusted", str(self.state / "chain.pem"),
                str(self.state / "chain.pem"))

    def account(self):
        return json.loads((self.state / "state/accounts/pebble/account.json").read_text())

    def account_key(self):
        return (self.state / "state/accounts/pebble/key.pem").read_text()


class Plain(AcmeClientCase):
    def test_each_challenge_gives_a_certificate(self):
        for kind in ALL:
            with self.subTest(kind):
                result = self.obtain(types=[kind], names=[f"{kind}.test", f"www.{kind}.test"])
                self.assert_issued(result, f"DNS:{kind}.test", f"DNS:www.{kind}.test")
                self.assertIn(f"present {kind} {kind}.test", result["log"])
                self.assertIn(f"clean {kind} {kind}.test", result["log"], "what was presented is taken back")

    def test_few_requests(self):
        # directory, nonce, account, order, authorization, challenge, polls of the order, finalize, poll, certificate
        result = self.obtain(names=["few.test"])
        self.assert_issued(result, "few.test")
        self.assertLessEqual(result["requests"], 13)

    def test_wildcard_and_its_own_name(self):
        result = self.obtain(types=ALL, names=["*.wild.test"])
        self.assert_issued(result, "DNS:*.wild.test")
        self.assertEqual(result["log"], ["present dns-01 *.wild.test", "clean dns-01 *.wild.test"])

    def test_ip_address(self):
        result = self.obtain(types=["http-01"], names=["127.0.0.1"])
        self.assert_issued(result, "IP Address:127.0.0.1")

    def test_a_challenge_that_fails_is_tried_with_the_next_type(self):
        result = self.obtain(types=["http-01", "dns-01"], broken=["http-01"], names=["fallback.test"])
        self.assert_issued(result, "fallback.test")
        self.assertEqual([line for line in result["log"] if line.startswith("present")],
                         ["present http-01 fallback.test", "present dns-01 fallback.test"])

    def test_a_challenge_that_fails_everywhere_is_said_whole(self):
        result = self.obtain(types=["http-01"], broken=["http-01"], names=["broken.test"])
        problem = result["problem"]
        self.assertEqual(problem["code"], "acme-challenge-failed")
        self.assertEqual(problem["host"], "broken.test")
        self.assertIn("http-01 failed", problem["message"])
        self.assertIn("key authorization", problem["message"].lower(), "what the issuer saw is in it")
        self.assertIn("clean http-01 broken.test", result["log"])

    def test_the_account_is_kept_and_used_again(self):
        self.assert_issued(self.obtain(names=["one.test"]), "one.test")
        before, key = self.account(), self.account_key()
        result = self.obtain(names=["two.test"])
        self.assert_issued(result, "two.test")
        self.assertEqual((self.account(), self.account_key()), (before, key))
        self.assertNotEqual(openssl("pkey", "-pubout", stdin=key), openssl("pkey", "-pubout", stdin=result["key"]),
                            "a certificate never has the account's key")

    def test_every_certificate_has_a_new_key(self):
        first, second = self.obtain(names=["keys.test"]), self.obtain(names=["keys.test"])
        self.assertNotEqual(first["key"], second["key"])

    def test_revocation(self):
        issued = self.obtain(names=["revoked.test"])
        self.assert_issued(issued, "revoked.test")
        for _ in range(2):  # again is fine, too
            result = self.obtain(action="revoke", pem=issued["chain"])
            self.assertNotIn("problem", result, result)
        serial = openssl("x509", "-noout", "-serial", stdin=issued["chain"]).strip().split("=")[1].lower()
        self.assertEqual(self.pebble.certificate_status(serial)["Status"], "Revoked")

    def test_terms_that_nobody_agreed_to_are_not_agreed_to(self):
        result = self.obtain(agree=False)
        self.assertEqual(result["problem"]["code"], "acme-refused")
        self.assertTrue(result["problem"]["permanent"])
        self.assertIn("terms", result["problem"]["message"])

    def test_an_issuer_without_renewal_information_says_so(self):
        issued = self.obtain(names=["ari.test"])
        result = self.obtain(action="renewal_info", pem=issued["chain"])
        if "problem" in result:  # newer versions of Pebble have it
            self.assertEqual(result["problem"]["code"], "not-found")
        else:
            self.assertGreater(result["end"], result["start"])

    def test_an_issuer_with_an_unknown_certificate_gets_no_account(self):
        result = self.obtain(ca_file="/etc/ssl/certs/ca-certificates.crt", seconds=6)
        self.assertEqual(result["problem"]["code"], "acme-unreachable")
        self.assertIn("TLS", result["problem"]["message"])


class Restless(AcmeClientCase):
    """Half of the nonces refused, validation that takes its time, every authorization used again."""
    pebble_options = {"nonce_reject": 50, "va_sleep": 2, "authz_reuse": 100}

    def test_it_gets_its_certificate(self):
        result = self.obtain(types=["http-01"], names=["restless.test", "www.restless.test"])
        self.assert_issued(result, "restless.test", "www.restless.test")

    def test_reused_authorizations_need_no_challenge(self):
        self.assert_issued(self.obtain(names=["reused.test"]), "reused.test")
        result = self.obtain(names=["reused.test"])
        self.assert_issued(result, "reused.test")
        self.assertEqual(result["log"], [], "nothing had to be presented")


class Forgetful(AcmeClientCase):
    def test_an_issuer_that_lost_the_account_gets_it_again(self):
        self.assert_issued(self.obtain(names=["before.test"]), "before.test")
        before, key = self.account(), self.account_key()
        self.pebble.restart()
        result = self.obtain(names=["after.test"])
        self.assert_issued(result, "after.test")
        self.assertEqual(self.account_key(), key, "the key did nothing wrong")
        self.assertEqual(self.account()["directory"], before["directory"])


class ExternalAccount(AcmeClientCase):
    pebble_options = {"eab": True}

    def test_with_its_key(self):
        result = self.obtain(eab={"kid": "kid-1", "key": EAB_KEYS["kid-1"]})
        self.assert_issued(result, "app.test")

    def test_without_or_with_a_wrong_one(self):
        result = self.obtain()
        self.assertTrue(result["problem"]["permanent"])
        self.assertIn("external account", result["problem"]["message"])
        result = self.obtain(eab={"kid": "kid-1", "key": "AAAA" + EAB_KEYS["kid-1"][4:]})
        self.assertEqual(result["problem"]["code"], "acme-refused")
        result = self.obtain(eab={"kid": "kid-1", "key": "no base64!"})
        self.assertIn("base64url", result["problem"]["message"])


if __name__ == "__main__":
    unittest.main()
