"""The rows of the table: what is measured, in which unit, and what Lintel has to reach (design goals as ratios)."""

import dataclasses
import mmap
import statistics
import struct
import time

import load
from proxies import BenchError, Proxy, spent_ns


@dataclasses.dataclass(frozen=True)
class Row:
    id: str
    title: str
    unit: str
    measure: object          # measure(context, proxy or name) -> float
    goal: float | None       # Lintel's value over the best peer's; None: shown, not judged
    fresh: bool = False      # measure() starts its own proxy
    lintel_only: bool = False
    only: tuple = ()         # the proxies that can do it; (): all
    purpose: str = "bench"   # which configuration they run
    most_runs: int = 99      # memory hardly varies and takes long
    digits: int = 1
    note: str = ""


class Context:
    def __init__(self, env, seconds):
        self.env, self.seconds = env, seconds
        self.requests = {}
        self.busy_elsewhere = []
        self.warmed = set()
        for name, octets in (("h1", load.h1_request()), ("h2", load.h2_request()),
                             ("ws", load.h1_request("/ws", load.WEBSOCKET_FIELDS))):
            path = env.directory / f"request-{name}"
            path.write_bytes(octets)
            self.requests[name] = path

    def warm(self, proxy, work):
        """work() before the first measurement of a running proxy: pools, tickets, the app's connections."""
        key = (proxy.https, work.__code__)
        if key not in self.warmed:
            self.warmed.add(key)
            work()

    def measured(self, proxy, work):
        """(result of work, CPU nanoseconds of the proxy's processes meanwhile)."""
        others_before, began = core_busy_ns(), time.monotonic_ns()
        before = proxy.cpu_ns()
        result = work()
        time.sleep(0.02)  # what is still in flight belongs to the work; an idle proxy's account is exact
        used = spent_ns(before, proxy.cpu_ns())
        elapsed = time.monotonic_ns() - began
        self.busy_elsewhere.append(max(0.0, (core_busy_ns() - others_before - used) / elapsed))
        return result, used


def core_busy_ns():
    """Busy time of the proxies' core, all processes together (10 ms ticks: only good for a warning)."""
    with open("/proc/stat", encoding="ascii") as stat:
        for line in stat:
            if line.startswith("cpu0 "):
                user, nice, system, _idle, _iowait, irq, softirq, steal = (int(part) for part in line.split()[1:9])
                return (user + nice + system + irq + softirq + steal) * 10_000_000
    return 0


def per_request_us(context, proxy, work):
    (count, _rate), used = context.measured(proxy, work)
    return used / 1000 / count


def http1(context, proxy):
    url = f"http://localhost:{proxy.http}/"
    context.warm(proxy, lambda: load.wrk(context.env, url, 64, 1))
    return per_request_us(context, proxy, lambda: load.wrk(context.env, url, 64, context.seconds))


def trusted_chain(context, proxy):
    """The client behind three proxies: whoever is asked has to find it."""
    url = f"http://localhost:{proxy.http}/"
    fields = load.FIELDS + (("x-forwarded-for", "203.0.113.9, 10.1.2.3, 10.1.2.4"), ("x-forwarded-proto", "https"))
    context.warm(proxy, lambda: load.wrk(context.env, url, 64, 1, fields))
    return per_request_us(context, proxy, lambda: load.wrk(context.env, url, 64, context.seconds, fields))


def https1(context, proxy):
    url = f"https://localhost:{proxy.https}/"
    context.warm(proxy, lambda: load.wrk(context.env, url, 64, 1))
    return per_request_us(context, proxy, lambda: load.wrk(context.env, url, 64, context.seconds))


def https2(context, proxy):
    url = f"https://localhost:{proxy.https}/"
    _, rate = load.h2load(context.env, url, 4000, 16, 8)
    requests = max(2000, int(rate * context.seconds))
    return per_request_us(context, proxy, lambda: load.h2load(context.env, url, requests, 16, 8))


def handshakes(context, proxy, resume):
    options = {"port": proxy.https, "connections": 16, "resume": resume}
    context.warm(proxy, lambda: load.loadgen(context.env, "handshakes", count=200, **options))
    count = int(1500 * context.seconds)
    result, used = context.measured(proxy, lambda: load.loadgen(context.env, "handshakes", count=count, **options))
    if result["completed"] != count:
        raise BenchError(f"{proxy.name}: {result}")
    # The first few connections have no ticket to offer yet.
    if resume and result["resumed"] < count * 0.95:
        raise BenchError(f"{proxy.name}: only {result['resumed']} of {count} handshakes were resumed")
    return used / 1000 / count


