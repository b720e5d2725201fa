"""An edge of a few lines, for tests of agents: it can do what a real one would never do.

    edge = SmallEdge(ca)                       # TLS on a free port, as "localhost"
    edge.script = lambda knock: knock.welcome()   # what happens with each agent that knocks; the default
    agent = edge.agent()                       # the next one that was welcomed
    agent.request("/", [("x-forwarded-for", "192.0.2.9")])
"""
import base64
import json
import queue
import socket
import ssl
import threading

import h2.config
import h2.connection
import h2.events

from h2client import GOAWAY, frame

TIMEOUT_S = 30


def encode(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def decode(text):
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


class Knock:
    """An agent's request for a tunnel."""

    def __init__(self, edge, sock, head):
        self.edge, self.sock = edge, sock
        lines = head.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.hello = decode(self.headers["lintel-hello"]) if "lintel-hello" in self.headers else None

    def send(self, octets):
        self.sock.sendall(octets)

    def welcome(self, at_once=False, **changes):
        """Takes the agent in; returns the tunnel. `at_once`: the first HTTP/2 octets are in the 101's packet."""
        edge = self.edge
        name = self.hello["name"] or "quiet-otter-k7w2m"
        welcome = {"session": self.hello["session"] or "c2Vzc2lvbg", "secret": "c2VjcmV0", "name": name,
                   "hosts": [f"{name}.localhost"], "url": f"https://{name}.localhost:{edge.port}",
                   "hold_ms": 10000, "agents": 1, **changes}
        head = (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lintel-tunnel/1\r\n"
                b"Lintel-Welcome: " + encode(welcome).encode() + b"\r\n\r\n")
        if not at_once:
            self.send(head)
        return Tunnel(self, welcome, head if at_once else b"")

    def refuse(self, error, message, status=403, final=False, retry_after_s=0):
        body = json.dumps({"error": error, "message": message, "final": final, "retry_after_s": retry_after_s}).encode()
        self.send(b"HTTP/1.1 %d No\r\nX-Lintel-Error: %s\r\nContent-Length: %d\r\n\r\n" %
                  (status, error.encode(), len(body)) + body)


class Answer:
    def __init__(self):
        self.status, self.headers, self.body, self.reset, self.ended = None, [], b"", None, threading.Event()

    def get(self, name, default=None):
        return next((value for key, value in self.headers if key == name), default)


class Tunnel:
    """The edge's end: an HTTP/2 client."""

    def __init__(self, knock, welcome, head=b""):
        self.knock, self.sock, self.welcomed = knock, knock.sock, welcome
        self.lock = threading.Lock()
        self.answers, self.pings = {}, 0
        self.closed = threading.Event()
        self.goaway = None  # error code
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        with self.lock:
            self.h2.initiate_connection()
            self.sock.sendall(head + self.h2.data_to_send())
        threading.Thread(target=self._read, daemon=True).start()

    def _flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def _read(self):
        try:
            while octets := self.sock.recv(65536):
                with self.lock:
                    for event in self.h2.receive_data(octets):
                        self._take(event)
                    self._flush()
        except (OSError, ssl.SSLError, h2.exceptions.ProtocolError):
            pass
        self.closed.set()

    def _take(self, event):
        answer = self.answers.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.ResponseReceived):
            answer.headers = list(event.headers)
            answer.status = int(dict(event.headers)[":status"])
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended.set()
        elif isinstance(event, h2.events.StreamReset) and answer:
            answer.reset = event.error_code
            answer.ended.set()
        elif isinstance(event, h2.events.PingReceived):
            self.pings += 1
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event.error_code

    def start(self, path, headers=(), method="GET", authority=None, body=None):
        answer = Answer()
        with self.lock:
            stream = self.h2.get_next_available_stream_id()
            self.answers[stream] = answer
            authority = authority or self.welcomed["url"].split("://")[1]
            self.h2.send_headers(stream, [(":method", method), (":scheme", "https"), (":authority", authority),
                                          (":path", path), *headers], end_stream=body is None)
            for at in range(0, len(body or b""), 16384):
                self.h2.send_data(stream, body[at:at + 16384])
            if body is not None:
                self.h2.end_stream(stream)
            self._flush()
        return answer

    def request(self, path="/", headers=(), **options):
        answer = self.start(path, headers, **options)
        if not answer.ended.wait(TIMEOUT_S):
            raise AssertionError(f"no answer to {path}")
        return answer

    def visit(self, path="/", visitor="192.0.2.9", headers=(), **options):
        """As a real edge sends a visitor's request."""
        host = self.welcomed["url"].split("://")[1]
        port = host.partition(":")[2] or "443"
        return self.request(path, [("x-forwarded-for", visitor), ("x-forwarded-proto", "https"),
                                   ("x-forwarded-host", host), ("x-forwarded-port", port), *headers], **options)

    def say_goodbye(self):
        """GOAWAY: no further requests."""
        with self.lock:
            self.sock.sendall(frame(GOAWAY, payload=bytes(8)))

    def close(self):
        for how in (lambda: self.sock.shutdown(socket.SHUT_RDWR), self.sock.close):
            try:
                how()
            except OSError:
                pass


class SmallEdge:
    def __init__(self, ca, port=None):
        self.context = ca.server_context("localhost", "*.localhost")
        self.script = lambda knock: knock.welcome() if knock.hello else knock.send(b"HTTP/1.1 204 No\r\n\r\n")
        self.knocks = queue.Queue()   # every agent's request
        self.tunnels = queue.Queue()  # those that were welcomed
        self.open = []
        self.listener = socket.create_server(("127.0.0.1", port or 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, raw):
        raw.settimeout(TIMEOUT_S)
        try:
            sock = self.context.wrap_socket(raw, server_side=True)
            self.open.append(sock)
            head = b""
            while b"\r\n\r\n" not in head:
                octets = sock.recv(65536)
                if not octets:
                    return
                head += octets
            knock = Knock(self, sock, head.partition(b"\r\n\r\n")[0])
            self.knocks.put(knock)
            tunnel = self.script(knock)
            if isinstance(tunnel, Tunnel):
                sock.settimeout(None)
                self.tunnels.put(tunnel)
            elif tunnel != "keep":
                sock.close()
        except (OSError, ssl.SSLError):
            raw.close()

    def knock(self):
        return self.knocks.get(timeout=TIMEOUT_S)

    def agent(self):
        return self.tunnels.get(timeout=TIMEOUT_S)

    def close_connections(self):
        while self.open:
            sock = self.open.pop()
            for how in (lambda: sock.shutdown(socket.SHUT_RDWR), sock.close):
                try:
                    how()
                except OSError:
                    pass

    def stop(self):
        """The process is gone: nobody listens, every connection is closed."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)  # close() alone would leave the thread in accept()
        except OSError:
            pass
        self.listener.close()
        self.close_connections()
