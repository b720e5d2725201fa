"""The story of examples/flask-oidc in a real browser: a provider that redirects to the registered https address only,
and an app that learns, or does not, that it is on https."""
import http.client
import re
import urllib.parse

from story import *

PROXY_FIX = "from werkzeug.middleware.proxy_fix import ProxyFix\napp.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)"
LIBRARY_FIX = ("import lintel_forwarded\n"
               'app.wsgi_app = lintel_forwarded.ProxyFix(app.wsgi_app, trusted=["127.0.0.1"], x_for=1, x_proto=1)')
FORGED = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "6.6.6.6"}


class SignIn(BrowserStoryTestCase):
    EXAMPLE = "flask-oidc"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.provider_port = free_port()
        cls.environment["ISSUER"] = f"http://localhost:{cls.provider_port}"
        cls.environment["PYTHONPATH"] = str(PYTHON_PACKAGES)
        cls.start(cls.addClassCleanup, ["node", "provider.mjs"], cls.copy_example(), cls.provider_port,
                  {"PROVIDER_PORT": str(cls.provider_port), "REDIRECT_URI": f"{cls.url}/callback"})

    def app(self, fix=None):
        return [PYTHON, "app.py"], self.copy_example("app.py", fix)

    def begin_sign_in(self):
        """Clicks "Sign in"; returns when the provider's page is there."""
        self.driver.open(self.url + "/")
        self.assertIn("Not signed in", self.driver.text())
        self.driver.click("sign-in")
        wait_until(lambda: self.driver.run("return location.port") == str(self.provider_port), "the provider's page", PATIENCE)

    def assert_refused(self):
        self.assertEqual(self.driver.title(), "Sign-in refused")
        self.assertEqual(self.shown("error"), "invalid_redirect_uri")
        self.assertEqual(self.shown("asked"), f"http://{self.host}:{self.port}/callback")
        self.assertEqual(self.shown("registered"), f"{self.url}/callback")

    def shown(self, element_id):
        return self.driver.run(f"return document.getElementById('{element_id}').innerText")

    def assert_signs_in(self):
        self.begin_sign_in()
        self.driver.click("continue")
        wait_until(lambda: self.driver.run("return location.href") == self.url + "/", "the app's page", PATIENCE)
        self.assertIn("Signed in as Ada Lovelace", self.driver.text())
        self.assertEqual(self.shown("base"), self.url + "/")
        self.assertIn(self.shown("client"), ("127.0.0.1", "::1"))
        self.assertTrue(self.driver.cookies()["session"]["secure"])

    def test_behind_a_plain_proxy_the_sign_in_is_refused(self):
        self.behind_plain_proxy(*self.app())
        self.begin_sign_in()
        self.assert_refused()

    def test_lintel_names_cause_and_line_before_the_redirect_is_sent_on(self):
        """redirect_uri itself stays as the app wrote it: changed, the code exchange would fail later and less clearly."""
        dev = self.behind_lintel(*self.app())
        redirect = dev.curl("/login", name=self.host)
        finding = dev.output()  # as it is when the redirect has arrived
        self.assertEqual(redirect.status, 302)
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(redirect.headers["location"]).query)
        self.assertEqual(query["redirect_uri"], [f"http://{self.host}:{self.port}/callback"])
        self.assertIn(f"asked to come back to http://{self.host}:{self.port}/callback", finding)
        self.assert_names_the_line(dev, PROXY_FIX)

    def test_the_browser_is_refused_as_well_and_the_finding_is_there_by_then(self):
        dev = self.behind_lintel(*self.app())
        self.begin_sign_in()
        self.assertRegex(dev.output(), r"redirect_uri|come back to http://")
        self.assert_refused()
        self.assertEqual(len(re.findall("come back to", dev.output())), 1, dev.output())

    def test_with_the_line_it_works(self):
        dev = self.behind_lintel(*self.app(PROXY_FIX))
        self.assert_signs_in()
        self.assertNotIn("fix:", dev.output(), "an app that is right gives no finding")

    def test_with_lintels_library_it_works_as_well(self):
        self.behind_lintel(*self.app(LIBRARY_FIX))
        self.assert_signs_in()

    def start_unprotected(self, fix):
        port = free_port()
        self.start(self.addCleanup, *self.app(fix), port)
        return port

    def pages(self, port, source, headers):
        """What somebody at the address `source` gets who talks to the app itself: the first page, and where the sign-in is
        asked to come back to."""
        answers = []
        for path in ("/", "/login"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE, source_address=(source, 0))
            connection.request("GET", path, headers={"Host": f"{self.host}:{self.port}", **headers})
            answer = connection.getresponse()
            answers.append((answer.read().decode(), answer.getheader("Location", "")))
            connection.close()
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(answers[1][1]).query)
        self.assertIn("redirect_uri", query, answers)
        return answers[0][0], query["redirect_uri"][0]

    def test_with_lintels_library_a_forged_header_changes_nothing(self):
        """127.0.0.2 stands for a neighbour who found the app's port; Lintel is 127.0.0.1."""
        port = self.start_unprotected(LIBRARY_FIX)
        honest = self.pages(port, "127.0.0.2", {})
        self.assertEqual(honest[1], f"http://{self.host}:{self.port}/callback")
        self.assertIn(">127.0.0.2<", honest[0])
        self.assertEqual(self.pages(port, "127.0.0.2", FORGED), honest)
        from_proxy = self.pages(port, "127.0.0.1", FORGED)
        self.assertEqual(from_proxy[1], f"{self.url}/callback", "the same header from the proxy's address counts")

    def test_werkzeugs_proxyfix_believes_everybody(self):
        """Why the library is there: the same neighbour chooses his address."""
        page, redirect_uri = self.pages(self.start_unprotected(PROXY_FIX), "127.0.0.2", FORGED)
        self.assertIn(">6.6.6.6<", page)
        self.assertEqual(redirect_uri, f"{self.url}/callback")


if __name__ == "__main__":
    unittest.main()
