"""An edge, a laptop and a visitor, each in a network namespace of its own, for the tests of tunnels. Needs root.

    class Shares(EdgeTestCase):                       # the test's own thread is at the visitor's computer
        def test_it(self):
            share = self.world.share("5000", "--name", "app")
            share.wait_for("https://app.t.example.test")
            with self.client("app") as client:        # TLS to the edge, verified; HTTP/1.1
                client.request(get("/", self.host("app")))
"""
import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import unittest

from agent_peer import RawAgent
from clients import RawClient, get, tls_client_context
from h2client import H2Client
from lintel_test import (LINTEL, SANITIZED, SANITIZER_MARKS, CertificateAuthority, as_root, end_process, toml_value,
                         wait_until)
from netns import Network
from origin import Origin

DOMAIN = "t.example.test"
EDGE, LAPTOP, VISITOR = "198.18.0.1", "198.18.0.2", "198.18.0.3"
PATIENCE = 60 if SANITIZED else 30


class Program:
    """A lintel that runs on one of the computers; its output in a file."""

    def __init__(self, computer, arguments, log, environment=None, command=(LINTEL,), cwd=None):
        self.log_path = pathlib.Path(log)
        with open(self.log_path, "ab") as output:
            self.process = computer.popen([*command, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd,
                                          env={**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", **(environment or {})})

    @property
    def pid(self):
        return self.process.pid

    def output(self):
        return self.log_path.read_text(errors="replace")

    def wait_for(self, pattern, count=1, seconds=PATIENCE):
        """Until the output has `pattern`, `count` times."""
        def seen():
            found = list(re.finditer(pattern, self.output()))
            if len(found) >= count:
                return found[count - 1]
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode} before {pattern!r}:\n{self.output()[-3000:]}")
            return None
        try:
            return wait_until(seen, f"{pattern!r}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; the output:\n{self.output()[-3000:]}") from None

    def rss_kib(self):
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.pid}/status").read_text()).group(1))

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        end_process(self.process)
        text = self.output()
        for mark in SANITIZER_MARKS:
            if mark in text:
                raise AssertionError(f"sanitizer report:\n{text[max(0, text.index(mark) - 200):][:6000]}")


class Forward:
    """A port of `near` that leads to one of `far`, as if both were one computer (for apps that insist on localhost)."""

    def __init__(self, near, far, port):
        self.far, self.port = far, port
        with near.entered():
            self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=self.listener.accept()[:1], daemon=True).start()

    def _serve(self, here):
        with contextlib.suppress(OSError), here, self.far.entered(), \
                socket.create_connection(("127.0.0.1", self.port)) as there:
            threading.Thread(target=self._copy, args=(there, here), daemon=True).start()
            self._copy(here, there)

    @staticmethod
    def _copy(source, target):
        with contextlib.suppress(OSError):
            while octets := source.recv(65536):
                target.sendall(octets)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def stop(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class EdgeWorld:
    def __init__(self, edge=None, server=None, sites="", laptops=()):
        """`edge`, `server`: keys that are added to the edge's configuration. `laptops`: further computers, by name."""
        self.stack = contextlib.ExitStack()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-edge-"))
        self.stack.callback(shutil.rmtree, self.folder, True)
        self.folder.chmod(0o755)
        try:
            self.ca = CertificateAuthority(self.folder / "ca")
            self.certificate = self.ca.issue(DOMAIN, f"*.{DOMAIN}")
            self.context = tls_client_context(self.ca.cert)
            addresses = {name: f"198.18.0.{20 + index}" for index, name in enumerate(laptops)}
            self.net = self.stack.enter_context(Network({DOMAIN: EDGE}, edge=EDGE, laptop=LAPTOP, visitor=VISITOR, **addresses))
            self.programs = []
            self.tokens = self.folder / "tokens.toml"
            self.config = self.folder / "edge.toml"
            self.write_config(edge, server, sites)
            self.edge = None
            self.edge_log = self.folder / "edge.log"
        except BaseException:
            self.stack.close()
            raise

    def write_config(self, edge=None, server=None, sites=""):
        tables = {"server": {"https": [f"{EDGE}:443"], "http": [f"{EDGE}:80"], "state": str(self.folder / "state"), "workers": 2,
                             "user": "root", "admin": f"unix:{self.folder / 'admin.sock'}",
                             "access_log": str(self.folder / "access.log"), **(server or {})},
                  "edge": {"domain": DOMAIN, "tokens": str(self.tokens),
                           "certificate": {"file": self.certificate[0], "key": self.certificate[1]}, **(edge or {})}}
        lines = []
        for table, values in tables.items():
            lines += [f"[{table}]"] + [f"{key} = {toml_value(value)}" for key, value in values.items()]
        self.config.write_text("\n".join(lines) + "\n" + sites)

    # --- the edge
    def start_edge(self):
        before = self.edge_log.read_text().count("lintel: http") if self.edge_log.exists() else 0
        self.edge = Program(self.net.edge, ["serve", "-c", str(self.config)], self.edge_log)
        self.edge.wait_for("lintel: http", before + 1)
        return self.edge

    def run_at(self, computer, *arguments, text="", home=None, check=True):
        """A lintel command on a computer; its finished process."""
        done = computer.run([LINTEL, *arguments], input=text, capture_output=True, text=True, timeout=60,
                            env=self.environment(home))
        if check and done.returncode != 0:
            raise AssertionError(f"lintel {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def at_edge(self, *arguments, **options):
        return self.run_at(self.net.edge, *arguments, **options)

    def token(self, name, allow="*", *more):
        """A new token of the edge."""
        runs = self.edge is not None and self.edge.process.poll() is None
        before = self.edge.output().count("tokens.toml: ") if runs else 0
        done = self.at_edge("edge", "token", "new", "--name", name, "--allow", allow, *more, "--file", str(self.tokens))
        if runs:
            self.edge.wait_for(r"tokens\.toml: \d+ token", before + 1)
        return done.stdout.strip()

    # --- laptops
    def environment(self, home=None):
        home = home or self.folder / "home"
        home.mkdir(exist_ok=True)
        return {**{key: value for key, value in os.environ.items() if not key.startswith(("LINTEL_", "SUDO_", "XDG_"))},
                "HOME": str(home), "NO_COLOR": "1", "SSL_CERT_FILE": self.ca.cert, "PYTHONUNBUFFERED": "1"}

    def login(self, token, home=None, computer=None):
        return self.run_at(computer or self.net.laptop, "login", DOMAIN, "--ca-file", self.ca.cert, text=token + "\n", home=home)

    def share(self, *arguments, home=None, computer=None, log="share", cwd=None):
        program = Program(computer or self.net.laptop, ["share", *arguments, "--edge", DOMAIN], self.folder / f"{log}.log",
                          self.environment(home), cwd=cwd or self.folder)
        self.programs.append(program)
        return program

    def app(self, kind, port, computer=None):
        """One of shared_apps.py on the laptop, listening."""
        computer = computer or self.net.laptop
        program = Program(computer, [kind, str(port)], self.folder / f"{kind}.log",
                          command=("/usr/bin/python3", "-B", str(pathlib.Path(__file__).with_name("shared_apps.py"))))
        self.programs.append(program)
        self.wait_port(computer, port, program)
        return program

    def origin(self, port=5000, **options):
        """The scripted app of origin.py on the laptop."""
        with self.net.laptop.entered():
            origin = Origin(port=port, **options)
        self.stack.callback(origin.stop)
        return origin

    @staticmethod
    def wait_port(computer, port, program=None):
        def listens():
            if program is not None and program.process.poll() is not None:
                raise AssertionError(f"ended:\n{program.output()}")
            with computer.entered(), socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        wait_until(listens, f"port {port} of {computer.name}", PATIENCE)

    def raw_agent(self, token, name="", **options):
        with self.net.laptop.entered():
            return RawAgent(443, token, name, host=EDGE, domain=DOMAIN, **options)

    def status(self):
        """What `lintel status` of the edge says, with --json."""
        import json
        return json.loads(self.at_edge("status", "--json", "--socket", str(self.folder / "admin.sock")).stdout)

    def stop(self):
        problems = []
        for program in [*self.programs, *([self.edge] if self.edge else [])]:
            if program.process.poll() is None:
                program.signal(18)  # SIGCONT: a test may have stopped it
            try:
                program.stop()
            except AssertionError as error:
                problems.append(str(error))
        self.stack.close()
        if problems:
            raise AssertionError("\n".join(problems))


class EdgeTestCase(unittest.TestCase):
    """One world, with an edge that runs and a laptop that is logged in, for the class. The test's thread is at the
    visitor's computer."""

    edge_options = {}
    server_options = {}
    laptops = ()

    @classmethod
    def setUpClass(cls):
        cls.world = EdgeWorld(cls.edge_options, cls.server_options, laptops=cls.laptops)
        cls.addClassCleanup(cls.world.stop)
        cls.laptop_token = cls.world.token("laptop")
        cls.world.start_edge()
        cls.world.login(cls.laptop_token)
        there = contextlib.ExitStack()
        there.enter_context(cls.world.net.visitor.entered())
        cls.addClassCleanup(there.close)

    def run(self, result=None):
        before = len(result.failures) + len(result.errors) if result else 0
        super().run(result)
        if result and len(result.failures) + len(result.errors) > before and self.world.edge:
            print(f"--- the edge's log after {self.id()}:\n{self.world.edge.output()[-2500:]}")
            for program in self.world.programs:
                print(f"--- {program.log_path.name}:\n{program.output()[-1500:]}")
        return result

    @staticmethod
    def host(name):
        return f"{name}.{DOMAIN}"

    def client(self, name, **options):
        return RawClient(443, host=EDGE, tls=self.world.context, sni=self.host(name), **options)

    def h2(self, name, **options):
        return H2Client(443, host=EDGE, tls=tls_client_context(self.world.ca.cert, alpn=("h2",)), sni=self.host(name), **options)

    def fetch(self, name, path="/", headers=(), method="GET", body=None, **options):
        with self.client(name, **options) as client:
            return client.request(get(path, self.host(name), headers, method, body=body))

    def wait_shared(self, name, path="/"):
        """Until a visitor gets an answer of the app."""
        def answers():
            try:
                response = self.fetch(name, path, timeout=20)
            except TimeoutError:  # it waits on a connection whose silence is still to be noticed
                return None
            return response if response.status == 200 and response.error is None else None
        return wait_until(answers, f"{name} to be shared", PATIENCE)


__all__ = [name for name in dir() if not name.startswith("_")]
