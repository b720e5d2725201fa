"""All that testssl.sh knows about a served site (scripts/test --full)."""
import testssl
from lintel_test import *


class Whole(LintelTestCase):
    @classmethod
    def configure(cls):
        return [cls.site(hsts=True, hosts=["app.example"], certificate=dict(zip(("file", "key"),
                                                                              cls.ca.issue("app.example"))))], {}

    def test_no_finding_above_low(self):
        findings, text = testssl.run(self.lintel.https, "app.example", self.ca.cert, self.folder, seconds=850)
        self.assertEqual(testssl.bad(findings), [], text)
        self.assertGreater(len(findings), 80, text)


if __name__ == "__main__":
    unittest.main()
