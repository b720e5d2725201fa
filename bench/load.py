"""The load: what a browser sends, and wrk, h2load and bench_loadgen run on the load's core."""

import json
import os
import re
import subprocess

from proxies import LOAD_CORE, BenchError, on_core

# Twelve fields with Host, as Chrome sends them on a navigation.
FIELDS = (
    ("sec-ch-ua", '"Chromium";v="128", "Not;A=Brand";v="24", "Google Chrome";v="128"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
    ("cookie", "session=eyJ1c2VyX2lkIjo0MiwiY3NyZiI6IjFmZTQifQ.ZtX1aA.hV0m7dT3; theme=dark; consent=all"),
)


def h1_request(path="/", fields=FIELDS, host="localhost"):
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}"] + [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


WEBSOCKET_FIELDS = (("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Origin", "https://localhost")) + FIELDS[3:4]


def frame(kind, flags, stream, payload=b""):
    """An HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def hpack_string(text):
    data = text.encode()
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, size = len(data) - 127, b"\x7f"
    while rest >= 128:
        size += bytes((rest % 128 + 128,))
        rest //= 128
    return size + bytes((rest,)) + data


def hpack(fields):
    """Literals without indexing: no state, no compression."""
    return b"".join(b"\x00" + hpack_string(name) + hpack_string(value) for name, value in fields)


def h2_head(method="GET", path="/", fields=FIELDS):
    pseudo = ((":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path))
    return hpack(pseudo + tuple(fields))


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def h2_request(path="/"):
    """A whole connection's first octets: preface, SETTINGS, one GET, and the SETTINGS acknowledgement."""
    return PREFACE + frame(4, 0, 0) + frame(1, 0x05, 1, h2_head(path=path)) + frame(4, 1, 0)


def environment(env):
    return dict(os.environ, OPENSSL_CONF=str(env.openssl_conf))


def run_tool(command, env, timeout):
    done = subprocess.run(env.placed([str(part) for part in command]), capture_output=True, text=True, env=environment(env),
                          timeout=timeout, preexec_fn=on_core(LOAD_CORE))
    return done.stdout + done.stderr


def wrk(env, url, connections, seconds, fields=FIELDS, host="localhost"):
    """(answers, answers per second); any error or an answer other than 2xx fails the run."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-H", f"Host: {host}"]
    for name, value in fields:
        command += ["-H", f"{name}: {value}"]
    output = run_tool(command + [url], env, seconds + 30)
    total = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if not total or not rate or "Non-2xx" in output or "Socket errors" in output:
        raise BenchError(f"wrk {url}: {output.strip()[-500:]}")
    return int(total.group(1)), float(rate.group(1))


def h2load(env, url, requests, connections, streams, fields=FIELDS):
    command = ["h2load", "-t1", f"-n{requests}", f"-c{connections}", f"-m{streams}",
               "--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519"]
    for name, value in fields:
        command += ["-H", f"{name}: {value}"]
    output = run_tool(command + [url], env, 120)
    count = re.search(r"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded", output)
    rate = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", output)
    if not count or count.group(1) != count.group(2) or not rate:
        raise BenchError(f"h2load {url}: {output.strip()[-500:]}")
    if "Application protocol: h2" not in output:
        raise BenchError(f"h2load {url}: HTTP/2 was not negotiated")
    return int(count.group(1)), float(rate.group(1))


def loadgen(env, mode, **options):
    """Runs a mode of bench_loadgen to its end and returns its JSON."""
    output = run_tool(loadgen_command(env, mode, options), env, 180)
    try:
        return json.loads(output.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise BenchError(f"bench_loadgen {mode}: {output.strip()[-500:] or 'no output'}") from None


def loadgen_command(env, mode, options):
    command = [env.tools / "bench_loadgen", mode]
    for name, value in options.items():
        if value is False or value is None:
            continue
        command.append(f"--{name}")
        if value is not True:
            command.append(str(value))
    return [str(part) for part in command]


class Held:
    """bench_loadgen in a mode that waits on stdin: a line for each stage."""

    def __init__(self, env, mode, **options):
        self.process = subprocess.Popen(env.placed(loadgen_command(env, mode, options)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=environment(env), preexec_fn=on_core(LOAD_CORE))
        self.first = self._line()

    def _line(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line.strip() else {"failed": 1, "why": "the load generator ended"}

    def go_on(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self._line()

    def finish(self):
        """Ends stdin and returns the last line."""
        self.process.stdin.close()
        self.process.stdin = None
        line = self._line()
        self.process.wait(30)
        return line

    def stop(self):
        from proxies import stop_process
        stop_process(self.process)
