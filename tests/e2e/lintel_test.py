"""Helpers of the end-to-end tests: processes, configuration, certificates. Import everything from here:

    from lintel_test import *

    class Serve(LintelTestCase):            # one `lintel serve` and one recording app for the class
        def test_it(self):
            self.origin.respond = lambda request: answer(200, b"hello")
            with self.client() as client:                       # TLS, HTTP/1.1
                self.assertEqual(client.request(get("/")).status, 200)
            with self.h2() as h2:
                self.assertEqual(h2.request("/").status, 200)
            self.assert_only_canary_reached()                   # where nothing may have reached the app

Run one file by hand:  LINTEL_BIN=build/release/lintel /usr/bin/python3 -m unittest -v tests/e2e/test_serve.py
"""
import contextlib
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from clients import Closed, RawClient, Response, get, tls_client_context  # noqa: E402,F401
from h2client import H2Client, H2Response, block, frame, literal, settings  # noqa: E402,F401
from origin import Origin, Request, answer, chunked  # noqa: E402,F401

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINTEL = os.environ.get("LINTEL_BIN") or str(ROOT / "build/release/lintel")
FULL = os.environ.get("LINTEL_TEST_FULL") == "1"  # scripts/test --full
SANITIZED = os.environ.get("LINTEL_SANITIZED", "") != ""  # memory and CPU bounds do not hold there
SANITIZER_MARKS = ("AddressSanitizer", "ThreadSanitizer", "UndefinedBehaviorSanitizer", "LeakSanitizer",
                   "runtime error:")


def as_root():
    """For files whose tests mount, change users or bind as root: runs the same command again through sudo."""
    if os.geteuid() != 0:
        os.execvp("sudo", ["sudo", "-n", "--preserve-env", sys.executable, *sys.orig_argv[1:]])


def free_port(host="127.0.0.1"):
    """A port that is free now, below the ephemeral range so that no outgoing connection takes it meanwhile."""
    for _ in range(200):
        port = random.randint(12000, 31000)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


def wait_until(condition, what, seconds=15):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s for {what}")


def toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml_key(k)} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(str(value))


def toml_key(key):
    return key if key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)


def toml(server, sites, trust=()):
    """A configuration file from dictionaries. A site's "route" is a list of tables; so is `trust`."""
    lines = ["[server]"] + [f"{toml_key(key)} = {toml_value(value)}" for key, value in server.items()]
    for rule in trust:
        lines += ["", "[[trust]]"] + [f"{toml_key(key)} = {toml_value(value)}" for key, value in rule.items()]
    for site in sites:
        lines += ["", "[[site]]"]
        lines += [f"{toml_key(key)} = {toml_value(value)}" for key, value in site.items() if key != "route"]
        for route in site.get("route", ()):
            lines += ["", "[[site.route]]"] + [f"{toml_key(k)} = {toml_value(v)}" for k, v in route.items()]
    return "\n".join(lines) + "\n"


class CertificateAuthority:
    """A CA of its own in `folder`, made with the openssl program."""

    def __init__(self, folder, name="Lintel test CA", days=30):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cert, self.key = str(self.folder / "ca.pem"), str(self.folder / "ca.key")
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", str(days),
                      "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.cert,
                      "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
        self.count = 0

    @staticmethod
    def _openssl(*args):
        subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def issue(self, *names, days=7):
        """(certificate file, key file) for DNS names or IP addresses."""
        self.count += 1
        base = self.folder / f"leaf{self.count}"
        sans = ",".join(("IP:" if name.replace(".", "").isdigit() or ":" in name else "DNS:") + name for name in names)
        extensions = base.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={sans}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n")
        self._openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-subj", f"/CN={names[0][:60]}", "-keyout", str(base.with_suffix(".key")),
                      "-out", str(base.with_suffix(".csr")))
        self._openssl("x509", "-req", "-in", str(base.with_suffix(".csr")), "-CA", self.cert, "-CAkey", self.key,
                      "-set_serial", str(1000 + self.count), "-days", str(days), "-extfile", str(extensions),
                      "-out", str(base.with_suffix(".pem")))
        return str(base.with_suffix(".pem")), str(base.with_suffix(".key"))

    def server_context(self, *names):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(*names))
        return context


