"""The example DNS hooks (examples/dns-hooks), run as Lintel runs them, against services of the test's own."""
import http.server
import json
import struct
import tempfile
import threading

from lintel_test import *

HOOKS = ROOT / "examples/dns-hooks"
RECORD, VALUE = "_acme-challenge.example.test", "Abc_def-123"


def run_hook(name, *arguments):
    return subprocess.run([str(HOOKS / name), *arguments], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"})


def read_name(message, at):
    labels = []
    while message[at]:
        if message[at] & 0xC0 == 0xC0:
            return labels + read_name(message, struct.unpack("!H", message[at:at + 2])[0] & 0x3FFF)[0], at + 2
        labels.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    return labels, at + 1


class UpdateServer:
    """Takes RFC 2136 updates of the zone example.test on UDP; answers SOA queries, which nsupdate finds the zone by."""

    def __init__(self):
        self.rcode, self.updates = 0, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self):
        self.socket.close()

    def _serve(self):
        while True:
            try:
                message, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            flags, = struct.unpack("!H", message[2:4])
            name, end = read_name(message, 12)
            question = message[12:end + 4]
            if flags >> 11 & 15 == 5:
                self.updates.append(self._update(message, end + 4))
                self.socket.sendto(message[:2] + struct.pack("!H4H", 0xA800 | self.rcode, 1, 0, 0, 0) + question, peer)
                continue
            zone = b"\7example\4test\0"
            soa = b"\2ns" + zone + b"\4root" + zone + struct.pack("!5I", 1, 60, 60, 60, 60)
            record = zone + struct.pack("!HHIH", 6, 1, 60, len(soa)) + soa
            counts = (1, 1, 0, 0) if name == ["example", "test"] else (1, 0, 1, 0)
            self.socket.sendto(message[:2] + struct.pack("!H4H", 0x8400, *counts) + question + record, peer)

    @staticmethod
    def _update(message, at):
        name, at = read_name(message, at)
        kind, what, _, size = struct.unpack("!HHIH", message[at:at + 10])
        data = message[at + 10:at + 10 + size]
        return ({1: "add", 254: "remove"}.get(what), ".".join(name), kind, data[1:1 + data[0]].decode() if data else "")


class Nsupdate(unittest.TestCase):
    def setUp(self):
        self.server = UpdateServer()
        self.addCleanup(self.server.stop)
        self.where = f"127.0.0.1#{self.server.port}"

    def test_adds_and_removes_exactly_one_record(self):
        for action in ("add", "remove"):
            ran = run_hook("nsupdate", self.where, "-", action, RECORD, VALUE)
            self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual(self.server.updates, [("add", RECORD, 16, VALUE), ("remove", RECORD, 16, VALUE)])

    def test_a_refusal_fails(self):
        self.server.rcode = 5
        ran = run_hook("nsupdate", self.where, "-", "add", RECORD, VALUE)
        self.assertNotEqual(ran.returncode, 0, "Lintel would wait for a record that nobody made")
        self.assertIn("REFUSED", ran.stderr)

    def test_nothing_can_be_smuggled_into_the_commands_of_nsupdate(self):
        for value in ('x"\nupdate delete example.test. A', "a b", "x;y"):
            self.assertEqual(run_hook("nsupdate", self.where, "-", "add", RECORD, value).returncode, 2)
        self.assertEqual(self.server.updates, [])


class HttpApi(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.status, self.calls = 200, []

        class Handler(http.server.BaseHTTPRequestHandler):
            def take(handler):
                body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
                self.calls.append((handler.command, handler.headers["Authorization"], body["type"], body["name"],
                                   body["content"]))
                text = b"no such zone"
                handler.send_response(self.status)
                handler.send_header("Content-Length", str(len(text)))
                handler.end_headers()
                handler.wfile.write(text)
            do_POST = do_DELETE = take

            def log_message(handler, *args):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/records"

    def test_adds_and_removes_with_the_token(self):
        token = self.folder / "token"
        token.write_text("secret\n")
        for action in ("add", "remove"):
            ran = run_hook("http-api", self.url, str(token), action, RECORD, VALUE)
            self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual(self.calls, [("POST", "Bearer secret", "TXT", RECORD, VALUE),
                                      ("DELETE", "Bearer secret", "TXT", RECORD, VALUE)])

    def test_a_refusal_and_an_absent_service_fail_and_say_why(self):
        self.status = 403
        ran = run_hook("http-api", self.url, "-", "add", RECORD, VALUE)
        self.assertNotEqual(ran.returncode, 0)
        self.assertIn("403: no such zone", ran.stderr)
        ran = run_hook("http-api", f"http://127.0.0.1:{free_port()}/", "-", "add", RECORD, VALUE)
        self.assertNotEqual(ran.returncode, 0)
        self.assertIn("cannot be reached", ran.stderr)


if __name__ == "__main__":
    unittest.main()
