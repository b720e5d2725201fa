"""A raw HTTP/2 client: frames as octets (so that rules can be broken), HPACK by python3-hpack."""
import struct
import time

import hpack

from clients import RawClient, tls_client_context

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY_FLAG = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 5, 6, 7, 8, 9
ENHANCE_YOUR_CALM = 11


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", key, value) for key, value in pairs))


def literal(name, value):
    """A field without indexing and without Huffman: any octets, upper case too."""
    def string(text):
        raw = text if isinstance(text, bytes) else text.encode("latin-1")
        if len(raw) < 127:
            return bytes([len(raw)]) + raw
        rest, out = len(raw) - 127, bytearray([127])
        while rest >= 128:
            out.append(rest % 128 + 128)
            rest //= 128
        out.append(rest)
        return bytes(out) + raw
    return b"\x00" + string(name) + string(value)


def block(fields):
    """A header block of literals; never touches the dynamic table, so frames can be built ahead."""
    return b"".join(literal(name, value) for name, value in fields)


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload

    @property
    def error(self):
        """The error code of RST_STREAM or GOAWAY."""
        return struct.unpack(">I", self.payload[:4] if self.kind == RST_STREAM else self.payload[4:8])[0]

    @property
    def last_stream(self):
        return struct.unpack(">I", self.payload[:4])[0] & 0x7FFFFFFF

    def __repr__(self):
        return f"Frame(kind={self.kind} flags={self.flags:#x} stream={self.stream} {self.payload[:40]!r})"


class H2Response:
    def __init__(self):
        self.status = None
        self.informational = []
        self.headers = []
        self.body = bytearray()  # grows in place; compares equal to bytes
        self.trailers = []
        self.reset = None  # error code when the stream was reset
        self.ended = False  # END_STREAM came: the answer is complete

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def all(self, name):
        return [value for key, value in self.headers if key == name]

    @property
    def error(self):
        return self.get("x-lintel-error")


