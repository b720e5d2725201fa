"""A little agent of an edge: enough of HTTP/2's server side to answer GETs with 200, and to see when it is cut."""
import base64
import json
import secrets
import socket
import ssl
import struct
import threading


def encoded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def decoded(text):
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


class Refused(Exception):
    def __init__(self, status, error, body):
        super().__init__(f"{status} {error}: {body}")
        self.status, self.error = status, error
        self.refusal = json.loads(body) if body.startswith("{") else {}


class SmallAgent:
    """Comes in at once, or raises Refused. `.welcome` is the edge's; `.cut` is set when the connection has ended."""

    def __init__(self, port, domain, token, name="", ca=None, **hello):
        self.cut = threading.Event()
        self.ended = False
        context = ssl.create_default_context(cafile=ca)
        raw = socket.create_connection(("127.0.0.1", port), 20)
        self.socket = context.wrap_socket(raw, server_hostname=domain)
        hello = {"version": 1, "kind": "http", "agent": secrets.token_hex(8), "name": name, "software": "test/1", **hello}
        self.socket.sendall(
            f"GET /.well-known/lintel/agent HTTP/1.1\r\nHost: {domain}:{port}\r\nConnection: Upgrade\r\n"
            f"Upgrade: lintel-tunnel/1\r\nAuthorization: Bearer {token}\r\nLintel-Hello: {encoded(hello)}\r\n\r\n".encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        status = int(lines[0].split()[1])
        fields = dict((name.lower(), value) for name, value in (line.split(": ", 1) for line in lines[1:]))
        if status != 101:
            while len(self.buffer) < int(fields.get("content-length", 0)):
                self._more()
            self.socket.close()
            raise Refused(status, fields.get("x-lintel-error"), self.buffer.decode())
        self.welcome = decoded(fields["lintel-welcome"])
        self._send(4, 0, 0, b"")
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _more(self):
        octets = self.socket.recv(65536)
        if not octets:
            raise ConnectionError("the edge has ended the connection")
        self.buffer += octets

    def _take(self, size):
        while len(self.buffer) < size:
            self._more()
        octets, self.buffer = self.buffer[:size], self.buffer[size:]
        return octets

    def _send(self, kind, flags, stream, payload):
        self.socket.sendall(struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload)

    def _serve(self):
        try:
            self._take(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
            while True:
                head = self._take(9)
                length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
                stream, payload = int.from_bytes(head[5:], "big"), self._take(length)
                if kind == 4 and not flags & 1:
                    self._send(4, 1, 0, b"")
                elif kind == 6 and not flags & 1:
                    self._send(6, 1, 0, payload)
                elif kind == 1:
                    self._send(1, 4, stream, b"\x88")  # :status 200
                    self._send(0, 1, stream, b"hello")
                elif kind == 7:
                    break
        except (OSError, ValueError):
            pass
        self.cut.set()

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # its thread reads, so that close() alone would not end it
        except OSError:
            pass
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
