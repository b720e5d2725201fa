"""`lintel dev --simulate PLATFORM`: what an app really receives, line by line, through a running Lintel."""
import json
import re
import subprocess
import unittest

from dev_test import Dev, Echo, WebSocket, app, listens
from lintel_test import LINTEL, wait_until

CLIENT = r"127\.0\.0\.1"
ID = "[0-9a-f]{32}"
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

# For a client that sends nothing of the kind. H is the authority the client asked for, P its port.
PLATFORMS = {
    "aws-alb": [f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: https", "X-Forwarded-Port: P",
                "X-Amzn-Trace-Id: Root=1-[0-9a-f]{8}-[0-9a-f]{24}"],
    "aws-alb:client-port": [fr"X-Forwarded-For: {CLIENT}:\d+", "X-Forwarded-Proto: https", "X-Forwarded-Port: P",
                            "X-Amzn-Trace-Id: .*"],
    "aws-alb:preserve": ["X-Forwarded-Proto: https", "X-Forwarded-Port: P", "X-Amzn-Trace-Id: .*"],
    "aws-alb:remove": ["X-Forwarded-Proto: https", "X-Forwarded-Port: P", "X-Amzn-Trace-Id: .*"],
    "cloudflare": ["Accept-Encoding: br, gzip", f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: https",
                   f"CF-Connecting-IP: {CLIENT}", r'CF-Visitor: \{"scheme":"https"\}', "CF-Ray: [0-9a-f]{16}-SJC",
                   "CDN-Loop: cloudflare", "Connection: Keep-Alive"],
    "nginx": [f"X-Real-IP: {CLIENT}", "Connection: close"],
    "nginx-popular": [f"X-Real-IP: {CLIENT}", "Connection: close", f"X-Forwarded-For: {CLIENT}",
                      "X-Forwarded-Proto: https"],
    "heroku": [f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: https", "X-Forwarded-Port: P",
               r"X-Request-Start: \d{13}", "Via: 1.1 heroku-router", f"X-Request-Id: {UUID}"],
    "fly": [f"Fly-Client-IP: {CLIENT}", fr"X-Forwarded-For: {CLIENT}, 77\.83\.142\.42", "Fly-Forwarded-Proto: https",
            "X-Forwarded-Proto: https", "Fly-Forwarded-Ssl: on", "X-Forwarded-Ssl: on", "Fly-Forwarded-Port: P",
            "X-Forwarded-Port: P", "Fly-Region: iad", "Fly-Request-Id: [0-9A-Z]{26}-iad", "Via: 1.1 fly.io",
            r"X-Request-Start: t=\d{16}"],
    "railway": [f"X-Real-IP: {CLIENT}", "X-Forwarded-Proto: https", "X-Forwarded-Host: H", "X-Railway-Edge: .*",
                r"X-Request-Start: \d{13}", "X-Railway-Request-Id: .{22}"],
    "vercel": ["x-forwarded-host: H", "x-forwarded-proto: https", f"x-forwarded-for: {CLIENT}",
               f"x-vercel-forwarded-for: {CLIENT}", f"x-real-ip: {CLIENT}", r"x-vercel-id: iad1::\w{5}-\d{13}-\w{12}"],
    "google-lb": [fr"X-Forwarded-For: {CLIENT},203\.0\.113\.80", "X-Forwarded-Proto: https",
                  fr"X-Cloud-Trace-Context: {ID}/\d+;o=1", "Via: 1.1 google"],
    "azure-front-door": ["Via: 1.1 Azure", f"X-Azure-ClientIP: {CLIENT}", f"X-Azure-SocketIP: {CLIENT}",
                         "X-Azure-Ref: .+", f"X-Azure-FDID: {UUID}", "X-Azure-RequestChain: hops=1",
                         f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Host: H", "X-Forwarded-Proto: https"],
    "azure-app-gateway": [fr"X-Forwarded-For: {CLIENT}:\d+", "x-forwarded-proto: https", "x-forwarded-port: P",
                          "x-original-host: H", r"x-original-url: /path\?q=1", f"x-appgw-trace-id: {ID}"],
    "ngrok": [f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: https", "X-Forwarded-Host: H"],
    "traefik": [f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Host: H", "X-Forwarded-Port: P", "X-Forwarded-Proto: https",
                "X-Forwarded-Server: traefik", f"X-Real-Ip: {CLIENT}"],
    "caddy": [f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: https", "X-Forwarded-Host: H", "Via: 1.1 Caddy"],
    "haproxy": [f"x-forwarded-for: {CLIENT}", f"forwarded: proto=https;for={CLIENT}"],
    "envoy": [f"x-forwarded-for: {CLIENT}", "x-forwarded-proto: https", f"x-request-id: {UUID}",
              f"x-envoy-external-address: {CLIENT}"],
    "ingress-nginx": [f"X-Request-ID: {ID}", f"X-Real-IP: {CLIENT}", f"X-Forwarded-For: {CLIENT}",
                      "X-Forwarded-Host: H", "X-Forwarded-Port: P", "X-Forwarded-Proto: https",
                      "X-Forwarded-Scheme: https", "X-Scheme: https"],
}

# What a client forges, and for each platform what of it the app gets to see: header -> its lines at the app.
FORGED = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example",
          "X-Real-IP": "6.6.6.6", "X_Forwarded_Proto": "http", "CF-Connecting-IP": "6.6.6.6",
          "Fly-Client-IP": "6.6.6.6", "Forwarded": "for=6.6.6.6"}
SEEN = {
    "aws-alb": {"x-forwarded-for": [f"6.6.6.6, {CLIENT}"], "x-forwarded-proto": ["https"],
                "x-forwarded-host": ["evil.example"], "x-real-ip": ["6.6.6.6"], "x_forwarded_proto": ["http"]},
    "aws-alb:preserve": {"x-forwarded-for": ["6.6.6.6"]},
    "aws-alb:remove": {"x-forwarded-for": []},
    "cloudflare": {"x-forwarded-for": [f"6.6.6.6,{CLIENT}"], "x-forwarded-proto": ["https"],
                   "cf-connecting-ip": [CLIENT], "x-forwarded-host": ["evil.example"]},
    "nginx": {"x-forwarded-for": ["6.6.6.6"], "x-forwarded-proto": ["http"], "x-forwarded-host": ["evil.example"],
              "x-real-ip": [CLIENT], "x_forwarded_proto": [], "forwarded": ["for=6.6.6.6"]},
    "nginx-popular": {"x-forwarded-for": [f"6.6.6.6, {CLIENT}"], "x-forwarded-proto": ["https"],
                      "x-real-ip": [CLIENT]},
    "heroku": {"x-forwarded-for": [f"6.6.6.6, {CLIENT}"], "x-forwarded-proto": ["https"]},
    "fly": {"x-forwarded-for": [fr"6.6.6.6, {CLIENT}, 77\.83\.142\.42"], "fly-client-ip": [CLIENT],
            "x-forwarded-proto": ["https"]},
    "railway": {"x-forwarded-for": [], "x-real-ip": [CLIENT], "x-forwarded-host": ["H"],
                "x-forwarded-proto": ["https"]},
    "vercel": {"x-forwarded-for": [CLIENT], "x-forwarded-host": ["H"], "x-forwarded-proto": ["https"],
               "x-real-ip": [CLIENT]},
    "google-lb": {"x-forwarded-for": [fr"6.6.6.6,{CLIENT},203\.0\.113\.80"], "x-forwarded-proto": ["https"],
                  "x-forwarded-host": ["evil.example"]},
    "azure-front-door": {"x-forwarded-for": [f"6.6.6.6, {CLIENT}"], "x-azure-clientip": ["6.6.6.6"],
                         "x-azure-socketip": [CLIENT], "x-forwarded-host": ["H"], "x-forwarded-proto": ["https"]},
    "azure-app-gateway": {"x-forwarded-for": [fr"6.6.6.6, {CLIENT}:\d+"], "x-forwarded-proto": ["https"]},
    "ngrok": {"x-forwarded-for": [f"6.6.6.6, {CLIENT}"], "x-forwarded-proto": ["http, https"],
              "x-forwarded-host": ["evil.example"]},
    "traefik": {"x-forwarded-for": [CLIENT], "x-forwarded-proto": ["https"], "x-forwarded-host": ["H"],
                "x-real-ip": [CLIENT], "x_forwarded_proto": ["http"], "forwarded": ["for=6.6.6.6"]},
    "caddy": {"x-forwarded-for": [CLIENT], "x-forwarded-proto": ["https"], "x-forwarded-host": ["H"],
              "x-real-ip": ["6.6.6.6"], "x_forwarded_proto": []},
    "haproxy": {"x-forwarded-for": ["6.6.6.6", CLIENT], "x-forwarded-proto": ["http"],
                "forwarded": ["for=6.6.6.6", f"proto=https;for={CLIENT}"]},
    "envoy": {"x-forwarded-for": [f"6.6.6.6,{CLIENT}"], "x-forwarded-proto": ["https"]},
    "ingress-nginx": {"x-forwarded-for": [CLIENT], "x-original-forwarded-for": ["6.6.6.6"],
                      "x-forwarded-proto": ["https"], "x-forwarded-host": ["H"]},
}


class Simulate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.echo = Echo()
        cls.addClassCleanup(cls.echo.server_close)
        cls.addClassCleanup(cls.echo.shutdown)

    def dev(self, platform, *options):
        return Dev(self, options=("--simulate", platform, *options, str(self.echo.server_address[1])))

    def received(self, dev, *options):
        answer = dev.curl("/path?q=1", "--ipv4", *options)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()

    def check(self, dev, pattern, text):
        pattern = re.sub(r"\bH\b", f"localhost:{dev.port}", pattern)
        pattern = re.sub(r"\bP$", str(dev.port), pattern)
        self.assertRegex(text, f"^{pattern}$")

    def test_every_platform_sends_its_lines_and_nothing_of_lintels(self):
        for platform, expected in PLATFORMS.items():
            with self.subTest(platform):
                dev = self.dev(platform)
                lines = self.received(dev, "--http1.1", "-H", "User-Agent: test", "-H", "Accept: a/b")
                host = "localhost" if platform.startswith("nginx") else f"localhost:{dev.port}"
                self.assertEqual(lines[0], ["Host", host])
                own = [f"{name}: {value}" for name, value in lines[1:]
                       if name.lower() not in ("user-agent", "accept")]
                self.assertEqual(len(own), len(expected), own)
                for pattern, line in zip(expected, own):
                    self.check(dev, pattern, line)
                forged = [option for item in FORGED.items() for option in ("-H", "%s: %s" % item)]
                lines = self.received(dev, *forged)
                for name, patterns in SEEN.get(platform, {}).items():
                    values = [value for key, value in lines if key.lower() == name]
                    self.assertEqual(len(values), len(patterns), (name, values))
                    for pattern, value in zip(patterns, values):
                        self.check(dev, pattern, value)
                dev.stop()

    def test_a_websocket_behind_traefik_is_told_to_be_wss(self):
        """Apps that compare the scheme with "https" then believe that they are on http."""
        code = """
import base64, hashlib, json, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        lines = []
        while (line := self.rfile.readline().decode().strip()): lines.append(line)
        fields = {k.lower(): v for k, v in (line.split(': ', 1) for line in lines[1:])}
        key = fields['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.wfile.write(('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n'
                          'Sec-WebSocket-Accept: ' + accept + '\\r\\n\\r\\n').encode())
        text = json.dumps([fields.get('x-forwarded-proto'), fields.get('upgrade'), fields.get('connection')]).encode()
        self.wfile.write(bytes([0x81, len(text)]) + text)
        self.rfile.read(1)
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
server = Server(('127.0.0.1', int(os.environ['PORT'])), Handler)
print('app: listening', flush=True)
server.serve_forever()
"""
        dev = Dev(self, *app(code), options=("--simulate", "traefik"))
        dev.wait_for("forwarding to")
        with WebSocket(dev, "/") as socket:
            self.assertEqual(json.loads(socket.receive()), ["wss", "websocket", "Upgrade"])

    def test_plain_http_is_told_as_http(self):
        """--as-scheme http: the scheme of the simulated platform is that of the client's connection."""
        dev = self.dev("aws-alb", "--as-scheme", "http")
        answer = dev.curl("/", "--ipv4", scheme="http")
        self.assertIn(["X-Forwarded-Proto", "http"], answer.json())

    def test_the_banner_says_that_it_is_a_simulation(self):
        dev = self.dev("google-lb")
        dev.wait_for(r"SIMULATION: the app gets the headers of google-lb, also those that a client forged")
        dev.stop()
        dev = self.dev("google-lb", "--json")
        line = dev.wait_for(r"(\{.*\"event\":\"listening\".*\})\n").group(1)
        self.assertEqual(json.loads(line)["simulates"], "google-lb")
        dev.stop()
        plain = Dev(self, options=("--json", str(self.echo.server_address[1])))
        self.assertNotIn("simulates", json.loads(plain.wait_for(r"(\{.*\"event\":\"listening\".*\})\n").group(1)))

    def test_another_host_is_refused_as_ever(self):
        """The guard against DNS rebinding stands, and a forged X-Forwarded-Host does not get around it."""
        dev = self.dev("ngrok")
        self.assertEqual(dev.curl("/", "-H", "Host: evil.example").status, 421)

    def refused(self, *options):
        done = subprocess.run([LINTEL, "dev", *options, "5000"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 2, done.stderr)
        return done.stderr

    def test_only_this_machine_may_reach_it(self):
        """Everybody on the network could otherwise be whoever they like to the app."""
        for host in ("0.0.0.0", "::", "192.0.2.7"):
            self.assertIn("--host " + host, self.refused("--simulate", "fly", "--host", host))

    def test_loopback_may_be_named(self):
        dev = self.dev("fly", "--host", "127.0.0.1")
        wait_until(lambda: listens(dev.port), "lintel to listen")
        self.assertIn(["Fly-Client-IP", "127.0.0.1"], self.received(dev))

    def test_an_unknown_platform_is_a_usage_error_with_the_nearest_name(self):
        self.assertIn("did you mean cloudflare?", self.refused("--simulate", "cloudflair"))
        self.assertIn("--help lists them", self.refused("--simulate", "mainframe"))

    def test_help_lists_every_platform(self):
        text = subprocess.run([LINTEL, "dev", "--help"], capture_output=True, text=True, timeout=60).stdout
        for platform in PLATFORMS:
            self.assertRegex(text, rf"[ :]{re.escape(platform)}(,|\n|$)")


if __name__ == "__main__":
    unittest.main()
