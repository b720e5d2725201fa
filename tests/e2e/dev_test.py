"""Helpers of the tests of `lintel dev`: the running command, a WebSocket client, apps in one argument."""
import fcntl
import http.server
import json
import os
import pathlib
import pty
import re
import select
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import termios
import threading

from lintel_test import LINTEL, SANITIZED, SANITIZER_MARKS, end_process, free_port, wait_until

PYTHON = "/usr/bin/python3"
PATIENCE = 60 if SANITIZED else 30


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class CutOff(AssertionError):
    """The app was ended in the middle of an answer that had begun: nobody can repeat that for it."""


class Dev:
    """A running `lintel dev` with a home of its own. `app` is what stands behind "--"; `data` holds the CA."""

    def __init__(self, test, *app, options=(), cwd=None, env=None, port=None, tty=False, data=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-dev-"))
        test.addCleanup(shutil.rmtree, self.folder, True)
        # The label that lintel makes of the folder's name (dev::dns_label): mkdtemp may end it with "_".
        self.name = re.sub("[^a-z0-9]+", "-", self.folder.name.lower()).strip("-")
        self.port = port or free_port()
        data = data or self.folder / "data"
        self.root = data / "lintel/ca/root.pem"
        self.output_path = self.folder / "output.log"
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith(("LINTEL_", "SUDO_")) and key not in ("PORT", "HOST", "FLASK_RUN_PORT")}
        environment.update(HOME=str(self.folder), XDG_DATA_HOME=str(data), NO_COLOR="1",
                           XDG_STATE_HOME=str(self.folder / "state"), XDG_CACHE_HOME=str(self.folder / "cache"),
                           PYTHONUNBUFFERED="1", PYTHONDONTWRITEBYTECODE="1", **(env or {}))
        command = [LINTEL, "dev", "--port", str(self.port), *options, *(["--", *app] if app else [])]
        self.terminal = None
        if tty:
            self.terminal, inner = pty.openpty()
            self.process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, env=environment,
                                            cwd=cwd or self.folder, start_new_session=True,
                                            preexec_fn=lambda: _make_controlling(inner))
            os.close(inner)
            self.typed_output = b""
        else:
            with open(self.output_path, "wb") as output:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                                stderr=subprocess.STDOUT, env=environment, cwd=cwd or self.folder)
        test.addCleanup(self.stop)

    def output(self):
        if self.terminal is None:
            return self.output_path.read_text(errors="replace")
        while select.select([self.terminal], [], [], 0)[0]:
            try:
                octets = os.read(self.terminal, 65536)
            except OSError:
                break
            if not octets:
                break
            self.typed_output += octets
        return self.typed_output.decode(errors="replace")

    def type(self, octets):
        os.write(self.terminal, octets)

    def wait_for(self, pattern):
        def seen():
            match = re.search(pattern, self.output())
            if match is None and self.process.poll() is not None:
                match = re.search(pattern, self.output())
                if match is None:
                    raise AssertionError(f"lintel exited with {self.process.returncode} before {pattern!r}:\n{self.output()}")
            return match
        return wait_until(seen, f"{pattern!r} in:\n" + self.output(), PATIENCE)

    def wait_exit(self):
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"lintel still runs:\n{self.output()}") from None

    def stop(self):
        end_process(self.process)
        output = self.output()
        if self.terminal is not None:
            os.close(self.terminal)
            self.terminal = None
        for mark in SANITIZER_MARKS:
            if mark in output:
                raise AssertionError(f"sanitizer report:\n{output[max(0, output.index(mark) - 200):][:6000]}")

    def curl(self, path="/", *options, name="localhost", scheme="https", verify=True):
        """One request with curl, which knows by itself that *.localhost is loopback."""
        wait_until(lambda: self.root.exists() and listens(self.port), "lintel to listen", PATIENCE)
        trust = ["--cacert", str(self.root)] if verify else ["--insecure"]
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--include", "--max-time", str(PATIENCE), *trust, *options,
             f"{scheme}://{name}:{self.port}{path}"],
            capture_output=True, env={**os.environ, "HOME": str(self.folder)}, check=False)
        if done.returncode in (18, 92) and done.stdout.startswith(b"HTTP/2 200"):
            raise CutOff(f"curl: {done.stderr.decode()}\n{self.output()}")
        if done.returncode != 0:
            raise AssertionError(f"curl: {done.stderr.decode()}\n{self.output()}")
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            key, _, value = line.partition(":")
            headers[key.lower()] = value.strip()
        return Answer(int(lines[0].split()[1]), headers, body.decode(errors="replace"))


def _make_controlling(terminal):
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def process_gone(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return True
    return state == "Z"


class Echo(http.server.ThreadingHTTPServer):
    """Answers with the header lines it got, as a list in order."""
    daemon_threads = True

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = json.dumps(self.headers.items()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class WebSocket:
    """A minimal client over TLS and HTTP/1.1, which verifies the certificate."""

    def __init__(self, dev, path, protocol=None, name="localhost"):
        context = ssl.create_default_context(cafile=str(dev.root))
        plain = socket.create_connection(("127.0.0.1", dev.port), timeout=PATIENCE)
        self.socket = context.wrap_socket(plain, server_hostname=name)
        lines = [f"GET {path} HTTP/1.1", f"Host: {name}:{dev.port}", "Upgrade: websocket", "Connection: Upgrade",
                 "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        if protocol:
            lines.append(f"Sec-WebSocket-Protocol: {protocol}")
        self.socket.sendall("\r\n".join(lines + ["", ""]).encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self._fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        if not head.startswith(b"HTTP/1.1 101") or b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" not in head:
            raise AssertionError(f"no upgrade: {head!r}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _fill(self):
        octets = self.socket.recv(65536)
        if not octets:
            raise AssertionError("the WebSocket was closed")
        self.buffer += octets

    def send(self, text):
        payload, mask = text.encode(), b"\x01\x02\x03\x04"
        masked = bytes(octet ^ mask[i % 4] for i, octet in enumerate(payload))
        self.socket.sendall(bytes([0x81, 0x80 | len(payload)]) + mask + masked)

    def receive(self):
        while len(self.buffer) < 2:
            self._fill()
        size, start = self.buffer[1] & 0x7f, 2
        if size == 126:
            while len(self.buffer) < 4:
                self._fill()
            size, start = struct.unpack(">H", self.buffer[2:4])[0], 4
        while len(self.buffer) < start + size:
            self._fill()
        payload, self.buffer = self.buffer[start:start + size], self.buffer[start + size:]
        return payload.decode()


# In front of a program in one argument, so that what a test waits for is not in what Lintel shows of the command.
PADDING = "#" * 80 + "\n"

# An app in one argument: serves what `answer` makes of the request, on PORT unless told otherwise.
APP = PADDING + """
import http.server, os, sys, signal, subprocess, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *a): pass
    def do_GET(self):
        body, headers = answer(self)
        self.send_response(302 if 'Location' in headers else 200)
        for name, value in headers.items(): self.send_header(name, value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
def answer(request): return b'hello', {}
def serve(port=int(os.environ.get('PORT', 0)), host='127.0.0.1'):
    server = http.server.ThreadingHTTPServer((host, port), Handler)
    print('app: listening', flush=True)
    server.serve_forever()
"""


def app(code="serve()"):
    return [PYTHON, "-c", APP + code]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def state_of(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