def idle_memory(context, name, h2):
    """KiB of proportional set size a connection, after one request on each."""
    count = 1500
    proxy = Proxy(name, context.env)
    try:
        request = context.requests["h2" if h2 else "h1"]
        options = {"port": proxy.https, "request": request, "h2": h2}
        load.Held(context.env, "idle", count=16, **options).finish()
        time.sleep(0.3)
        before = proxy.pss_kib()
        held = load.Held(context.env, "idle", count=count, **options)
        try:
            if held.first.get("ready") != count:
                raise BenchError(f"{name}: {held.first}")
            time.sleep(0.5)
            grown = proxy.pss_kib() - before
            alive = held.finish()
            if alive.get("alive") != count:
                raise BenchError(f"{name}: only {alive} of {count} connections stayed open")
        finally:
            held.stop()
        return grown / count
    finally:
        proxy.stop()


def large_answers(context, proxy):
    url = f"https://localhost:{proxy.https}/1m"
    context.warm(proxy, lambda: load.wrk(context.env, url, 8, 1))
    return per_request_us(context, proxy, lambda: load.wrk(context.env, url, 8, context.seconds))


def websocket(context, proxy):
    milliseconds = int(context.seconds * 1000)
    held = load.Held(context.env, "websocket", port=proxy.https, request=context.requests["ws"], connections=32,
                     milliseconds=milliseconds)
    try:
        if "upgraded" not in held.first:
            raise BenchError(f"{proxy.name}: {held.first}")
        result, used = context.measured(proxy, held.go_on)
        if result.get("failed") != 0 or not result.get("messages"):
            raise BenchError(f"{proxy.name}: {result}")
        return used / 1000 / result["messages"]
    finally:
        held.stop()


def allocations(context, name, work_url):
    """Calls of libc's allocator a request, steady state (the warm-up fills Lintel's pools)."""
    counters = context.env.directory / f"malloc-{time.monotonic_ns()}"
    counters.write_bytes(bytes(64))
    proxy = Proxy(name, context.env, preload={"LD_PRELOAD": str(context.env.tools / "bench_malloc_count.so"),
                                              "BENCH_MALLOC_COUNT": str(counters)})
    try:
        with open(counters, "r+b") as file, mmap.mmap(file.fileno(), 64) as page:
            read = lambda: struct.unpack_from("Q", page)[0]
            work_url(context, proxy, 3000)
            before = read()
            requests = work_url(context, proxy, 20000)
            return (read() - before) / requests
    finally:
        proxy.stop()


def allocations_h1(context, name):
    # h2load with --h1: an exact number of requests. Its 16 connections are part of the count.
    def work(ctx, proxy, requests):
        output = load.run_tool(["h2load", "--h1", "-t1", f"-n{requests}", "-c16", "-m1", *header_arguments(),
                                f"https://localhost:{proxy.https}/"], ctx.env, 120)
        if f"{requests} succeeded" not in output:
            raise BenchError(f"h2load --h1: {output[-300:]}")
        return requests
    return allocations(context, name, work)


def allocations_h2(context, name):
    def work(ctx, proxy, requests):
        return load.h2load(ctx.env, f"https://localhost:{proxy.https}/", requests, 16, 8)[0]
    return allocations(context, name, work)


def header_arguments():
    return [part for name, value in load.FIELDS for part in ("-H", f"{name}: {value}")]


def latency(context, proxy):
    """p99 in milliseconds over HTTPS at 70 % of what this proxy reached a moment before."""
    _, rate = load.wrk(context.env, f"https://localhost:{proxy.https}/", 64, 1)
    result = load.loadgen(context.env, "latency", port=proxy.https, request=context.requests["h1"], connections=128,
                          rate=int(rate * 0.7), milliseconds=int(context.seconds * 1000))
    if result["failed"]:
        raise BenchError(f"{proxy.name}: {result}")
    return result["p99_us"] / 1000


