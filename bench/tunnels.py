"""scripts/bench --tunnel: the places (namespaces, with or without a long line) and the tunnels under comparison.

Agent and edge run on core 0; the visitor, the app and the line on core 1."""

import os
import pathlib
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import time

from proxies import HERE, LOAD_CORE, PROXY_CORE, BenchError, Origin, cpu_ns, memory_kib, on_core, stop_process, tree

ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import netns  # noqa: E402

PEER_FOLDER = ROOT / "build" / "peers" / "bin"  # where scripts/bench-peers puts them
PEERS = ("frp", "rathole")
TITLES = {"lintel": "Lintel", "frp": "frp", "rathole": "rathole + nginx"}
PROGRAMS = {"frp": ("frps", "frpc"), "rathole": ("rathole", "nginx")}
DOMAIN = "t.bench.test"
HOST = f"app.{DOMAIN}"
PATIENCE_S = 30
SEARCH = f"{PEER_FOLDER}:{os.environ['PATH']}:/usr/sbin:/sbin"


def missing(name):
    """The programs of a peer that are not here."""
    return [program for program in PROGRAMS[name] if not shutil.which(program, path=SEARCH)]


class Place:
    """Where the edge (with the visitors) and the agent (with the app) are: one namespace, or two with a line between
    them that takes `delay_ms` in each direction. `wide`: TCP may have as much in flight as it likes, where the kernel's
    default limits a connection to about 2.5 MiB."""

    def __init__(self, env, delay_ms=None, wide=False):
        self.env, self.closers = env, []
        self.hosts = env.directory / f"hosts-{time.monotonic_ns()}"
        self.edge = self._space("edge")
        if delay_ms is None:
            self.agent, self.address = self.edge, "127.0.0.1"
        else:
            self.agent, self.address = self._space("agent"), "198.19.0.1"
            self._join(delay_ms)
        if wide:
            for space in {self.edge, self.agent}:
                subprocess.run(space.command(["sysctl", "-qw", "net.ipv4.tcp_wmem=4096 16384 134217728",
                                              "net.ipv4.tcp_rmem=4096 131072 134217728"]), check=True)
        self.hosts.write_text(f"127.0.0.1 localhost\n{self.address} {DOMAIN} {HOST}\n")
        self.origin = Origin(env.tools, self.agent.command)
        self.closers.append(self.origin.stop)

    def _space(self, name):
        space = netns.Namespace(name, self.hosts)
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.closers.append(space.stop)
        return space

    def _join(self, delay_ms):
        command = [str(self.env.tools / "bench_loadgen"), "delay-line", "--from", self.edge.path, "--to", self.agent.path,
                   "--delay-us", str(int(delay_ms * 1000))]
        line = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=on_core(LOAD_CORE))
        self.closers.append(lambda: stop_process(line))
        if line.stdout.readline() != "ready\n":
            raise BenchError("the line between the namespaces did not start")
        for space, own, other in ((self.edge, "198.19.0.1", "198.19.0.2"), (self.agent, "198.19.0.2", "198.19.0.1")):
            space.ip("address", "add", own, "peer", other, "dev", "line")
            space.ip("link", "set", "line", "up", "txqueuelen", "10000")

    def close(self):
        for closer in reversed(self.closers):
            closer()
        self.closers = []


