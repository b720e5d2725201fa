"""An agent whose every octet the test decides: it knocks at an edge, and then serves HTTP/2 over that connection.

    with RawAgent(port, token, name="app", domain="t.example.test") as agent:
        agent.serve(lambda request: (200, [("content-type", "text/plain")], b"hello"))   # in a thread of its own
        agent.welcome["url"]

Without serve() nothing happens by itself: read_frame(), send() and the frames of h2client do what the test says.
"""
import base64
import json
import secrets
import struct
import threading

import hpack

from clients import RawClient, get, tls_client_context
from h2client import (ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, PRIORITY_FLAG, RST_STREAM, SETTINGS,
                      WINDOW_UPDATE, Frame, frame, settings)

AGENT_PATH = "/.well-known/lintel/agent"
NOTICE_PATH = "/.well-known/lintel/notice"
ENABLE_CONNECT_PROTOCOL = 8


def encode(message):
    return base64.urlsafe_b64encode(json.dumps(message).encode()).decode().rstrip("=")


def decode(text):
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


class Refused(Exception):
    """The edge answered something other than 101."""

    def __init__(self, response):
        super().__init__(f"{response.status} {response.error}: {response.body[:300]!r}")
        self.response, self.status, self.error = response, response.status, response.error
        try:
            self.refusal = json.loads(response.body)
        except ValueError:
            self.refusal = {}


class AgentRequest:
    """A request that the edge has sent to the agent."""

    def __init__(self, stream, fields, ended):
        self.stream, self.fields, self.ended = stream, fields, ended
        self.body = bytearray()

    def get(self, name, default=None):
        return next((value for key, value in self.fields if key == name), default)

    def all(self, name):
        return [value for key, value in self.fields if key == name]


class RawAgent:
    def __init__(self, port, token, name="", *, host="127.0.0.1", domain="t.example.test", tls=None, hello=None, headers=(),
                 window=1 << 20, settings_=(), start=True, timeout=15, receive_buffer=None):
        """`hello`: members that replace the usual ones. `start`: sends SETTINGS at once and announces extended CONNECT."""
        self.hello = {"version": 1, "kind": "http", "agent": secrets.token_hex(8), "name": name, "session": "",
                      "generation": 0, "secret": "", "pool": False, "software": "test/1", **(hello or {})}
        context = tls or tls_client_context(alpn=("http/1.1",))
        self.raw = RawClient(port, host=host, tls=context, sni=domain, timeout=timeout, receive_buffer=receive_buffer)
        authority = domain if port == 443 else f"{domain}:{port}"
        fields = [("Connection", "Upgrade"), ("Upgrade", "lintel-tunnel/1"), ("Authorization", f"Bearer {token}"),
                  ("Lintel-Hello", encode(self.hello)), *headers]
        response = self.raw.request(get(AGENT_PATH, authority, fields))
        if response.status != 101:
            self.raw.close()
            raise Refused(response)
        self.welcome = decode(response.get("lintel-welcome"))
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.frames, self.requests, self.goaway = [], [], None
        self.open_requests, self.window, self.stream_windows = {}, 65535, {}
        self.peer_initial = 65535
        self.preface_read = False
        self.sending = threading.Lock()
        self.thread = None
        if start:
            self.send(settings((4, window), (ENABLE_CONNECT_PROTOCOL, 1), *settings_))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.raw.close()
        if self.thread is not None:
            self.thread.join(10)

    def send(self, octets):
        with self.sending:
            return self.raw.send(octets)

    def read_frame(self):
        """The next frame from the edge, handled; None when the connection has ended."""
        if not self.preface_read:
            assert self.raw.read_exactly(len(PREFACE)) == PREFACE, "no preface from the edge"
            self.preface_read = True
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
        if got.kind == SETTINGS and not got.flags & ACK:
            for i in range(0, len(got.payload), 6):
                key, value = struct.unpack(">HI", got.payload[i:i + 6])
                if key == 4:
                    self.peer_initial = value
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
        elif got.kind == HEADERS:
            assert got.flags & END_HEADERS, "a header block in parts is not expected"
            block = got.payload[5:] if got.flags & PRIORITY_FLAG else got.payload
            fields = self.decoder.decode(block)
            if got.stream not in self.open_requests:  # otherwise trailers
                request = AgentRequest(got.stream, [(str(name), str(value)) for name, value in fields], False)
                self.open_requests[got.stream] = request
                self.requests.append(request)
            self.open_requests[got.stream].ended |= bool(got.flags & END_STREAM)
        elif got.kind == DATA and got.stream in self.open_requests:
            request = self.open_requests[got.stream]
            request.body += got.payload
            request.ended |= bool(got.flags & END_STREAM)
            if got.payload:
                credit = struct.pack(">I", len(got.payload))
                self.send(frame(WINDOW_UPDATE, 0, 0, credit) + frame(WINDOW_UPDATE, 0, got.stream, credit))
        elif got.kind == RST_STREAM:
            self.open_requests.pop(got.stream, None)

    def wait_request(self):
        """The next request whose end has come and that was not answered yet."""
        while True:
            for request in self.open_requests.values():
                if request.ended:
                    return request
            if self.read_frame() is None:
                return None

    def respond(self, stream, status=200, headers=(), body=b""):
        """A small answer: within every window."""
        fields = self.encoder.encode([(":status", str(status)), *headers])
        self.open_requests.pop(stream, None)
        data = frame(HEADERS, END_HEADERS | (0 if body else END_STREAM), stream, fields)
        for start in range(0, len(body), 16384):
            part = body[start:start + 16384]
            data += frame(DATA, END_STREAM if start + 16384 >= len(body) else 0, stream, part)
        return self.send(data)

    def serve(self, answer):
        """Answers every request with answer(request) -> (status, headers, body), in a thread, until the connection ends."""
        def run():
            try:
                while (request := self.wait_request()) is not None:
                    self.respond(request.stream, *answer(request))
            except (OSError, ValueError, EOFError):
                pass
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        return self

    def wait_closed(self, seconds=15):
        """Reads to the end of the connection: True when the edge has ended it in time."""
        self.raw.sock.settimeout(seconds)
        try:
            while self.raw.fill():
                self.raw.buffer.clear()
        except TimeoutError:
            return False
        return True
