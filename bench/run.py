"""scripts/bench: Lintel beside nginx, HAProxy, h2o and Caddy on this machine.

The proxy runs on core 0, the load and the app on core 1. The figure is what the kernel's scheduler charged to the
proxy's processes, divided by the completed requests: it holds on a noisy machine, where requests per second do not.
"""

import argparse
import atexit
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import attacks
import profiling
import report
import rows
import tunnel_rows
import tunnels
from proxies import PEERS, TITLES, BenchError, Environment, Proxy, missing_peers, versions

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "bench" / "out"


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="example: scripts/bench --rows h1,tls,h2 --peers nginx,haproxy --runs 3")
    parser.add_argument("--quick", action="store_true", help="1 run of 1 second each: a look, not a measurement")
    parser.add_argument("--rows", default="", metavar="ROW,…", help=f"of {', '.join(row.id for row in rows.ROWS)}")
    parser.add_argument("--peers", default=",".join(PEERS), metavar="NAME,…", help="default: %(default)s; none: \"\"")
    parser.add_argument("--runs", type=int, default=0, metavar="N", help="runs a row and proxy (default 5; attacks: 1)")
    parser.add_argument("--publish", action="store_true", help="also write docs/performance.md and docs/performance.svg")
    parser.add_argument("--attacks", action="store_true", help="the attack budgets instead of the speed rows")
    parser.add_argument("--tunnel", action="store_true", help="agent and edge instead of the proxy, beside frp and rathole")
    parser.add_argument("--profile", choices=profiling.LOADS, help="where one load's time goes in Lintel")
    parser.add_argument("--callgrind", action="store_true", help="with --profile: instructions a request, by callgrind")
    parser.add_argument("--build", default="build/release", help=argparse.SUPPRESS)
    return parser.parse_args()


def machine():
    model = ""
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    openssl = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=False).stdout.split()
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                            check=False).stdout.strip()
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release().split("-")[0],
            "openssl": openssl[1] if len(openssl) > 1 else "?", "commit": commit}


def measure_row(row, names, context, runs):
    """({name: [value, …]}, {name: problem}); alternating: every proxy once, then every proxy again."""
    names = [name for name in names if (name == "lintel" or not row.lintel_only) and (not row.only or name in row.only)]
    running, values, problems = {}, {name: [] for name in names}, {}

    def attempt(name, action):
        # One proxy that cannot do a row leaves the others' figures intact.
        try:
            return action()
        except (BenchError, OSError, subprocess.SubprocessError) as error:
            problems[name] = str(error)
            values[name] = []
            return None
    try:
        if not row.fresh:
            for name in names:
                running[name] = attempt(name, lambda: Proxy(name, context.env, row.purpose))
        for run in range(min(runs, row.most_runs)):
            for name in names:
                if name in problems:
                    continue
                report.progress(f"{row.id}: {TITLES[name]} {run + 1}/{runs}")
                value = attempt(name, lambda: row.measure(context, name if row.fresh else running[name]))
                if value is not None:
                    values[name].append(value)
    finally:
        for proxy in running.values():
            if proxy:
                proxy.stop()
        report.progress("")
    return values, problems


def evaluate(row, values, problems):
    medians = {name: statistics.median(found) for name, found in values.items() if found}
    result = {"id": row.id, "title": row.title, "unit": row.unit, "goal": row.goal, "digits": row.digits, "note": row.note,
              "problems": problems, "values": {name: {"median": medians[name], "min": min(values[name]), "max": max(values[name]),
                                "runs": values[name]} for name in medians}}
    peers = {name: value for name, value in medians.items() if name != "lintel"}
    if peers:
        result["best_peer"] = min(peers, key=peers.get)
        if "lintel" in medians:
            result["ratio"] = medians["lintel"] / peers[result["best_peer"]]
    return result


