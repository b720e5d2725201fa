"""scripts/bench --tunnel: the rows, and how they are run and shown."""

import dataclasses
import json
import statistics
import subprocess
import sys
import time

import load
import report
from proxies import LOAD_CORE, BenchError, on_core, spent_ns, stop_process
from tunnels import DOMAIN, HERE, HOST, KINDS, PEERS, TITLES, Place, missing, prepare, resident_kib, versions

IDLE_AGENTS, IDLE_CONNECTIONS = 1000, 2
SMALL_RATE = 200  # small requests a second beside the bulk download


@dataclasses.dataclass(frozen=True)
class Part:
    """One line of the table. `goal`: ("at most", 0.8) and ("at least", 1.5) are Lintel's value over the best peer's;
    ("below", 15) is Lintel's value itself."""
    id: str
    title: str
    unit: str
    goal: tuple | None = None
    digits: int = 1
    best: object = min
    lintel_only: bool = False


@dataclasses.dataclass(frozen=True)
class Group:
    """Lines that one measurement gives. `place`: which of PLACES."""
    place: str
    measure: object  # measure(context, tunnel) -> one value a part
    parts: tuple
    most_runs: int = 99


PLACES = {"near": {}, "far": {"delay_ms": 25}, "wide": {"delay_ms": 25, "wide": True}}


class Context:
    def __init__(self, env, place, seconds):
        self.env, self.place, self.seconds = env, place, seconds
        self.requests = {}
        for name, path in (("small", "/"), ("endless", "/endless")):
            self.requests[name] = env.directory / f"tunnel-request-{name}"
            self.requests[name].write_bytes(load.h1_request(path, host=HOST))

    def target(self, tunnel):
        return {"address": self.place.address, "name": HOST, "port": tunnel.https}


def measured(tunnel, work):
    """(result of work, CPU nanoseconds of agent, edge and what is with them)."""
    before = tunnel.cpu_ns()
    result = work()
    time.sleep(0.05)
    return result, spent_ns(before, tunnel.cpu_ns())


def cpu_h1(context, tunnel):
    (count, _), used = measured(tunnel, lambda: load.wrk(context.env, tunnel.url(), 64, context.seconds, host=HOST))
    return (used / 1000 / count,)


def cpu_h2(context, tunnel):
    _, rate = load.h2load(context.env, tunnel.url(), 1000, 16, 8)
    requests = max(1000, int(rate * context.seconds))
    (count, _), used = measured(tunnel, lambda: load.h2load(context.env, tunnel.url(), requests, 16, 8))
    return (used / 1000 / count,)


def bulk(context, tunnel):
    """(MiB/s, CPU µs/MiB) of one download, once it is up to speed."""
    milliseconds, warm = int(context.seconds * 3000), int(context.seconds * 1000)
    result, used = measured(tunnel, lambda: load.loadgen(context.env, "bulk", request=context.requests["endless"],
                                                         **{"milliseconds": milliseconds, "warm-milliseconds": warm},
                                                         **context.target(tunnel)))
    if result["failed"]:
        raise BenchError(f"{tunnel.name}: {result}")
    return result["steady_mib_per_second"], used / 1000 / (result["octets"] / 1048576)


def small_p99_ms(context, tunnel, milliseconds):
    result = load.loadgen(context.env, "latency", request=context.requests["small"], rate=SMALL_RATE, connections=64,
                          milliseconds=milliseconds, **context.target(tunnel))
    if result["failed"] or not result["requests"]:
        raise BenchError(f"{tunnel.name}: {result}")
    return result["p99_us"] / 1000


def beside_bulk(context, tunnel):
    """(p99 ms without, with, ratio) of small requests while one download runs as fast as it can."""
    milliseconds = int(context.seconds * 2000)
    quiet = small_p99_ms(context, tunnel, milliseconds)
    command = load.loadgen_command(context.env, "bulk", {"request": context.requests["endless"], "milliseconds": 600_000,
                                                         **context.target(tunnel)})
    download = subprocess.Popen(context.env.placed(command), stdout=subprocess.DEVNULL, preexec_fn=on_core(LOAD_CORE))
    try:
        time.sleep(context.seconds)
        busy = small_p99_ms(context, tunnel, milliseconds)
        if download.poll() is not None:
            raise BenchError(f"{tunnel.name}: the download ended early")
    finally:
        stop_process(download)
    return quiet, busy, busy / quiet


def idle_agent(context, tunnel):
    return (resident_kib(tunnel.agent.pid) / 1024,)


