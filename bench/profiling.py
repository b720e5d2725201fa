"""Where the CPU time of one load goes in Lintel: microseconds and system calls a request, and the hottest functions
(perf's CPU clock, which needs no hardware counters) or instructions a request (callgrind)."""

import collections
import re
import shutil
import subprocess
import time

import load
from proxies import LOAD_CORE, BenchError, Proxy, on_core, spent_ns, tree, user_system_ticks

LOADS = ("h1", "tls", "h2", "handshake", "resume", "bulk")


def drive(env, proxy, kind, count):
    """Makes `count` exchanges of a kind; returns how many it made."""
    arguments = [part for name, value in load.FIELDS for part in ("-H", f"{name}: {value}")]
    if kind in ("handshake", "resume"):
        return load.loadgen(env, "handshakes", port=proxy.https, count=count, connections=16,
                            resume=kind == "resume")["completed"]
    if kind == "h2":
        return load.h2load(env, f"https://localhost:{proxy.https}/", count, 16, 8)[0]
    url = f"http://localhost:{proxy.http}/" if kind == "h1" else f"https://localhost:{proxy.https}/"
    connections = 8 if kind == "bulk" else 64
    output = load.run_tool(["h2load", "--h1", "-t1", f"-n{count}", f"-c{connections}", "-m1", *arguments,
                            url + ("1m" if kind == "bulk" else "")], env, 600)
    if f"{count} succeeded" not in output:
        raise BenchError(f"h2load: {output[-400:]}")
    return count


SIZES = {"h1": 150_000, "tls": 120_000, "h2": 150_000, "handshake": 5_000, "resume": 6_000, "bulk": 3_000}