class Tunnel:
    """One running tunnel: edge, agent and what else it needs, in a place. `https` is the visitors' port."""

    def __init__(self, place, number):
        self.place, self.env = place, place.env
        self.directory = place.env.directory / f"{self.name}-{time.monotonic_ns()}"
        self.directory.mkdir(parents=True)
        self.https, self.http, self.control, self.service = (base + number for base in (8400, 8500, 8600, 8700))
        self.token = secrets.token_urlsafe(32)
        self.processes, self.logs = [], []
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def values(self):
        return {"DIR": self.directory, "ADDRESS": self.place.address, "HTTPS": self.https, "HTTP": self.http,
                "CONTROL": self.control, "SERVICE": self.service, "TOKEN": self.token, "ORIGIN": self.place.origin.port,
                "DOMAIN": DOMAIN, "HOST": HOST, "CERT": self.env.tunnel_cert, "KEY": self.env.tunnel_key,
                "PKCS12": self.env.tunnel_pkcs12}

    def write(self, template):
        text = (HERE / "peers" / template).read_text(encoding="utf-8")
        for key, value in self.values().items():
            text = text.replace(f"@{key}@", str(value))
        path = self.directory / template.removesuffix(".in")
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, space, *command, **environment):
        """A process on the tunnels' core; its CPU time counts."""
        log = self.directory / f"output-{len(self.processes)}.log"
        self.logs.append(log)
        with open(log, "wb") as output:
            process = subprocess.Popen(space.command(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       env=dict(os.environ, HOME=str(self.directory), PATH=SEARCH, NO_COLOR="1",
                                                **environment), cwd=self.directory, preexec_fn=on_core(PROXY_CORE))
        self.processes.append(process)
        return process

    def wait_ready(self):
        """Until a visitor gets the app's answer."""
        deadline, problem = time.monotonic() + PATIENCE_S, "no answer"
        while time.monotonic() < deadline:
            ended = [index for index, process in enumerate(self.processes) if process.poll() is not None]
            if ended:
                problem = "ended: " + self.logs[ended[0]].read_text(errors="replace")[-600:]
                break
            try:
                head = self.fetch().split(b"\r\n", 1)[0]
                if b" 200" in head:
                    return
                problem = f"answers {head!r}"
            except OSError as error:
                problem = str(error)
            time.sleep(0.05)
        raise BenchError(f"{self.name}: {problem}; " + " | ".join(log.read_text(errors="replace")[-300:] for log in self.logs))

    def fetch(self, path="/"):
        context = ssl.create_default_context(cafile=str(self.env.tunnel_cert))
        with self.place.edge.entered():
            raw = socket.create_connection((self.place.address, self.https), timeout=5)
        with raw, context.wrap_socket(raw, server_hostname=HOST) as stream:
            stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{self.https}\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while part := stream.recv(65536):
                answer += part
            return answer

    def pids(self):
        return [pid for process in self.processes for pid in tree(process.pid)]

    def cpu_ns(self):
        return cpu_ns(self.pids())

    def url(self, path="/"):
        return f"https://{HOST}:{self.https}{path}"

    def stop(self):
        for process in reversed(self.processes):
            stop_process(process)


class Rathole(Tunnel):
    name = "rathole"

    def start(self):
        self.run(self.place.edge, "nginx", "-e", self.directory / "nginx-error.log", "-p", self.directory, "-c",
                 self.write("tunnel-nginx.conf.in"))
        self.run(self.place.edge, "rathole", "--server", self.write("rathole-server.toml.in"), RUST_LOG="warn")
        self.agent = self.run(self.place.agent, "rathole", "--client", self.write("rathole-client.toml.in"), RUST_LOG="warn",
                              SSL_CERT_FILE=str(self.env.tunnel_cert))


class Frp(Tunnel):
    name = "frp"

    def start(self):
        self.run(self.place.edge, "frps", "-c", self.write("frps.toml.in"))
        self.agent = self.run(self.place.agent, "frpc", "-c", self.write("frpc.toml.in"))


class Lintel(Tunnel):
    name = "lintel"

    def start(self):
        config = self.write("lintel-edge.toml.in")
        self.edge_token = self.command("edge", "token", "new", "--name", "bench", "--allow", "*", "--file",
                                       self.directory / "tokens.toml")
        self.edge = self.run(self.place.edge, self.env.lintel, "serve", "-c", config)
        self.agent = self.run(self.place.agent, self.env.lintel, "share", f"{self.place.origin.port}", "--edge",
                              f"{DOMAIN}:{self.https}", "--name", "app", "--ca-file", self.env.tunnel_cert,
                              LINTEL_TOKEN=self.edge_token)

    def command(self, *arguments, text=""):
        """What a lintel command printed, run where the agent is."""
        done = subprocess.run(self.place.agent.command([self.env.lintel, *arguments]), input=text, capture_output=True, text=True,
                              timeout=60, env=dict(os.environ, HOME=str(self.directory), NO_COLOR="1",
                                                   SSL_CERT_FILE=str(self.env.tunnel_cert)))
        if done.returncode != 0:
            raise BenchError(f"lintel {' '.join(map(str, arguments))}: {done.stderr[-500:]}")
        return done.stdout.strip()


KINDS = {"lintel": Lintel, "frp": Frp, "rathole": Rathole}


def prepare(env):
    """The certificate of the edge's domain, which is its own authority."""
    env.tunnel_cert, env.tunnel_key, env.tunnel_pkcs12 = (env.directory / f"tunnel.{end}" for end in ("pem", "key", "pfx"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                    "30", "-subj", f"/CN={DOMAIN}", "-addext", f"subjectAltName=DNS:{DOMAIN},DNS:*.{DOMAIN}", "-keyout",
                    env.tunnel_key, "-out", env.tunnel_cert], check=True, capture_output=True)
    subprocess.run(["openssl", "pkcs12", "-export", "-inkey", env.tunnel_key, "-in", env.tunnel_cert, "-passout", "pass:bench",
                    "-out", env.tunnel_pkcs12], check=True, capture_output=True)


def resident_kib(pid):
    return memory_kib([pid], "Rss")


def versions(names):
    found = {}
    for name in names:
        program = "lintel" if name == "lintel" else shutil.which(PROGRAMS[name][0], path=SEARCH)
        if name == "lintel" or program is None:
            continue
        output = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10)
        words = [word for word in (output.stdout + output.stderr).split() if word[:1].isdigit()]
        found[name] = words[0] if words else "?"
    return found


__all__ = [name for name in dir() if not name.startswith("_")]