def idle_agents(context, tunnel):
    """(MiB that the edge grows by, MiB that it has then) with IDLE_AGENTS idle agents."""
    before = resident_kib(tunnel.edge.pid)
    command = ["/usr/bin/python3", HERE / "idle_agents.py", context.place.address, tunnel.https, DOMAIN, IDLE_AGENTS, IDLE_CONNECTIONS]
    agents = subprocess.Popen(context.env.placed([str(part) for part in command]), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True, preexec_fn=on_core(LOAD_CORE))
    try:
        agents.stdin.write(tunnel.edge_token + "\n")
        agents.stdin.flush()
        ready = json.loads(agents.stdout.readline() or "{}")
        if ready.get("ready") != IDLE_AGENTS * IDLE_CONNECTIONS:
            raise BenchError(f"idle agents: {ready}")
        time.sleep(2)
        resident = resident_kib(tunnel.edge.pid)
        agents.stdin.close()
        alive = json.loads(agents.stdout.readline() or "{}")
        if alive.get("alive") != IDLE_AGENTS * IDLE_CONNECTIONS:
            raise BenchError(f"idle agents: {alive}")
    finally:
        agents.stdin = None
        stop_process(agents)
    return (resident - before) / 1024, resident / 1024


GROUPS = (
    Group("near", idle_agent, (Part("agent", "idle agent, no request yet", "MiB resident", ("below", 15), lintel_only=False),), 1),
    Group("near", cpu_h1, (Part("h1", "request, visitor on HTTPS HTTP/1.1", "CPU µs/request", ("at most", 0.8)),)),
    Group("near", cpu_h2, (Part("h2", "request, visitor on HTTPS HTTP/2", "CPU µs/request", ("at most", 0.8)),)),
    Group("near", bulk, (Part("bulk", "one download, 0 ms", "MiB/s", ("at least", 1.0), 0, max),
                         Part("bulk-cpu", "the same, its cost", "CPU µs/MiB", None, 0))),
    Group("near", beside_bulk, (Part("p99", "small requests, 0 ms: p99 alone", "ms", None, 2),
                                Part("p99-bulk", "p99 beside a download", "ms", None, 2),
                                Part("p99-ratio", "the one over the other", "×", ("below", 2.0), 2))),
    Group("near", idle_agents, (Part("agents", "1,000 idle agents: the edge grows by", "MiB resident", ("below", 100),
                                     lintel_only=True),
                                Part("agents-edge", "the edge has then", "MiB resident", None, lintel_only=True)), 1),
    Group("far", bulk, (Part("bulk-50", "one download, 50 ms, the kernel's TCP limits", "MiB/s", ("at least", 1.5), 1, max),
                        Part("bulk-50-cpu", "the same, its cost", "CPU µs/MiB", None, 0))),
    Group("far", beside_bulk, (Part("p99-50", "small requests, 50 ms: p99 alone", "ms", None, 1),
                               Part("p99-50-bulk", "p99 beside a download", "ms", None, 1),
                               Part("p99-50-ratio", "the one over the other", "×", ("below", 2.0), 2))),
    Group("wide", bulk, (Part("bulk-wide", "one download, 50 ms, TCP without a limit", "MiB/s", ("at least", 1.5), 1, max),
                         Part("bulk-wide-cpu", "the same, its cost", "CPU µs/MiB", None, 0))),
)


def known_ids():
    return [part.id for group in GROUPS for part in group.parts]


def choose(wanted):
    for name in wanted:
        if name not in known_ids():
            raise BenchError(f"no row \"{name}\"; the rows of --tunnel are {', '.join(known_ids())}")
    return [group for group in GROUPS if not wanted or any(part.id in wanted for part in group.parts)]


def names_to_run(asked):
    """(names, {peer: why it is missing})."""
    absent = {}
    for name in asked:
        if name not in PEERS:
            raise BenchError(f"no peer \"{name}\" of --tunnel; they are {', '.join(PEERS)}")
        programs = missing(name)
        if programs:
            absent[name] = f"no {' and no '.join(programs)} here; scripts/bench-peers tries to install them and says what fails"
    for name, why in absent.items():
        print(f"bench: {TITLES[name]} is left out: {why}", file=sys.stderr)
    return ["lintel", *(name for name in asked if name not in absent)], absent


def run_group(group, context, tunnels, runs, problems):
    """{part id: {name: [value, …]}}"""
    values = {part.id: {name: [] for name in tunnels} for part in group.parts}
    for run in range(min(runs, group.most_runs)):
        for name, tunnel in tunnels.items():
            if (group.parts[0].lintel_only and name != "lintel") or (name, group.parts[0].id) in problems:
                continue
            report.progress(f"{group.parts[0].id}: {TITLES[name]} {run + 1}/{runs}")
            try:
                found = group.measure(context, tunnel)
            except (BenchError, OSError, subprocess.SubprocessError) as error:
                problems[name, group.parts[0].id] = str(error)
                print(f"bench: {group.parts[0].id}: {error}", file=sys.stderr)
                continue
            for part, value in zip(group.parts, found):
                values[part.id][name].append(value)
    report.progress("")
    return values


