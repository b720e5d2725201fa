"""A real browser: headless Chromium with the CA in its own NSS database."""
import base64
import hashlib

import wsproto.connection
import wsproto.events

from browser import Driver, trust
from lintel_test import *

PAGE = """<!doctype html><title>loading</title><link rel="stylesheet" href="/style.css"><script src="/script.js"></script>
<form method="post" action="/form"><input name="word" value="hello"><button id="send">Send</button></form>"""
SCRIPT = """
window.results = {socket: [], fetched: null};
window.addEventListener('load', async () => {
  results.protocol = performance.getEntriesByType('navigation')[0].nextHopProtocol;
  results.secure = window.isSecureContext;
  results.cookie = document.cookie;
  results.many = (await Promise.all([...Array(60).keys()].map(i => fetch('/n/' + i).then(r => r.text())))).join(',');
  const events = new EventSource('/events');
  results.event = await new Promise(done => events.onmessage = e => { events.close(); done(e.data); });
  const socket = new WebSocket('wss://' + location.host + '/ws');
  socket.onmessage = e => {
    results.socket.push(e.data);
    if (results.socket.length == 3) socket.close(); else socket.send('again ' + results.socket.length);
  };
  socket.onopen = () => socket.send('first');
  socket.onerror = () => { document.title = 'failed'; };
  socket.onclose = e => { results.clean = e.wasClean; document.title = 'done'; };
});
"""


class Browser(LintelTestCase):
    HOST = "app.localhost"

    @classmethod
    def configure(cls):
        cls.cert = cls.ca.issue(cls.HOST)
        return [cls.site(hosts=[cls.HOST], redirect_http=308)], {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.driver = Driver(cls.folder)
        cls.addClassCleanup(cls.driver.stop)
        trust(cls.driver.home, cls.ca.cert)
        cls.driver.start()

    def setUp(self):
        super().setUp()
        self.origin.handler = self.app
        self.url = f"https://{self.HOST}:{self.lintel.https}"

    def app(self, conn):
        while (request := conn.read_request()) is not None:
            if request.get("upgrade") == "websocket":
                return self.echo(conn, request)
            kinds = {"/": (PAGE, "text/html"), "/script.js": (SCRIPT, "text/javascript"), "/style.css": ("body{}", "text/css"),
                     "/events": ("data: flushed\n\n", "text/event-stream")}
            body, kind = kinds.get(request.target, (request.target + " " + request.body.decode(), "text/plain"))
            extra = [("Set-Cookie", "seen=1")] if request.target == "/" else []
            if request.target == "/old":
                extra, status = [("Location", f"http://{self.HOST}:{self.lintel.https}/")], 302
            else:
                status = 200
            conn.send(answer(status, body, [("Content-Type", kind), *extra]))
        return None

    @staticmethod
    def echo(conn, request):
        accept = base64.b64encode(hashlib.sha1((request.get("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        peer = wsproto.connection.Connection(wsproto.connection.ConnectionType.SERVER)
        while True:
            if conn.pending:
                peer.receive_data(bytes(conn.pending))
                conn.pending.clear()
            for event in peer.events():
                if isinstance(event, wsproto.events.TextMessage):
                    conn.send(peer.send(wsproto.events.TextMessage(data="echo " + event.data)))
                elif isinstance(event, wsproto.events.CloseConnection):
                    conn.send(peer.send(event.response()))
                    return None
            if not conn.fill():
                return None

    def test_page_and_websocket_over_http_2(self):
        self.driver.open(self.url + "/")
        wait_until(lambda: self.driver.title() in ("done", "failed"), "the page's script", 30)
        results = self.driver.run("return window.results")
        self.assertEqual(self.driver.title(), "done", results)
        self.assertEqual(results["protocol"], "h2")
        self.assertTrue(results["secure"])
        self.assertEqual(results["event"], "flushed")
        self.assertEqual(results["socket"], ["echo first", "echo again 1", "echo again 2"])
        self.assertTrue(results["clean"])
        self.assertEqual(results["cookie"], "seen=1")
        self.assertEqual(results["many"], ",".join(f"/n/{i} " for i in range(60)))
        line = self.lintel.wait_log(lambda entry: entry.get("target", "") == "/ws")
        self.assertEqual(line["protocol"], "HTTP/2", "the WebSocket shares the page's connection (RFC 8441)")
        self.assertEqual(self.origin.requests[0].all("x-forwarded-proto"), ["https"])

    def test_form_and_repaired_redirect(self):
        """The app redirects to http:// by mistake: the browser stays on https."""
        self.driver.open(self.url + "/old")
        self.assertEqual(self.driver.run("return location.href"), self.url + "/")
        self.driver.run("document.getElementById('send').click()")
        wait_until(lambda: self.driver.run("return document.body.innerText") == "/form word=hello", "the form's answer")

    def test_an_untrusted_certificate_is_refused(self):
        """Proof that the other tests verify: a certificate of another CA stops the same browser."""
        stranger = CertificateAuthority(self.folder / "stranger", "Stranger")
        foreign = Origin(tls_context=stranger.server_context(self.HOST))
        self.addCleanup(foreign.stop)
        self.driver.open(f"https://{self.HOST}:{foreign.port}/")
        self.assertIn("ERR_CERT_AUTHORITY_INVALID", self.driver.run("return document.body.innerText"))


if __name__ == "__main__":
    unittest.main()
