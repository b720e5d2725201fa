"""Shared apps in headless Chromium, over a wildcard certificate that the edge got from Pebble by dns-01: a page with its
script and style, a WebSocket, server-sent events, and signing in with OpenID Connect."""
import shutil

from acme_serve import write_hook
from browser import Driver, trust
from edge_world import *
from pebble import Pebble
from story import EXAMPLES, MARK, NODE_MODULES

as_root()

PROVIDER_PORT = 9400
PROXY_FIX = "from werkzeug.middleware.proxy_fix import ProxyFix\napp.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)"


class SharedInTheBrowser(EdgeTestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = EdgeWorld()
        cls.addClassCleanup(cls.world.stop)
        there = contextlib.ExitStack()
        with cls.world.net.edge.entered():
            cls.pebble = there.enter_context(Pebble(cls.world.folder / "pebble"))
            hook, _ = write_hook(cls.world.folder, cls.pebble)
        cls.addClassCleanup(there.close)
        acme = {"agree": True, "directory": cls.pebble.directory, "ca_file": str(cls.pebble.ca_file), "challenges": ["dns-01"],
                "dns_hook": hook, "dns_servers": [f"127.0.0.1:{cls.pebble.dns_port}"]}
        lines = "[acme]\n" + "\n".join(f"{key} = {toml_value(value)}" for key, value in acme.items()) + "\n"
        cls.world.write_config({"certificate": "acme"}, sites=lines)
        token = cls.world.token("laptop")
        cls.world.start_edge()
        with cls.world.net.edge.entered():
            root = cls.world.folder / "pebble-root.pem"
            root.write_text(cls.pebble.root())
        cls.world.ca.cert = str(root)
        cls.world.context = tls_client_context(str(root))
        visiting = contextlib.ExitStack()
        visiting.enter_context(cls.world.net.visitor.entered())
        cls.addClassCleanup(visiting.close)
        wait_until(cls.certificate_is_there, "the wildcard certificate of Pebble", 90)
        cls.world.login(token)
        cls.start_apps()
        folder = cls.world.folder / "browser"
        folder.mkdir()
        cls.driver = Driver(folder, [f"--host-resolver-rules=MAP *.{DOMAIN} {EDGE}"])
        cls.addClassCleanup(cls.driver.stop)
        trust(cls.driver.home, str(root))
        cls.driver.start()

    @classmethod
    def certificate_is_there(cls):
        try:
            with RawClient(443, host=EDGE, tls=cls.world.context, sni=f"anything.{DOMAIN}"):
                return True
        except OSError:
            return False

    @classmethod
    def start_apps(cls):
        cls.world.app("flask", 5000)
        cls.world.app("websocket", 5001)
        example = cls.world.folder / "flask-oidc"
        shutil.copytree(EXAMPLES / "flask-oidc", example, ignore=shutil.ignore_patterns("node_modules"))
        (example / "node_modules").symlink_to(NODE_MODULES)
        source, count = MARK.subn(lambda _: PROXY_FIX, (example / "app.py").read_text())
        assert count == 1
        (example / "app.py").write_text(source)
        environment = {"PROVIDER_PORT": str(PROVIDER_PORT), "REDIRECT_URI": f"https://oidc.{DOMAIN}/callback",
                       "ISSUER": f"http://localhost:{PROVIDER_PORT}", "PORT": "5002", "NO_PROXY": "*"}
        for name, command, port in (("provider", ["node", "provider.mjs"], PROVIDER_PORT), ("oidc-app", ["/usr/bin/python3", "app.py"], 5002)):
            program = Program(cls.world.net.laptop, [], cls.world.folder / f"{name}.log", environment, command, cwd=example)
            cls.world.programs.append(program)
            cls.world.wait_port(cls.world.net.laptop, port, program)
        forward = Forward(cls.world.net.visitor, cls.world.net.laptop, PROVIDER_PORT)
        cls.addClassCleanup(forward.stop)
        for name, port in (("flask", "5000"), ("websocket", "5001"), ("oidc", "5002")):
            cls.world.share(port, "--name", name, log=f"share-{name}").wait_for(f"https://{name}.{DOMAIN}")

    def setUp(self):
        self.driver.forget()

    def shown(self, element_id):
        return self.driver.run(f"return document.getElementById('{element_id}').innerText")

    def test_a_page_with_script_and_style(self):
        self.driver.open(f"https://flask.{DOMAIN}/")
        self.assertEqual(self.shown("greeting"), "hello from the laptop")
        wait_until(lambda: self.shown("script") == "script ran", "the script")
        self.assertEqual(self.driver.run("return getComputedStyle(document.querySelector('h1')).color"), "rgb(1, 2, 3)")
        self.assertTrue(self.driver.run("return window.isSecureContext"))

    def test_a_websocket(self):
        self.driver.open(f"https://websocket.{DOMAIN}/")  # whatever it answers: the page's origin counts
        self.driver.run(f"""window.got = []; const socket = new WebSocket('wss://websocket.{DOMAIN}/');
            socket.onopen = () => socket.send('hello through the tunnel'); socket.onmessage = (event) => got.push(event.data)""")
        wait_until(lambda: self.driver.run("return window.got[0]") == "hello through the tunnel", "the echo")

    def test_server_sent_events(self):
        self.driver.open(f"https://flask.{DOMAIN}/")
        self.driver.run("""window.got = []; const events = new EventSource('/events?count=5');
            events.onmessage = (event) => { got.push(event.data); fetch('/seen', { method: 'POST' }); if (got.length == 5) events.close() }""")
        wait_until(lambda: self.driver.run("return window.got.join()") == "0,1,2,3,4", "five events, each after the word for the one before")

    def test_signing_in_with_openid_connect(self):
        self.driver.open(f"https://oidc.{DOMAIN}/")
        self.assertIn("Not signed in", self.driver.text())
        self.driver.click("sign-in")
        wait_until(lambda: self.driver.run("return location.port") == str(PROVIDER_PORT), "the provider's page", PATIENCE)
        self.driver.click("continue")
        wait_until(lambda: self.driver.run("return location.href") == f"https://oidc.{DOMAIN}/", "the app's page", PATIENCE)
        self.assertIn("Signed in as Ada Lovelace", self.driver.text())
        self.assertEqual(self.shown("base"), f"https://oidc.{DOMAIN}/")
        self.assertEqual(self.shown("client"), VISITOR)
        self.assertTrue(self.driver.cookies()["session"]["secure"])


if __name__ == "__main__":
    unittest.main()