class Lintel:
    """A running `lintel …`. Output goes to files in `folder`; stop() ends it with SIGTERM and returns the exit code."""

    def __init__(self, args, folder, env=None, cwd=None, file_limit=None, stdin=subprocess.DEVNULL):
        self.folder = pathlib.Path(folder)
        self.stdout_path, self.stderr_path = self.folder / "stdout.log", self.folder / "stderr.log"
        environment = dict(os.environ, NO_COLOR="1", **(env or {}))
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99")
        environment.setdefault("TSAN_OPTIONS", "exitcode=99:halt_on_error=0")

        def limit_files():
            resource.setrlimit(resource.RLIMIT_NOFILE, (file_limit, file_limit))
        with open(self.stdout_path, "ab") as out, open(self.stderr_path, "ab") as err:
            self.process = subprocess.Popen([LINTEL, *args], stdin=stdin, stdout=out, stderr=err, env=environment,
                                            cwd=cwd or self.folder, preexec_fn=limit_files if file_limit else None)

    @property
    def pid(self):
        return self.process.pid

    def stdout(self):
        return self.stdout_path.read_text(errors="replace")

    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    def wait_listening(self, *ports, host="127.0.0.1", unix_path=None, seconds=30):
        """Until every port accepts a connection."""
        def try_connect(address, family):
            if self.process.poll() is not None:
                raise AssertionError(f"lintel exited with {self.process.returncode}:\n{self.stderr()[-3000:]}"
                                     f"\n{self.stdout()[-1000:]}")
            with socket.socket(family) as probe:
                probe.settimeout(2)
                try:
                    probe.connect(address)
                    return True
                except OSError:
                    return False
        for port in ports:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            wait_until(lambda p=port, f=family: try_connect((host, p), f), f"lintel to listen on {port}", seconds)
        if unix_path:
            wait_until(lambda: try_connect(unix_path, socket.AF_UNIX), f"lintel to listen on {unix_path}", seconds)
        return self

    def rss_kib(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def send_signal(self, number):
        self.process.send_signal(number)

    def stop(self, seconds=60, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"lintel did not stop within {seconds} s:\n{self.stderr()[-3000:]}") from None

    def check_sanitizers(self):
        text = self.stderr()
        for mark in SANITIZER_MARKS:
            if mark in text:
                raise AssertionError(f"sanitizer report:\n{text[text.index(mark) - 200 if text.index(mark) > 200 else 0:][:6000]}")


class Serve(Lintel):
    """`lintel serve -c` with a generated file. Ports: .https, .http. `server` and `sites` are dictionaries; keys that
    are not given get the test defaults. `trust`: dictionaries for [[trust]]."""

    def __init__(self, folder, sites, server=None, wait=True, trust=(), **process_options):
        self.folder = pathlib.Path(folder)
        self.https, self.http = free_port(), free_port()
        self.access_log_path = self.folder / "access.log"
        self.server = {"https": [f"127.0.0.1:{self.https}"], "http": [f"127.0.0.1:{self.http}"],
                       "state": str(self.folder / "state"), "workers": 2,
                       "admin": f"unix:{self.folder / 'admin.sock'}",
                       "access_log": str(self.access_log_path), **(server or {})}
        self.config_path = self.folder / "lintel.toml"
        self.config_path.write_text(toml(self.server, sites, trust))
        super().__init__(["serve", "-c", str(self.config_path)], folder, **process_options)
        if wait:
            # Ports are bound first; by its first line all the rest (root given up, admin socket) has been done as well.
            wait_until(lambda: "lintel: http" in self.stderr() or self.process.poll() is not None, "lintel to serve", 30)
            self.wait_listening(*[p for p, key in ((self.https, "https"), (self.http, "http"))
                                  if any(str(p) in str(item) for item in self.server[key])])

    def command(self, *args):
        """`lintel ARGS… --socket` of this server: (exit code, stdout, stderr)."""
        done = subprocess.run([LINTEL, *args, "--socket", str(self.folder / "admin.sock")], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=90)
        return done.returncode, done.stdout, done.stderr

    def admin(self, method, target):
        """(status, JSON) of the admin socket."""
        with RawClient(None, unix_path=str(self.folder / "admin.sock"), tls=False) as client:
            response = client.request(get(target, host="localhost", method=method))
            return response.status, json.loads(response.body)

    def rewrite(self, sites, server=None, trust=()):
        """Another configuration in the same file; nobody is told."""
        self.server.update(server or {})
        self.config_path.write_text(toml(self.server, sites, trust))

    def access_log(self):
        if not self.access_log_path.exists():
            return []
        return [json.loads(line) for line in self.access_log_path.read_text().splitlines()]

    def wait_log(self, condition, what="an access log line"):
        return wait_until(lambda: next((line for line in self.access_log() if condition(line)), None), what)


class LintelTestCase(unittest.TestCase):
    """One recording app and one `lintel serve` for the class. Override `configure()` to change the configuration."""

    origin_options = {}
    process_options = {}

    @classmethod
    def configure(cls):
        """(sites, server) as dictionaries."""
        return [cls.site()], {}

    @classmethod
    def site(cls, **changes):
        return {"hosts": ["app.test"], "certificate": {"file": cls.cert[0], "key": cls.cert[1]},
                "to": [cls.origin.url], "redirect_http": "off", **changes}

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.ca = CertificateAuthority(cls.folder / "ca")
        cls.cert = cls.ca.issue("app.test", "*.app.test", "www.test", "127.0.0.1")
        cls.origin = Origin(**cls.origin_options)
        cls.addClassCleanup(cls.origin.stop)
        sites, server = cls.configure()
        cls.lintel = Serve(cls.folder, sites, server, **cls.process_options)
        cls.addClassCleanup(cls._stop)

    @classmethod
    def _stop(cls):
        # The pooled and idle connections of the tests must not hold the graceful stop up.
        code = cls.lintel.stop()
        cls.lintel.check_sanitizers()
        if code != 0:
            raise AssertionError(f"lintel exited with {code}:\n{cls.lintel.stderr()[-3000:]}")

    def setUp(self):
        self.origin.reset()

    def run(self, result=None):
        before = len(result.failures) + len(result.errors) if result else 0
        super().run(result)
        if result and len(result.failures) + len(result.errors) > before:
            print(f"--- lintel's log after {self.id()}:\n{self.lintel.stderr()[-2000:]}", file=sys.stderr)
        return result

    def client(self, tls=True, **options):
        return RawClient(self.lintel.https if tls else self.lintel.http, tls=tls, **options)

    def h2(self, **options):
        return H2Client(self.lintel.https, **options)

    def fetch(self, path="/", headers=(), method="GET", body=None, **options):
        """One request on a fresh TLS connection."""
        with self.client(**options) as client:
            return client.request(get(path, headers=headers, method=method, body=body))

    _canaries = 0

    def assert_only_canary_reached(self):
        """Nothing since the last reset() reached the app: an honest request sent now is the only one it has seen."""
        LintelTestCase._canaries += 1
        path = f"/canary-{LintelTestCase._canaries}"
        self.assertEqual(self.fetch(path).status, 200, "the honest request after the attack")
        requests = [request.line for request in self.origin.requests]
        self.assertEqual(requests, [f"GET {path} HTTP/1.1"], "a request reached the app")
        seen = self.origin.seen()
        self.assertTrue(seen.startswith(b"GET " + path.encode()), f"octets reached the app: {seen[:300]!r}")
        self.assertEqual(seen.count(b"\r\n\r\n"), 1, f"octets reached the app: {seen[:600]!r}")


def python_app(*args, env=None, cwd=None, stdout=None):
    """Starts a Python app with the system interpreter."""
    return subprocess.Popen(["/usr/bin/python3", *args], env=dict(os.environ, **(env or {})), cwd=cwd,
                            stdin=subprocess.DEVNULL, stdout=stdout or subprocess.DEVNULL, stderr=subprocess.STDOUT)


def end_process(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def temp_folder():
    folder = tempfile.mkdtemp(prefix="lintel-e2e-")
    try:
        yield pathlib.Path(folder)
    finally:
        shutil.rmtree(folder, True)


__all__ = [name for name in dir() if not name.startswith("_")]
