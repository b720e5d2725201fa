"""A raw HTTP/1 client over TCP, TLS or a unix socket: sends exactly the octets it is given, reads answers strictly."""
import contextlib
import socket
import ssl
import struct
import time

TIMEOUT_S = 15


class Closed(Exception):
    """The other side closed before a whole answer had come."""


class Response:
    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.version, status, *_ = lines[0].split(" ", 2)
        self.status = int(status)
        self.headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            assert colon, f"a header line without a colon: {line!r}"
            self.headers.append((name, value.strip()))
        self.body = b""
        self.trailers = []
        self.informational = []  # statuses of 1xx answers that came before

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def error(self):
        """The value of X-Lintel-Error."""
        return self.get("x-lintel-error")


def tls_client_context(ca_file=None, alpn=("http/1.1",), minimum=ssl.TLSVersion.TLSv1_2, maximum=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version = minimum
    if maximum:
        context.maximum_version = maximum
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class RawClient:
    """One connection. `tls` is False, True (unverified) or an ssl.SSLContext; `preface` is sent before it begins."""

    def __init__(self, port=None, *, host="127.0.0.1", tls=False, sni="app.test", unix_path=None, timeout=TIMEOUT_S,
                 receive_buffer=None, session=None, source=None, preface=b""):
        family = socket.AF_UNIX if unix_path else socket.AF_INET6 if ":" in host else socket.AF_INET
        raw = socket.socket(family)
        raw.settimeout(timeout)
        try:
            if receive_buffer:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source:
                raw.bind((source, 0))
            raw.connect(unix_path or (host, port))
            if not unix_path:
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.raw_socket = raw
            raw.sendall(preface)
            if tls:
                context = tls if isinstance(tls, ssl.SSLContext) else tls_client_context()
                raw = context.wrap_socket(raw, server_hostname=sni, session=session)
        except BaseException:
            raw.close()
            raise
        self.sock = raw
        self.buffer = bytearray()
        self.closed = False  # the other side has closed or reset
        self.was_reset = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.close()

    def abort(self):
        """Closes with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def finish_sending(self):
        """Half-closes: for TLS a close_notify, then FIN."""
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.settimeout(0.2)
            with contextlib.suppress(OSError, ssl.SSLError):
                self.sock.unwrap()
        with contextlib.suppress(OSError):
            self.raw_socket.shutdown(socket.SHUT_WR)

    def send(self, data):
        """True when it was taken; False when the other side is gone already."""
        if isinstance(data, str):
            data = data.encode("latin-1")
        try:
            self.sock.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            return False

    def fill(self):
        """Receives once. False at the end."""
        if self.closed:
            return False
        try:
            data = self.sock.recv(65536)
        except ssl.SSLEOFError:
            data = b""
        except (ConnectionResetError, ssl.SSLError) as error:
            if "timed out" in str(error):
                raise TimeoutError(str(error)) from error
            self.was_reset = True
            data = b""
        if not data:
            self.closed = True
            return False
        self.buffer += data
        return True

    def read_exactly(self, count):
        while len(self.buffer) < count:
            if not self.fill():
                raise Closed(f"closed after {len(self.buffer)} of {count} octets")
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def read_until(self, mark):
        while mark not in self.buffer:
            if not self.fill():
                raise Closed(f"closed before {mark!r}; had {bytes(self.buffer[:300])!r}")
        index = self.buffer.index(mark) + len(mark)
        return self.read_exactly(index)

    def read_rest(self):
        """Everything until the other side closes."""
        while self.fill():
            pass
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    def read_head(self):
        return Response(self.read_until(b"\r\n\r\n")[:-4])

    def read_response(self, method="GET"):
        """One final answer with its body; 1xx statuses before it are kept in `informational`."""
        informational = []
        while True:
            response = self.read_head()
            if response.status == 101 or response.status >= 200:
                break
            informational.append(response.status)
        response.informational = informational
        if response.status == 101 or method == "HEAD" or response.status in (204, 304):
            return response
        if "chunked" in (response.get("transfer-encoding") or ""):
            assert response.get("content-length") is None, "Content-Length beside Transfer-Encoding"
            while True:
                size = int(self.read_until(b"\r\n")[:-2].split(b";")[0], 16)
                if size == 0:
                    break
                response.body += self.read_exactly(size)
                assert self.read_exactly(2) == b"\r\n", "no CRLF behind a chunk"
            while (line := self.read_until(b"\r\n")[:-2]) != b"":
                name, _, value = line.decode("latin-1").partition(":")
                response.trailers.append((name, value.strip()))
        elif response.get("content-length") is not None:
            response.body = self.read_exactly(int(response.get("content-length")))
        else:
            response.body = self.read_rest()
        return response

    def request(self, data, method=None):
        if isinstance(data, str):
            data = data.encode("latin-1")
        self.send(data)
        return self.read_response(method or data.split(b" ", 1)[0].decode("latin-1"))

    def wait_closed(self):
        """True when the other side closes (in time) without sending anything more."""
        if self.buffer:
            return False
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                if not self.fill():
                    return True
            except TimeoutError:
                return False
            if self.buffer:
                return False
        return False


def get(path="/", host="app.test", headers=(), method="GET", version="HTTP/1.1", body=None):
    """The octets of an ordinary request."""
    lines = [f"{method} {path} {version}", f"Host: {host}"] + [f"{name}: {value}" for name, value in headers]
    data = body.encode() if isinstance(body, str) else body
    if data is not None:
        lines.append(f"Content-Length: {len(data)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (data or b"")