def profile(env, kind, callgrind, out):
    if not env.lintel.exists():
        raise BenchError(f"{env.lintel.name} is not built")
    out.mkdir(exist_ok=True)
    if callgrind:
        instructions(env, kind, out)
        return
    proxy = Proxy("lintel", env)
    try:
        drive(env, proxy, kind, SIZES[kind] // 10)
        cost(env, proxy, kind)
        system_calls(env, proxy, kind)
        hottest(env, proxy, kind, out)
    finally:
        proxy.stop()


def cost(env, proxy, kind):
    results = []
    for _ in range(3):
        user, system = user_system_ticks(proxy.pids())
        before = proxy.cpu_ns()
        count = drive(env, proxy, kind, SIZES[kind])
        time.sleep(0.05)
        used = spent_ns(before, proxy.cpu_ns())
        after = user_system_ticks(proxy.pids())
        ticks = (after[0] - user) + (after[1] - system) or 1
        results.append((used / 1000 / count, (after[0] - user) / ticks))
    best = min(results)
    print(f"{kind}: {best[0]:.2f} CPU µs each (runs: {', '.join(f'{value:.2f}' for value, _ in results)}), "
          f"{best[1]:.0%} in user space")


def system_calls(env, proxy, kind):
    """strace slows the proxy, so batching differs a little; the mix is what matters."""
    if not shutil.which("strace"):
        return
    summary = proxy.directory / "strace.txt"
    threads = [part for pid in proxy.pids() for part in ("-p", str(pid))]
    tracer = subprocess.Popen(["strace", "-c", "-f", "-q", "-o", str(summary), *threads], stderr=subprocess.DEVNULL,
                              preexec_fn=on_core(0))
    time.sleep(0.5)
    count = drive(env, proxy, kind, max(500, SIZES[kind] // 15))
    tracer.terminate()
    tracer.wait(10)
    calls = []
    for line in summary.read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
            calls.append((int(fields[3]) / count, fields[-1]))
    calls.sort(reverse=True)
    print("system calls each: " + ", ".join(f"{name} {rate:.2f}" for rate, name in calls if rate >= 0.01))


def hottest(env, proxy, kind, out):
    if not shutil.which("perf"):
        print("perf is not installed: no list of functions")
        return
    data = out / f"perf-{kind}.data"
    recorder = subprocess.Popen(["perf", "record", "-e", "cpu-clock", "-F", "5000", "-g", "-o", str(data), "-p",
                                 ",".join(str(pid) for pid in proxy.pids())], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, preexec_fn=on_core(LOAD_CORE))
    time.sleep(0.5)
    drive(env, proxy, kind, SIZES[kind])
    subprocess.run(["kill", "-INT", str(recorder.pid)], check=False)
    recorder.wait(60)
    listing = subprocess.run(["perf", "report", "-i", str(data), "--stdio", "--no-children", "-g", "none", "--percent-limit",
                              "0.4"], capture_output=True, text=True, check=False).stdout
    for line in listing.splitlines():
        if line.strip() and not line.startswith("#"):
            print(line.rstrip()[:150])
    print(f"call chains: perf report -i {data.relative_to(out.parent.parent)}")


def control(pid, *arguments):
    subprocess.run(["callgrind_control", *arguments, pid], check=True, capture_output=True)


def newest_total(out, kind):
    """(instructions, file) of the last dump."""
    path = max(out.glob(f"callgrind-{kind}.*.*"), key=lambda candidate: candidate.stat().st_mtime)
    match = re.search(r"^totals: (\d+)", path.read_text(errors="replace"), re.M)
    if not match:
        raise BenchError("callgrind wrote nothing")
    return int(match.group(1)), path


def instructions(env, kind, out):
    """Instructions in user space a request, by callgrind: exact and repeatable, whatever else the machine does."""
    if not shutil.which("valgrind"):
        raise BenchError("valgrind is not installed (apt-get install valgrind)")
    pattern = out / f"callgrind-{kind}.%p"
    for old in out.glob(f"callgrind-{kind}.*"):
        old.unlink()
    # Debian 12's valgrind cannot read clang 19's debug information; the symbol table is enough for names.
    stripped = env.directory / "lintel-without-debug"
    subprocess.run(["llvm-objcopy-19", "--strip-debug", str(env.lintel), str(stripped)], check=True)
    env.lintel = stripped
    proxy = Proxy("lintel", env, wrapper=("valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=no",
                                          f"--callgrind-out-file={pattern}"))
    try:
        few = max(300, SIZES[kind] // 100)
        drive(env, proxy, kind, few)
        pid = str(tree(proxy.process.pid)[0])
        control(pid, "-i", "on")
        totals = []
        for count in (few, 3 * few):
            drive(env, proxy, kind, count)
            control(pid, "-d")
            time.sleep(0.5)
            totals.append(newest_total(out, kind))
        control(pid, "-i", "off")
    finally:
        proxy.stop()
    done, dump = 3 * few, totals[1][1]
    # The difference of a long and a short load: the connections' own set-up falls out.
    each = (totals[1][0] - totals[0][0]) / (2 * few)
    print(f"{kind}: {each:,.0f} instructions each in user space ({done} exchanges; the list below includes the handshakes)")
    listing = subprocess.run(["callgrind_annotate", "--threshold=92", str(dump)], capture_output=True, text=True, check=False)
    by_object = collections.Counter()
    for line in listing.stdout.splitlines():
        match = re.match(r"\s*([\d,]+) \(\s*[\d.]+%\)\s+(.*)", line)
        if not match or "PROGRAM TOTALS" in line:
            continue
        cost_each = int(match.group(1).replace(",", "")) / done
        name = match.group(2)
        found = re.search(r"\[([^\]]*)\]", name)
        by_object[found.group(1).rsplit("/", 1)[-1] if found else "?"] += cost_each
        if cost_each >= 20:
            print(f"{cost_each:10,.0f}  {name.removeprefix('???:').split(' [')[0][:110]}  {found.group(1).rsplit('/', 1)[-1] if found else ''}")
    print("by object: " + ", ".join(f"{name} {value:,.0f}" for name, value in by_object.most_common(6)))
