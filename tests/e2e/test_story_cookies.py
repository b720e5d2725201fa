"""The stories of examples/django-csrf and examples/express-session in a real browser: a form that is refused for its
Origin, and a Secure session cookie that is never sent, until the app is told that it is on https."""
from story import *


class Story(BrowserStoryTestCase):
    def send_form(self, button, before, after):
        """Opens the app's page, which says `before`, and sends its form; returns when the page says `after`."""
        self.driver.open(self.url + "/")
        self.assertIn(before, self.driver.text())
        self.driver.run("window.before = true")
        self.driver.click(button)
        wait_until(lambda: self.driver.run("return !window.before && document.readyState == 'complete'"), "the answer", PATIENCE)
        self.assertIn(after, self.driver.text())

    def base(self):
        return self.driver.run("return document.getElementById('base').innerText")


class DjangoForm(Story):
    EXAMPLE = "django-csrf"
    LINE = 'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")'

    def app(self, fix=None):
        self.app_port = free_port()
        return ([PYTHON, "manage.py", "runserver", "--noreload", f"127.0.0.1:{self.app_port}"],
                self.copy_example("guestbook/settings.py", fix))

    def assert_refused(self):
        self.send_form("sign", "Nobody has signed", "CSRF verification failed")
        self.assertIn(f"Origin checking failed - {self.url} does not match any trusted origins.", self.driver.text())

    def test_behind_a_plain_proxy_the_form_is_refused(self):
        command, folder = self.app()
        self.behind_plain_proxy(command, folder, self.app_port)
        self.assert_refused()

    def test_lintel_names_the_cause_and_the_line(self):
        dev = self.behind_lintel(*self.app())
        self.assert_refused()
        dev.wait_for(r"POST /sign comes from a page of https://django-csrf\.localhost itself and is refused: .*Origin")
        self.assert_names_the_line(dev, self.LINE)

    def test_with_the_line_the_form_is_taken_and_its_cookies_are_secure(self):
        dev = self.behind_lintel(*self.app(self.LINE))
        self.send_form("sign", "Nobody has signed", "Signed by Ada")
        self.assertEqual(self.base(), self.url + "/")
        self.assertEqual({name: cookie["secure"] for name, cookie in self.driver.cookies().items()},
                         {"csrftoken": True, "sessionid": True})
        self.assertNotIn("fix:", dev.output(), "an app that is right gives no finding")

    def test_a_form_of_another_site_stays_refused_and_is_nobodys_mistake(self):
        """The line does not open the app: what it refuses then is an attack, and no finding asks to allow it."""
        dev = self.behind_lintel(*self.app(self.LINE))
        answer = dev.curl("/sign", "-d", "name=Eve", "-H", "Origin: https://evil.example", name=self.host)
        self.assertEqual(answer.status, 403)
        self.assertIn("Origin checking failed - https://evil.example", answer.body)
        self.assertNotIn("fix:", dev.output())


class ExpressSession(Story):
    EXAMPLE = "express-session"
    LINE = """app.set('trust proxy', "loopback");"""

    def app(self, fix=None):
        return ["node", "server.js"], self.copy_example("server.js", fix)

    def assert_forgotten(self):
        self.send_form("sign-in", "Not signed in", "Not signed in")
        self.assertEqual(self.driver.cookies(), {})

    def test_behind_a_plain_proxy_the_sign_in_is_forgotten(self):
        self.behind_plain_proxy(*self.app())
        self.assert_forgotten()

    def test_lintel_names_the_cause_and_the_line(self):
        dev = self.behind_lintel(*self.app())
        self.assert_forgotten()
        self.assertRegex(dev.output(), r"POST /login looks like a sign-in and is answered with a redirect and no cookie")
        self.assert_names_the_line(dev, self.LINE)

    def test_with_the_line_the_session_stays_and_its_cookie_is_secure(self):
        dev = self.behind_lintel(*self.app(self.LINE))
        self.send_form("sign-in", "Not signed in", "Signed in as Ada")
        self.assertEqual(self.base(), self.url + "/")
        self.assertTrue(self.driver.cookies()["connect.sid"]["secure"])
        self.driver.open(self.url + "/")
        self.assertIn("Signed in as Ada", self.driver.text())
        self.assertNotIn("fix:", dev.output(), "an app that is right gives no finding")


del Story  # has no example of its own


if __name__ == "__main__":
    unittest.main()
