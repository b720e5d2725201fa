"""testssl.sh's quick checks: versions, the order of suites, headers, and those vulnerabilities that are soon told. The
whole of it runs in test_testssl_full.py."""
import testssl
from lintel_test import *


class Quick(LintelTestCase):
    @classmethod
    def configure(cls):
        return [cls.site(hsts=True, hosts=["app.example"], certificate=dict(zip(("file", "key"),
                                                                              cls.ca.issue("app.example"))))], {}

    def check(self, *checks):
        findings, text = testssl.run(self.lintel.https, "app.example", self.ca.cert, self.folder, *checks, seconds=300)
        self.assertEqual(testssl.bad(findings), [], text)
        return {one["id"]: one["finding"] for one in findings}

    def test_versions_and_what_is_quick(self):
        found = self.check("-p", "-h", "-H", "-R", "-C", "-Z")
        self.assertEqual({name: found[name].split()[0] for name in ("SSLv2", "SSLv3", "TLS1", "TLS1_1")},
                         {"SSLv2": "not", "SSLv3": "not", "TLS1": "not", "TLS1_1": "not"})
        self.assertTrue(found["TLS1_2"].startswith("offered"))
        self.assertTrue(found["TLS1_3"].startswith("offered"))
        self.assertIn("31536000", found["HSTS_time"])
        self.assertIn("not vulnerable", found["heartbleed"])


if __name__ == "__main__":
    unittest.main()
