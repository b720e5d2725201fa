"""A scripted app for the end-to-end tests: it records every octet that reaches it and can answer anything.

Two ways to script it:
  origin.respond = lambda request: answer(200, b"hi")   # the whole request is read first; bytes are sent as they are
  origin.handler = lambda conn: ...                     # full control of one connection, from its first octet
Both may be changed between requests. `origin.reset()` forgets what was recorded and restores the default answer.
"""
import contextlib
import os
import socket
import ssl
import struct
import threading
import time

SOCKET_TIMEOUT_S = 30


def answer(status=200, body=b"ok\n", headers=(), reason="Answer", length=True):
    """One HTTP/1.1 answer as octets."""
    if isinstance(body, str):
        body = body.encode()
    lines = [f"HTTP/1.1 {status} {reason}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def chunked(*chunks, trailers=()):
    """A chunked body, its last chunk and trailers included."""
    out = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return out + b"0\r\n" + b"".join(b"%s: %s\r\n" % (n.encode(), v.encode()) for n, v in trailers) + b"\r\n"


class Request:
    """A request as the app received it. Names keep their case; get() ignores it."""

    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.method, self.target, self.version = (lines[0].split(" ") + ["", ""])[:3]
        self.headers = []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers.append((name, value.strip()))
        self.body = b""
        self.trailers = []
        self.conn = None

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def names(self):
        return [key.lower() for key, _ in self.headers]


class Connection:
    """One connection that Lintel made to the app."""

    def __init__(self, sock, record, arrived):
        self.sock = sock
        self.arrived = arrived  # the app's list of requests, in order of arrival
        self.record = record
        self.raw = bytearray()  # every octet received since reset()
        self.pending = bytearray()  # received and not yet parsed
        self.requests = []
        self.gone = threading.Event()  # the other side closed or reset
        self.finished = threading.Event()  # the handler has returned

    def fill(self):
        """Receives once. False when the other side is gone."""
        try:
            data = self.sock.recv(65536)
        except (OSError, ssl.SSLError):
            data = b""
        if not data:
            self.gone.set()
            return False
        if self.record:
            self.raw += data
        self.pending += data
        return True

    def read_head(self):
        while b"\r\n\r\n" not in self.pending:
            if not self.fill():
                return None
        head, _, rest = bytes(self.pending).partition(b"\r\n\r\n")
        self.pending = bytearray(rest)
        request = Request(head)
        request.conn = self
        self.requests.append(request)
        self.arrived.append(request)
        return request

    def read_exactly(self, count):
        while len(self.pending) < count:
            if not self.fill():
                return None
        data = bytes(self.pending[:count])
        del self.pending[:count]
        return data

    def read_line(self):
        while b"\r\n" not in self.pending:
            if not self.fill():
                return None
        line, _, rest = bytes(self.pending).partition(b"\r\n")
        self.pending = bytearray(rest)
        return line

    def read_chunk(self):
        """The next chunk of a chunked body; b"" for the last one (its trailers stay unread); None when cut off."""
        line = self.read_line()
        if line is None:
            return None
        size = int(line.split(b";")[0], 16)
        if size == 0:
            return b""
        data = self.read_exactly(size + 2)
        return None if data is None else data[:-2]

    def read_body(self, request):
        """Reads the body into request.body. False when it was cut off."""
        if "chunked" in (request.get("transfer-encoding") or "").lower():
            while True:
                chunk = self.read_chunk()
                if chunk is None:
                    return False
                if chunk == b"":
                    break
                request.body += chunk
            while True:
                line = self.read_line()
                if line is None:
                    return False
                if line == b"":
                    return True
                name, _, value = line.decode("latin-1").partition(":")
                request.trailers.append((name, value.strip()))
        length = int(request.get("content-length") or 0)
        if length:
            data = self.read_exactly(length)
            if data is None:
                return False
            request.body = data
        return True

    def read_request(self):
        request = self.read_head()
        if request is None:
            return None
        if (request.get("expect") or "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return request if self.read_body(request) else None

    def send(self, data):
        """False when the other side is gone."""
        try:
            self.sock.sendall(data)
            return True
        except (OSError, ssl.SSLError):
            self.gone.set()
            return False

    def wait_gone(self):
        """Reads until the other side closes."""
        while self.fill():
            self.pending.clear()

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self.sock.close()

    def abort(self):
        """Closes with a reset."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.close()


class Origin:
    """The app. Listens on a loopback port (plain or TLS) or a unix socket from the start; `stop()` ends it."""

    def __init__(self, respond=None, handler=None, unix_path=None, tls_context=None, port=0, host="127.0.0.1"):
        self.default_respond = respond or (lambda request: answer())
        self.respond = self.default_respond
        self.default_handler = handler or self._answer_requests
        self.handler = self.default_handler
        self.tls_context = tls_context
        self.record = True
        self.requests = []  # in order of arrival
        self.connections = []
        self.open_connections = []
        self._lock = threading.Lock()
        self._stopping = False
        if unix_path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(unix_path)
            os.chmod(unix_path, 0o666)
            self.url, self.port = f"unix:{unix_path}", None
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self.listener = socket.socket(family)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind((host, port))
            self.port = self.listener.getsockname()[1]
            scheme = "https" if tls_context else "http"
            self.url = f"{scheme}://{'[' + host + ']' if ':' in host else host}:{self.port}"
        self.listener.listen(512)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self._stopping:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        sock.settimeout(SOCKET_TIMEOUT_S)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls_context:
            try:
                sock = self.tls_context.wrap_socket(sock, server_side=True)
            except (OSError, ssl.SSLError):
                sock.close()
                return
        conn = Connection(sock, self.record, self.requests)
        with self._lock:
            self.connections.append(conn)
            self.open_connections.append(conn)
        try:
            self.handler(conn)
        finally:
            conn.close()
            with self._lock:
                self.open_connections.remove(conn)
            conn.finished.set()

    def _answer_requests(self, conn):
        while True:
            request = conn.read_request()
            if request is None:
                return
            reply = self.respond(request)
            if reply is None or not conn.send(reply):
                return
            if (request.get("connection") or "").lower() == "close" or b"connection: close" in reply[:512].lower():
                return

    # --- what reached the app

    def seen(self):
        """Every octet received since reset(), over all connections."""
        with self._lock:
            return b"".join(bytes(conn.raw) for conn in self.connections)

    def reset(self):
        with self._lock:
            self.respond = self.default_respond
            self.handler = self.default_handler
            self.record = True
            self.connections = list(self.open_connections)  # pooled ones stay usable
            self.requests.clear()
            for conn in self.connections:
                conn.raw.clear()
                conn.requests.clear()

    def drop_connections(self):
        """Closes what Lintel has pooled and waits until it has noticed, so that the next request comes on a fresh
        connection."""
        with self._lock:
            conns = list(self.open_connections)
        for conn in conns:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(conn.sock, socket.SHUT_WR)  # the plain FIN, for TLS too
        for conn in conns:
            conn.finished.wait(2)
            conn.close()

    def wait_for(self, condition, what="the app to see it", seconds=10):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition():
                return
            time.sleep(0.01)
        raise AssertionError(f"waited {seconds} s for {what}")

    def stop(self):
        self._stopping = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self._lock:
            conns = list(self.open_connections)
        for conn in conns:
            conn.close()

    def close(self):
        self.stop()
