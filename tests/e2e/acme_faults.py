"""A proxy in front of Pebble that does what issuers do on a bad day.

    with Faults(pebble, folder) as faults:
        faults.add("finalize", drop())            # the next request to …finalize… is not answered
        faults.directory, faults.ca_file          # what the client is told
        faults.seen                               # [(monotonic seconds, method, path)], every request

Faults are used up, first in first out, by the first request whose path holds their word. Pebble writes its URLs from
the Host field, so everything that a client does comes through here.
"""
import http.client
import http.server
import json
import ssl
import threading
import time
import urllib.parse

from lintel_test import CertificateAuthority


def answer_with(status, body=b"", fields=(), content_type="application/problem+json"):
    """An answer instead of the issuer's, which is not asked."""
    return ("answer", status, body, [("Content-Type", content_type), *fields])


def problem(status, kind, detail="a bad day", fields=()):
    document = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": status}
    return answer_with(status, json.dumps(document).encode(), fields)


def refused_nonce():
    """badNonce with a fresh nonce, as RFC 8555 §6.5 wants it."""
    return ("nonce",)


def drop():
    """The connection ends without an answer; the issuer has not seen the request."""
    return ("drop",)


def drop_answer():
    """The same, but the issuer has acted on the request."""
    return ("drop-answer",)


def garbage_certificate():
    return answer_with(200, b"-----BEGIN CERTIFICATE-----\nZ2FyYmFnZQ==\n-----END CERTIFICATE-----\n",
                       content_type="application/pem-certificate-chain")


def hang(seconds):
    return ("hang", seconds)


class Faults:
    def __init__(self, pebble, folder):
        self.pebble, self.seen, self.waiting = pebble, [], []
        self.lock = threading.Lock()
        self.rewrite = None  # a function that gets each certificate chain (PEM) and returns what the client gets
        # Ten years: the clock of some clients is set forward.
        ca = CertificateAuthority(folder / "faults-ca", "The proxy's CA", days=3650)
        self.ca_file = ca.cert
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*ca.issue("127.0.0.1", days=3650))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.directory = f"https://127.0.0.1:{self.server.server_address[1]}/dir"
        self.stopping = threading.Event()

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()

    def add(self, word, *faults):
        with self.lock:
            self.waiting += [(word, fault) for fault in faults]

    def clear(self):
        with self.lock:
            self.waiting, self.seen = [], []

    def times(self, word):
        with self.lock:
            return [at for at, _, path in self.seen if word in path]

    def _take(self, method, path):
        with self.lock:
            self.seen.append((time.monotonic(), method, path))
            for i, (word, fault) in enumerate(self.waiting):
                if word in path:
                    del self.waiting[i]
                    return fault
        return None

    def _ask_issuer(self, method, path, body, headers):
        port = urllib.parse.urlsplit(self.pebble.directory).port
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=self.pebble.context)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.getheaders()
        finally:
            connection.close()

    def _fresh_nonce(self):
        _, _, fields = self._ask_issuer("HEAD", "/nonce-plz", None, {})
        return next(value for name, value in fields if name.lower() == "replay-nonce")

    def _handler(faults):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (ssl.SSLError, OSError):
                    self.close_connection = True

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
                fault = faults._take(self.command, self.path)
                if fault and fault[0] == "hang":
                    faults.stopping.wait(fault[1])
                if fault and fault[0] in ("hang", "drop"):
                    self.close_connection = True
                    return
                if fault and fault[0] == "answer":
                    return self.reply(*fault[1:])
                if fault and fault[0] == "nonce":
                    document = {"type": "urn:ietf:params:acme:error:badNonce", "detail": "that nonce again"}
                    return self.reply(400, json.dumps(document).encode(), [
                        ("Content-Type", "application/problem+json"), ("Replay-Nonce", faults._fresh_nonce())])
                headers = {name: self.headers[name] for name in ("Host", "Content-Type", "Accept", "User-Agent")
                           if self.headers[name]}
                status, content, fields = faults._ask_issuer(self.command, self.path, body, headers)
                if faults.rewrite is not None and "/certZ/" in self.path and status == 200:
                    content = faults.rewrite(content)
                if fault and fault[0] == "drop-answer":
                    self.close_connection = True
                    return
                skipped = ("connection", "content-length", "transfer-encoding", "date")
                self.reply(status, content, [field for field in fields if field[0].lower() not in skipped])

            do_GET = do_POST = do_HEAD = answer

            def reply(self, status, content, fields):
                self.send_response(status)
                for name, value in fields:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)
                self.close_connection = True
        return Handler
