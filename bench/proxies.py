"""Starts the proxies under comparison with the same work to do, and reads what the kernel says they cost."""

import ctypes
import functools
import os
import pathlib
import pwd
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
PROXY_CORE = 0
LOAD_CORE = 1
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)

PEERS = ("nginx", "haproxy", "h2o", "caddy")
TITLES = {"lintel": "Lintel", "nginx": "nginx", "haproxy": "HAProxy", "h2o": "h2o", "caddy": "Caddy"}


class BenchError(Exception):
    """Something the user can act on; printed without a traceback."""


def free_ports(count):
    """Ports nobody has now; all are held open until the last is known, so that they differ."""
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


def on_core(core):
    """A preexec_fn: own session, one core, dies with this program, as many descriptors as allowed."""
    def prepare():
        os.setsid()
        os.sched_setaffinity(0, {core})
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return prepare


def tree(pid):
    """pid and all its descendants."""
    children = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            with open(f"/proc/{entry.name}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        current = queue.pop()
        found.append(current)
        queue.extend(children.get(current, ()))
    return found


def cpu_ns(pids):
    """{pid: run time in nanoseconds}, from the scheduler's own account of each process (not clock ticks), with the threads
    that have ended: the clock of clock_getcpuclockid(3)."""
    found = {}
    for pid in pids:
        try:
            found[pid] = time.clock_gettime_ns((~pid << 3) | 2)
        except OSError:
            continue
    return found


def spent_ns(before, after):
    """What was spent between two results of cpu_ns. What a helper that has ended meanwhile had spent is not in it."""
    return sum(value - before.get(pid, 0) for pid, value in after.items())


def user_system_ticks(pids):
    """(user, system) in clock ticks, over all threads: coarse, for the split only."""
    user = system = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        user += int(fields[11])
        system += int(fields[12])
    return user, system


def memory_kib(pids, field="Pss"):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii", errors="replace") as rollup:
                match = re.search(rf"^{field}:\s+(\d+) kB", rollup.read(), re.M)
        except OSError:
            continue
        total += int(match.group(1)) if match else 0
    return total


def peak_kib(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
                match = re.search(r"^VmHWM:\s+(\d+) kB", status.read(), re.M)
        except OSError:
            continue
        total += int(match.group(1)) if match else 0
    return total


@functools.cache
def client_context(alpn="http/1.1"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    return context


def fetch(port, tls, path="/", timeout=5.0):
    """One GET on a new connection; the whole answer as bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as raw:
        stream = client_context().wrap_socket(raw, server_hostname="localhost") if tls else raw
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while True:
            try:
                part = stream.recv(65536)
            except ssl.SSLEOFError:
                part = b""
            if not part:
                return answer
            answer += part


class Origin:
    """The app behind every proxy, on the load generator's core."""

    def __init__(self, tools, placed=lambda command: command):
        """`placed` makes the command line that runs it in another place, such as a network namespace."""
        self.process = subprocess.Popen(placed([str(tools / "bench_origin"), "0"]), stdout=subprocess.PIPE, text=True,
                                        preexec_fn=on_core(LOAD_CORE))
        line = self.process.stdout.readline()
        if not line.startswith("listening "):
            raise BenchError("the origin app did not start")
        self.port = int(line.split()[1])

    def stats(self):
        import json
        return json.loads(fetch(self.port, False, "/stats").split(b"\r\n\r\n", 1)[1])

    def stop(self):
        stop_process(self.process)


def stop_process(process):
    """SIGTERM to the session, SIGKILL after two seconds. Only what this program started."""
    if process.poll() is None:
        for number, patience in ((signal.SIGTERM, 2), (signal.SIGKILL, 5)):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
            try:
                process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()


PRODUCTION = """hsts = true
cookies = { secure = true, http_only = ["session"], same_site = { session = "Lax" } }
limits = { body = "100MiB", rate = "1000000/s", burst = 1000000, connections_per_client = 60000 }
"""


def trust_rules(name):
    """1,000 trusted ranges: this machine, 10/8, and single addresses."""
    peers = ["127.0.0.1", "10.0.0.0/8"] + [f"172.16.{i // 256}.{i % 256}" for i in range(998)]
    if name == "lintel":
        return "[[trust]]\npeers = [" + ", ".join(f'"{peer}"' for peer in peers) + ']\nsource = "x-forwarded"\n\n'
    if name == "nginx":
        return "".join(f"  set_real_ip_from {peer};\n" for peer in peers) + \
            "  real_ip_header X-Forwarded-For;\n  real_ip_recursive on;\n"
    raise BenchError(f"{name} has no such rules here")


class Proxy:
    """One running proxy. http and https are its ports on 127.0.0.1."""

    def __init__(self, name, env, purpose="bench", preload=None, wrapper=()):
        self.name, self.env = name, env
        self.directory = env.directory / f"{name}-{time.monotonic_ns()}"
        self.directory.mkdir(parents=True)
        self.process = None
        problem = ""
        for _ in range(3):  # somebody may take a port between the choice and the start
            self.http, self.https = free_ports(2)
            self.started_at = time.monotonic()
            self._spawn(purpose, preload or {}, wrapper)
            problem = self._wait_ready(60 if wrapper else 15)
            if not problem:
                return
            self.stop()
        raise BenchError(f"{TITLES[name]} did not start: {problem}")

    def _spawn(self, purpose, extra_env, wrapper):
        template = {"nginx": "nginx.conf.in", "haproxy": "haproxy.cfg.in", "h2o": "h2o.conf.in",
                    "caddy": "Caddyfile.in", "lintel": "lintel.toml.in"}[self.name]
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        values = {
            "DIR": self.directory, "HTTP": self.http, "HTTPS": self.https, "ORIGIN": self.env.origin.port,
            "CERT": self.env.cert, "KEY": self.env.key, "PEM": self.env.pem, "USER": pwd.getpwuid(os.getuid()).pw_name,
            "FILES": hard, "CONNECTIONS": min(15000, hard - 100),
            # For speed nobody should close connections in the middle; under attack everybody keeps its own default.
            "KEEPALIVE_REQUESTS": 1000 if purpose == "attacks" else 1_000_000_000,
        }
        # What a site on the internet switches on; see "production" in docs/performance.md.
        production = purpose == "production"
        values["ACCESS_LOG"] = self.directory / "access.log" if production else "off"
        values["METRICS"] = f"127.0.0.1:{free_ports(1)[0]}" if production else "off"
        values["PRODUCTION"] = PRODUCTION if production else ""
        values["TRUST"] = trust_rules(self.name) if purpose == "trust" else ""
        text = (HERE / "peers" / template).read_text(encoding="utf-8")
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        config = self.directory / template.removesuffix(".in")
        config.write_text(text, encoding="utf-8")
        command = {
            "nginx": ["nginx", "-e", str(self.directory / "error.log"), "-p", str(self.directory), "-c", str(config)],
            "haproxy": ["haproxy", "-db", "-q", "-f", str(config)],
            "h2o": ["h2o", "-c", str(config)],
            "caddy": ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"],
            "lintel": [str(self.env.lintel), "serve", "-c", str(config)],
        }[self.name]
        environment = dict(os.environ, HOME=str(self.directory), XDG_DATA_HOME=str(self.directory), GOMAXPROCS="1",
                           XDG_CONFIG_HOME=str(self.directory), PATH=os.environ["PATH"] + ":/usr/sbin:/sbin", **extra_env)
        self.log = self.directory / "output.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*wrapper, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=environment, preexec_fn=on_core(PROXY_CORE))

    def _wait_ready(self, patience):
        """Empty when it answers, else why it does not."""
        deadline = time.monotonic() + patience
        problem = "no answer"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return f"exit {self.process.returncode}: {self.log.read_text(errors='replace').strip()[-600:]}"
            try:
                head = fetch(self.https, True, timeout=patience).split(b"\r\n", 1)[0]
                if b" 200" in head:
                    self.ready_seconds = time.monotonic() - self.started_at
                    return ""
                problem = f"answers {head.decode(errors='replace')!r}"
            except OSError as error:
                problem = str(error)
            time.sleep(0.001)
        return problem

    def pids(self):
        return tree(self.process.pid)

    def cpu_ns(self):
        return cpu_ns(self.pids())

    def pss_kib(self):
        return memory_kib(self.pids())

    def peak_kib(self):
        return peak_kib(self.pids())

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        if self.process:
            stop_process(self.process)
        self.process = None


class Environment:
    """What all rows share: the folder, the certificate, the origin, where the programs are."""

    def __init__(self, directory, tools, lintel):
        self.directory, self.tools, self.lintel = directory, tools, lintel
        directory.chmod(0o755)
        self.cert, self.key, self.pem = (directory / name for name in ("cert.pem", "key.pem", "both.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,DNS:bench.test",
                        "-keyout", self.key, "-out", self.cert], check=True, capture_output=True)
        self.pem.write_bytes(self.cert.read_bytes() + self.key.read_bytes())
        # Every OpenSSL client of the load (wrk, h2load) offers one cipher and one group: the same TLS for all.
        self.openssl_conf = directory / "openssl.cnf"
        self.openssl_conf.write_text(
            "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = client\n[client]\n"
            "Ciphersuites = TLS_AES_128_GCM_SHA256\nCipherString = ECDHE-ECDSA-AES128-GCM-SHA256\nGroups = X25519\n")
        self.origin = Origin(tools)

    def placed(self, command):
        """The command line that runs `command` where the load belongs."""
        return command

    def close(self):
        self.origin.stop()


def missing_peers(names):
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    return [name for name in names if name != "lintel" and not shutil.which(name, path=path)]


def versions(names, lintel):
    commands = {"nginx": ["nginx", "-v"], "haproxy": ["haproxy", "-v"], "h2o": ["h2o", "-v"], "caddy": ["caddy", "version"],
                "lintel": [str(lintel), "version"]}
    found = {}
    for name in names:
        environment = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
        try:
            output = subprocess.run(commands[name], capture_output=True, text=True, env=environment, timeout=10)
        except OSError:
            continue
        match = re.search(r"\d+\.\d+(\.\d+)?", output.stdout + output.stderr)
        found[name] = match.group(0) if match else "?"
    return found
