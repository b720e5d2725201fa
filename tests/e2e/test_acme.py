"""Certificates by themselves: `lintel serve` against a real issuer (Pebble) with each challenge, and what goes wrong."""
import json
import stat

from acme_serve import AcmeServe, write_hook
from lintel_test import *
from pebble import EAB_KEYS, Pebble


class Challenges(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.pebble = cls.enterClassContext(Pebble(cls.folder / "pebble", nonce_reject=15, authz_reuse=50))
        cls.root = cls.pebble.root()

    def test_http_01_is_answered_before_the_redirect_and_the_certificate_kept(self):
        with AcmeServe(self.folder / "http", self.pebble, ["a.test"], challenges=["http-01"]) as lintel:
            first = lintel.wait_served("a.test", self.root)
            self.assertIsNone(lintel.served("other.test", self.root), "a name that is not served got a certificate")
            kept = next((lintel.state / "certificates").glob("*/a.test"))
            self.assertEqual(sorted(path.name for path in kept.iterdir()), ["cert.pem", "key.pem", "meta.json"])
            for path in lintel.state.rglob("*"):
                mode = stat.S_IMODE(path.stat().st_mode)
                self.assertEqual(mode, 0o700 if path.is_dir() else 0o600, path)
            account_key = next((lintel.state / "accounts").rglob("*.pem")).read_text()
            self.assertNotEqual(account_key, (kept / "key.pem").read_text(), "the account's key is the certificate's")
            self.assertEqual(json.loads((kept / "meta.json").read_text())["names"], ["a.test"])
            self.assertFalse(list((lintel.state / "challenges" / "http-01").iterdir()), "a challenge stayed behind")
            # A restart serves what is there and orders nothing.
            orders = self.pebble.log().count("There are now")
            lintel.stop()
            lintel.start()
            self.assertEqual(lintel.wait_served("a.test", self.root), first)
            self.assertEqual(self.pebble.log().count("There are now"), orders)

    def test_tls_alpn_01(self):
        with AcmeServe(self.folder / "alpn", self.pebble, ["b.test"], challenges=["tls-alpn-01"]) as lintel:
            lintel.wait_served("b.test", self.root)

    def test_an_address_gets_a_certificate(self):
        with AcmeServe(self.folder / "ip", self.pebble, ["127.0.0.1"]) as lintel:
            lintel.wait_served("127.0.0.1", self.root)

    def test_dns_01_for_a_wildcard_through_the_hook_which_is_always_asked_to_remove(self):
        hook, calls = write_hook(self.folder, self.pebble)
        with AcmeServe(self.folder / "dns", self.pebble, ["*.c.test"], challenges=["dns-01"], dns_hook=hook,
                       dns_servers=[f"127.0.0.1:{self.pebble.dns_port}"]) as lintel:
            lintel.wait_served("one.c.test", self.root)
            self.assertEqual(calls.read_text().split("\n")[:-1],
                             ["add _acme-challenge.c.test", "remove _acme-challenge.c.test"])
            self.assertTrue(list((lintel.state / "certificates").glob("*/_wildcard.c.test/cert.pem")))

    def test_renewed_on_request_through_the_admin_socket(self):
        with AcmeServe(self.folder / "renew", self.pebble, ["d.test"]) as lintel:
            first = lintel.wait_served("d.test", self.root)
            renewed = lintel.cli("cert", "renew", "d.test", "-c", str(lintel.config))
            self.assertEqual(renewed.returncode, 0, renewed.stderr)
            wait_until(lambda: lintel.served("d.test", self.root) not in (None, first), "the renewed certificate", 60)
            listed = lintel.cli("cert", "list", "--json", "-c", str(lintel.config))
            entry = [one for one in json.loads(listed.stdout)["certificates"] if one.get("name") == "d.test"][0]
            self.assertEqual((entry["state"], entry["failures"]), ("valid", 0))

    def test_kill_nine_during_an_order_leaves_nothing_broken(self):
        with AcmeServe(self.folder / "kill", self.pebble, ["e.test"]) as lintel:
            wait_until(lambda: "ordered at" in lintel.log(), "an order", 60)
            lintel.kill()
            lintel.start()
            lintel.wait_served("e.test", self.root)

    def test_two_processes_with_one_state_folder_order_once(self):
        state = self.folder / "shared-state"
        with AcmeServe(self.folder / "one", self.pebble, ["f.test"], state=state) as one:
            with AcmeServe(self.folder / "two", self.pebble, ["f.test"], state=state, own_ports=True) as two:
                self.assertEqual(one.wait_served("f.test", self.root), two.wait_served("f.test", self.root))
                self.assertEqual(one.log().count("is in use until") + two.log().count("is in use until"), 1)

    def test_the_process_that_did_not_order_answers_the_challenge(self):
        state = self.folder / "far-state"
        with AcmeServe(self.folder / "near", self.pebble, ["nobody.invalid"], state=state, start=False) as near:
            near.config.write_text(near.config.read_text().replace("nobody.invalid", "g2.test"))
            near.start()
            near.wait_served("g2.test", self.root)
            with AcmeServe(self.folder / "far", self.pebble, ["g.test"], state=state, own_ports=True) as far:
                far.wait_served("g.test", self.root)

    def test_a_corrupt_certificate_is_set_aside_and_replaced(self):
        with AcmeServe(self.folder / "corrupt", self.pebble, ["h.test"]) as lintel:
            lintel.wait_served("h.test", self.root)
            lintel.stop()
            kept = next((lintel.state / "certificates").glob("*/h.test"))
            (kept / "key.pem").write_text("garbage")
            lintel.start()
            lintel.wait_served("h.test", self.root)
            aside = list(kept.parent.glob("h.test.damaged-*"))
            self.assertEqual(len(aside), 1)
            self.assertIn(aside[0].name, lintel.log())

    def test_the_second_issuer_is_asked_when_the_first_is_not_there(self):
        nobody = f"https://127.0.0.1:{free_port()}/dir"
        with AcmeServe(self.folder / "fallback", self.pebble, ["i.test"],
                       directory=[nobody, self.pebble.directory]) as lintel:
            lintel.wait_served("i.test", self.root)


class OwnIssuer(unittest.TestCase):
    """Each test has an issuer of its own, because it is stopped or set up in another way."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, True)

    def test_an_account_that_the_issuer_lost_is_made_anew(self):
        with Pebble(self.folder / "pebble") as pebble:
            with AcmeServe(self.folder / "lintel", pebble, ["a.test"]) as lintel:
                lintel.wait_served("a.test", pebble.root())
                pebble.restart()
                self.assertEqual(lintel.cli("cert", "renew", "a.test", "-c", str(lintel.config)).returncode, 0)
                lintel.wait_served("a.test", pebble.root())

    def test_external_account_binding(self):
        hmac = self.folder / "hmac"
        hmac.write_text(EAB_KEYS["kid-1"] + "\n")
        with Pebble(self.folder / "pebble", eab=True) as pebble:
            with AcmeServe(self.folder / "lintel", pebble, ["a.test"],
                           eab={"kid": "kid-1", "hmac_file": str(hmac)}) as lintel:
                lintel.wait_served("a.test", pebble.root())

    def test_short_certificates_are_renewed_again_and_again(self):
        with Pebble(self.folder / "pebble", validity_s=16) as pebble:
            with AcmeServe(self.folder / "lintel", pebble, ["a.test"]) as lintel:
                root, seen = pebble.root(), set()

                def three():
                    shown = lintel.served("a.test", root)
                    if shown is not None:
                        seen.add(shown)
                    return len(seen) >= 3
                wait_until(three, "three certificates, one after the other", 90)


if __name__ == "__main__":
    unittest.main()