def production(context, name, work):
    """What production settings cost: CPU per request with them over without, both running, alternating."""
    plain, full = Proxy(name, context.env), Proxy(name, context.env, "production")
    try:
        ratios = []
        for _ in range(3):
            without = work(context, plain)
            ratios.append(work(context, full) / without)
        return statistics.median(ratios)
    finally:
        plain.stop()
        full.stop()


def start_time(context, name):
    """Milliseconds from exec to the first answer over HTTPS."""
    proxy = Proxy(name, context.env)
    try:
        return proxy.ready_seconds * 1000
    finally:
        proxy.stop()


def resident(context, name):
    """MiB of proportional set size after a load over HTTPS."""
    proxy = Proxy(name, context.env)
    try:
        load.wrk(context.env, f"https://localhost:{proxy.https}/", 64, 1)
        return proxy.pss_kib() / 1024
    finally:
        proxy.stop()


ROWS = (
    Row("h1", "HTTP/1.1 keep-alive", "CPU µs/request", http1, 0.88, note="wrk, 64 connections"),
    Row("tls", "HTTPS, HTTP/1.1 keep-alive", "CPU µs/request", https1, 0.82, note="wrk, 64 connections"),
    Row("h2", "HTTPS, HTTP/2", "CPU µs/request", https2, 0.85, note="h2load, 16 connections × 8 streams"),
    Row("trust", "chain of 3, 1,000 trusted ranges", "CPU µs/request", trusted_chain, None,
        only=("lintel", "nginx"), purpose="trust", note="wrk, 64 connections; nginx with real_ip_recursive"),
    Row("handshake", "full TLS 1.3 handshake", "CPU µs/handshake", lambda c, p: handshakes(c, p, False), 1.0, digits=0,
        note="P-256 certificate, X25519, no request"),
    Row("resume", "resumed TLS 1.3 handshake", "CPU µs/handshake", lambda c, p: handshakes(c, p, True), 1.0, digits=0,
        note="session ticket, with X25519"),
    Row("idle-h1", "idle HTTPS connection, HTTP/1.1", "KiB/connection", lambda c, n: idle_memory(c, n, False), 0.95,
        fresh=True, most_runs=3, note="1,500 connections, after one request each; growth of PSS"),
    Row("idle-h2", "idle HTTPS connection, HTTP/2", "KiB/connection", lambda c, n: idle_memory(c, n, True), 0.95,
        fresh=True, most_runs=3, note="1,500 connections, after one request each; growth of PSS"),
    Row("bulk", "1 MiB answers over HTTPS", "CPU µs/MiB", large_answers, 0.95, digits=0, note="wrk, 8 connections"),
    Row("ws", "WebSocket echo over HTTPS", "CPU µs/message", websocket, 1.0,
        note="32 connections, 64 octets there and back"),
    Row("mallocs", "allocations, HTTPS HTTP/1.1", "malloc/request", allocations_h1, None, fresh=True, lintel_only=True,
        most_runs=2, digits=2),
    Row("mallocs-h2", "allocations, HTTPS HTTP/2", "malloc/request", allocations_h2, None, fresh=True, lintel_only=True,
        most_runs=2, digits=2),
    Row("production-h1", "production settings, HTTPS HTTP/1.1", "× without", lambda c, n: production(c, n, https1), None,
        fresh=True, lintel_only=True, most_runs=3, digits=3, note="metrics, rate limit, HSTS, cookies, JSON log to a file"),
    Row("production-h2", "production settings, HTTPS HTTP/2", "× without", lambda c, n: production(c, n, https2), None,
        fresh=True, lintel_only=True, most_runs=3, digits=3, note="the same"),
    Row("p99", "p99 latency at 70 % load, HTTPS", "ms", latency, None, digits=2, note="open loop, each at 70 % of its own peak"),
    Row("start", "start to first answer", "ms", start_time, None, fresh=True, digits=0),
    Row("rss", "resident after load", "MiB", resident, None, fresh=True, most_runs=3, note="PSS of all its processes"),
)


def choose(names):
    """Rows by id or by the part before the dash ("idle" is both idle rows)."""
    if not names:
        return ROWS
    chosen = [row for row in ROWS if row.id in names or row.id.split("-")[0] in names]
    known = {row.id for row in ROWS} | {row.id.split("-")[0] for row in ROWS}
    for name in names:
        if name not in known:
            raise BenchError(f"no row \"{name}\"; the rows are {', '.join(row.id for row in ROWS)}")
    return chosen