def evaluate(part, values):
    medians = {name: statistics.median(found) for name, found in values.items() if found}
    row = {"id": part.id, "title": part.title, "unit": part.unit, "goal": part.goal, "digits": part.digits,
           "values": {name: {"median": median, "runs": values[name]} for name, median in medians.items()}}
    peers = {name: value for name, value in medians.items() if name != "lintel"}
    if peers and "lintel" in medians:
        row["best_peer"] = part.best(peers, key=peers.get)
        row["ratio"] = medians["lintel"] / peers[row["best_peer"]]
    return row


def verdict(row):
    if row["goal"] is None or "lintel" not in row["values"]:
        return ""
    kind, bound = row["goal"]
    own = row["values"]["lintel"]["median"]
    value = own if kind == "below" else row.get("ratio")
    if value is None:
        return "no peer to compare with"
    met = value >= bound - 0.005 if kind == "at least" else value <= bound + 0.005
    return "met" if met else "missed"


def goal_text(row):
    if row["goal"] is None:
        return ""
    kind, bound = row["goal"]
    return {"below": f"≤ {bound:g} {row['unit'].split()[0]}", "at most": f"≤ {bound:g} × the best peer",
            "at least": f"≥ {bound:g} × the best peer"}[kind]


def cells(row, names):
    return [f"{row['values'][name]['median']:.{row['digits']}f}" if name in row["values"] else "–" for name in names]


def print_row(row, names):
    shown = "".join(f"{cell:>17}" for cell in cells(row, names))
    ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
    print(f"{row['title']:46}{row['unit']:16}{shown}  {ratio:>6}  {goal_text(row)} {verdict(row)}", flush=True)


def markdown(result):
    names = result["names"]
    machine = result["machine"]
    shown = ", ".join(f"{TITLES[name]} {version}" for name, version in result["versions"].items())
    lines = [f"Measured {result['date']} at commit {machine['commit']} on {machine['cpu']}, {machine['cores']} cores, kernel "
             f"{machine['kernel']}: {shown}. Median of {result['runs']} alternating runs of {result['seconds']:.0f} seconds or a "
             "small multiple of it."]
    lines += [f"{TITLES[name]} is missing: {why}." for name, why in result["absent"].items()]
    lines += ["", "| | | " + " | ".join(f"**{TITLES[name]}**" if name == "lintel" else TITLES[name] for name in names)
              + " | Lintel ÷ best peer | goal | |", "|---|---|" + "---:|" * (len(names) + 1) + "---|---|"]
    for row in result["rows"]:
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else "–"
        lines.append(f"| {row['title']} | {row['unit']} | " + " | ".join(cells(row, names))
                     + f" | {ratio} | {goal_text(row) or '–'} | {verdict(row) or '–'} |")
    return "\n".join(lines)


def run(env, asked_peers, wanted, runs, seconds):
    names, absent = names_to_run(asked_peers)
    prepare(env)
    groups, rows, problems = choose(wanted), [], {}
    print(f"{'':62}" + "".join(f"{TITLES[name]:>17}" for name in names))
    for place_name, place_options in PLACES.items():
        chosen = [group for group in groups if group.place == place_name]
        if not chosen:
            continue
        tunnels, place = {}, Place(env, **place_options)
        env.placed = place.edge.command
        try:
            for number, name in enumerate(names):
                report.progress(f"{place_name}: starting {TITLES[name]}")
                try:
                    tunnels[name] = KINDS[name](place, number)
                except (BenchError, OSError, subprocess.SubprocessError) as error:
                    problems[name, place_name] = str(error)
                    print(f"bench: {place_name}: {error}", file=sys.stderr)
            context = Context(env, place, seconds)
            for group in chosen:
                values = run_group(group, context, tunnels, runs, problems)
                for part in group.parts:
                    rows.append(evaluate(part, values[part.id]))
                    print_row(rows[-1], names)
        finally:
            for tunnel in tunnels.values():
                tunnel.stop()
            place.close()
            env.placed = list
    return {"names": names, "absent": absent, "rows": rows, "runs": runs, "seconds": seconds, "versions": versions(names),
            "problems": {" ".join(key): text for key, text in problems.items()}}


def publish(result, docs):
    page = docs / "performance.md"
    page.write_text(report.replace_between(page.read_text(encoding="utf-8"), "tunnel", markdown(result)), encoding="utf-8")
    print(f"bench: wrote {page.name}")