def run_rows(options, names, env):
    runs = options.runs or (1 if options.quick else 5)
    context = rows.Context(env, 1.0 if options.quick else 2.0)
    results = []
    for row in rows.choose([name for name in options.rows.split(",") if name]):
        if row.lintel_only and "lintel" not in names:
            continue
        results.append(evaluate(row, *measure_row(row, names, context, runs)))
        report.print_row(results[-1], names)
        for name, problem in results[-1]["problems"].items():
            print(f"bench: {row.id}: {problem}", file=sys.stderr)
    return {"date": time.strftime("%Y-%m-%d"), "runs": runs, "seconds": context.seconds, "machine": machine(),
            "versions": versions(names, env.lintel), "names": names, "rows": results,
            "busy_elsewhere": statistics.mean(context.busy_elsewhere) if context.busy_elsewhere else 0.0}


def save(result, name):
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def run_tunnel(options, env):
    if os.geteuid() != 0:
        raise BenchError("--tunnel makes network namespaces: run it as root")
    if not env.lintel.exists():
        raise BenchError(f"{env.lintel.name} is not built")
    peers = tunnels.PEERS if options.peers == ",".join(PEERS) else [name for name in options.peers.split(",") if name]
    result = tunnel_rows.run(env, peers, [name for name in options.rows.split(",") if name],
                             options.runs or (1 if options.quick else 5), 1.0 if options.quick else 3.0)
    result.update(date=time.strftime("%Y-%m-%d"), machine=machine())
    result["versions"] = {**versions(["lintel"], env.lintel), **result["versions"]}
    save(result, "tunnel")
    if options.publish:
        tunnel_rows.publish(result, ROOT / "docs")
    return 1 if result["problems"] else 0


def chosen_names(options, lintel):
    names = [name for name in options.peers.split(",") if name]
    for name in names:
        if name not in PEERS:
            raise BenchError(f"no peer \"{name}\"; the peers are {', '.join(PEERS)}")
    missing = missing_peers(names)
    if missing:
        print(f"bench: installing {', '.join(missing)} (scripts/setup --bench)", file=sys.stderr)
        subprocess.run([ROOT / "scripts" / "setup", "--bench"], check=False, stdout=sys.stderr)
        missing = missing_peers(names)
        if missing:
            raise BenchError(f"{', '.join(missing)} cannot be found after scripts/setup --bench; leave out with --peers")
    if not lintel.exists():
        print("bench: no lintel binary: the peers only", file=sys.stderr)
        return names
    return ["lintel", *names]


def main():
    options = arguments()
    if (os.cpu_count() or 1) < 2:
        raise BenchError("two cores are needed: one for the proxy, one for the load")
    tools = ROOT / options.build / "bench"
    lintel = ROOT / options.build / "lintel"
    if options.attacks and options.peers == ",".join(PEERS):
        options.peers = "nginx,haproxy,caddy"
    names = [] if options.tunnel else chosen_names(options, lintel)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="lintel-bench-"))
    env = Environment(directory, tools, lintel)

    def clean():
        env.close()
        shutil.rmtree(directory, ignore_errors=True)
    atexit.register(clean)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    os.sched_setaffinity(0, {1})  # the driver itself must not disturb the proxy's core

    if options.tunnel:
        return run_tunnel(options, env)
    if options.profile:
        profiling.profile(env, options.profile, options.callgrind, OUT)
        return 0
    if options.attacks:
        result = attacks.run(env, names, [name for name in options.rows.split(",") if name], options.runs or 1)
        result.update(date=time.strftime("%Y-%m-%d"), machine=machine(), versions=versions(names, lintel))
        save(result, "attacks")
        if options.publish:
            report.publish_attacks(result, ROOT / "docs")
        return 0 if result["within_budget"] else 1
    result = run_rows(options, names, env)
    save(result, "latest")
    report.print_footer(result)
    OUT.joinpath("latest.svg").write_text(report.chart(result), encoding="utf-8")
    if options.publish:
        report.publish(result, ROOT / "docs")
    return 1 if any(row["problems"] for row in result["rows"]) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as problem:
        print(f"bench: {problem}", file=sys.stderr)
        sys.exit(3)
    except KeyboardInterrupt:
        sys.exit(130)