class H2Client:
    """`window` is the stream window announced; replenish=False leaves all windows alone (a stalled reader)."""

    def __init__(self, port, *, sni="app.test", tls=None, authority=None, window=1 << 20, replenish=True, settings_=(),
                 handshake=True, timeout=15, plain=False, receive_buffer=None, preface=b"", host="127.0.0.1"):
        context = False if plain else (tls or tls_client_context(alpn=("h2",)))
        self.raw = RawClient(port, host=host, tls=context, sni=sni, timeout=timeout, receive_buffer=receive_buffer,
                             preface=preface)
        if not plain:
            assert self.raw.sock.selected_alpn_protocol() == "h2", "no h2 by ALPN"
        self.authority = authority or sni
        self.scheme = "http" if plain else "https"
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.replenish = replenish
        self.next_stream = 1
        self.responses = {}
        self.goaway = None
        self.frames = []  # every frame received
        self.peer_settings = {}
        self.window, self.stream_windows, self.peer_initial = 65535, {}, 65535
        self._headers = None  # a header block under way
        self.raw.send(PREFACE + settings((4, window), *settings_))
        if replenish:
            self.raw.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 24)))
        if handshake:
            self.until(lambda: self.peer_settings is not None and any(f.kind == SETTINGS for f in self.frames))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.raw.close()

    def close(self):
        self.raw.close()

    def send(self, octets):
        return self.raw.send(octets)

    # --- receiving

    def read_frame(self):
        """The next frame, handled; None when the connection has ended."""
        while len(self.raw.buffer) < 9 or len(self.raw.buffer) < 9 + int.from_bytes(self.raw.buffer[:3], "big"):
            if not self.raw.fill():
                return None
        size = int.from_bytes(self.raw.buffer[:3], "big")
        head = self.raw.read_exactly(9)
        got = Frame(head[3], head[4], struct.unpack(">I", head[5:9])[0] & 0x7FFFFFFF, self.raw.read_exactly(size))
        self.frames.append(got)
        self._handle(got)
        return got

    def _handle(self, got):
        response = self.responses.setdefault(got.stream, H2Response()) if got.stream else None
        if got.kind == SETTINGS and not got.flags & ACK:
            for i in range(0, len(got.payload), 6):
                key, value = struct.unpack(">HI", got.payload[i:i + 6])
                self.peer_settings[key] = value
            self.peer_initial = self.peer_settings.get(4, 65535)
            self.send(frame(SETTINGS, ACK))
        elif got.kind == PING and not got.flags & ACK:
            self.send(frame(PING, ACK, 0, got.payload))
        elif got.kind == GOAWAY:
            self.goaway = got
        elif got.kind == WINDOW_UPDATE:
            credit = struct.unpack(">I", got.payload)[0]
            if got.stream:
                self.stream_windows[got.stream] = self.stream_windows.get(got.stream, self.peer_initial) + credit
            else:
                self.window += credit
        elif got.kind in (HEADERS, CONTINUATION):
            payload = got.payload
            if got.kind == HEADERS:
                assert not got.flags & PADDED, "padding is not expected"
                payload = payload[5:] if got.flags & PRIORITY_FLAG else payload
                self._headers = [b"", bool(got.flags & END_STREAM)]
            self._headers[0] += payload
            if got.flags & END_HEADERS:
                self._head(response, self.decoder.decode(self._headers[0]), self._headers[1])
        elif got.kind == DATA:
            response.body += got.payload
            response.ended = response.ended or bool(got.flags & END_STREAM)
            if got.payload and self.replenish:
                credit = struct.pack(">I", len(got.payload))
                self.send(frame(WINDOW_UPDATE, 0, 0, credit) + frame(WINDOW_UPDATE, 0, got.stream, credit))
        elif got.kind == RST_STREAM:
            response.reset = got.error

    @staticmethod
    def _head(response, fields, end):
        if fields and fields[0][0] == ":status":
            status = int(fields[0][1])
            if status < 200:
                response.informational.append(status)
                return
            response.status = status
            response.headers = [(name, value) for name, value in fields[1:]]
        else:
            response.trailers = list(fields)
        response.ended = response.ended or end

    def until(self, condition, seconds=15):
        """Reads frames until condition() holds. False when the connection ended before."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("the condition did not come true")
            if self.read_frame() is None:
                return condition()
        return True

    def read_to_end(self):
        while self.read_frame() is not None:
            pass

    # --- sending

    def fields(self, path="/", method="GET", headers=(), authority=None):
        return [(":method", method), (":scheme", self.scheme), (":path", path),
                (":authority", authority or self.authority), *headers]

    def open(self, fields, end=True, raw_block=None):
        """Sends HEADERS on a fresh stream and returns its number."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        payload = raw_block if raw_block is not None else self.encoder.encode(fields)
        self.responses[stream] = H2Response()
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, payload))
        return stream

    def data(self, stream, octets=b"", end=False):
        """Sends a body within the peer's windows."""
        view = memoryview(octets)
        while True:
            room = min(self.window, self.stream_windows.setdefault(stream, self.peer_initial), 16384)
            if view and room <= 0:
                if self.responses[stream].reset is not None or self.read_frame() is None:
                    return False
                continue
            part, view = view[:room], view[len(view[:room]):]
            self.window -= len(part)
            self.stream_windows[stream] -= len(part)
            if not self.send(frame(DATA, END_STREAM if end and not view else 0, stream, bytes(part))):
                return False
            if not view:
                return True

    def wait(self, stream, seconds=15):
        """The answer on `stream`, when it ended, was reset, or the connection is gone."""
        response = self.responses[stream]
        self.until(lambda: response.ended or response.reset is not None, seconds)
        return response

    def request(self, path="/", method="GET", headers=(), body=None, authority=None, trailers=None):
        stream = self.open(self.fields(path, method, headers, authority), end=body is None and trailers is None)
        if body is not None:
            self.data(stream, body, end=trailers is None)
        if trailers is not None:
            self.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, self.encoder.encode(list(trailers))))
        return self.wait(stream)
