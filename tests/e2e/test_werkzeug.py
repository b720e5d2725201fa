"""lintel_forwarded.Fix beside Werkzeug's own ProxyFix (the system's package): the same random requests to both.

An app that changes from one to the other must see the same of every well-formed request. Where they differ, the
difference must be one of docs/library.md: `expected()` derives what each named difference makes of Werkzeug's answer,
header by header, and the two must then be equal to the last octet. LINTEL_TEST_SEED repeats a run.
"""
import collections
import ipaddress
import multiprocessing
import os
import random
import re

from lintel_test import *

sys.path.insert(0, str(pathlib.Path(LINTEL).parent / "python"))

from werkzeug.http import parse_list_header
from werkzeug.middleware.proxy_fix import ProxyFix

CASES = 1_000_000
BATCH = 2_000
SEED = int(os.environ.get("LINTEL_TEST_SEED", "20261121"))
COUNTS = ("x_for", "x_proto", "x_host", "x_port", "x_prefix")
HEADERS = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT",
           "HTTP_X_FORWARDED_PREFIX")
NAMES = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix")
VARIABLES = ("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME")

ADDRESSES = ["203.0.113.9", "6.6.6.6", "10.0.0.7", "2001:db8::1", "::1", "2001:DB8:0:0::7", "::ffff:192.0.2.1",
             "0.0.0.0", "255.255.255.255", "fe80::1"]
GOOD = [ADDRESSES, ["http", "https"],
        ["app.ex", "www.ex:8443", "App.Example", "[2001:db8::1]", "[2001:db8::1]:8443", "192.0.2.1", "192.0.2.1:80",
         "a_b.ex", "app.ex.", "localhost:5000", "xn--bcher-kva.ex:65535"],
        ["443", "8443", "80", "1", "65535"],
        ["/app", "/a/b", "/app/", "/a~b/%20c", "/a;b=1", "/a//b", "/.well-known"]]
ODD = [["203.0.113.9:5123", "[2001:db8::1]", "[2001:db8::1]:4711", "unknown", "Unknown", "_hidden", "_", "bogus!",
        "203.0.113.999", "1.2.3", "01.2.3.4", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:", "2001:db8::1:443:x", "[::1",
        "::1]", "[1.2.3.4]", "[::1]x", "fe80::1%eth0", "1.2.3.4 5", "localhost", "\xa01.2.3.4", "1.2.3.4\xa0", "_a b",
        "1.2.3.4:080", "[::1]:", "[]", "unknown:1", "_h\xe4"],
       ["HTTPS", "Http", "ws", "wss", "WSS", "javascript", "https:", "ftp", "on", "http/1.1", "https\xa0", "s"],
       ["a@www.ex", "www.ex/x", "evil ex", "app.ex:", "app.ex:0", "app.ex:65536", "app.ex:x", "2001:db8::1", "[::1",
        "[1.2.3.4]", "a..b", ".app.ex", "app.ex:443;x", "a" * 64 + ".ex", "%61pp.ex", "\xe4pp.ex", "app.ex..", "::1",
        "[::1]x", "[fe80::1%25x]", "app.ex:08", "app\\ex", "]", ":80"],
       ["0", "65536", "080", "443;x", "+443", "-1", "4 3", "abc", "443\xa0", "999999", "\xb2"],
       ["//evil", "/\\evil", "app", "/", "/a?b", "/a#b", "/a b", "/../x", "/a/..", "/./a", "/a\\b", "http://evil/", "/\xe4",
        "/a<b>", "\xa0/app", "/a/./b", "/..."]]
PEERS = ["127.0.0.1", "127.0.0.1", "127.0.0.1", "10.1.2.3", "", "198.51.100.7", "::1"]
TRUSTED = ("127.0.0.1", "10.1.2.3", "")  # of PEERS, by the prefixes below
OWN_HOSTS = ["app.ex", "app.ex:5000", "[::1]:5000", "", "evil:x", "::1", "a b", "[::1]"]


def pick_one(rng, options):  # rng.choice at a third of its cost
    return options[int(rng.random() * len(options))]


def make_item(rng, which):
    roll = rng.random()
    if roll < 0.62:
        return pick_one(rng, GOOD[which])
    if roll < 0.80:
        return pick_one(rng, ODD[which])
    if roll < 0.86:
        return ""
    if roll < 0.92:
        return '"' + rng.choice(GOOD[which]) + '"'
    if roll < 0.95:
        return rng.choice(['"a, b"', '"' + rng.choice(GOOD[which]), '"\\"x\\""', '""', '"', 'a"b', '"a"b', '\\', '"\\',
                           '""x""', '" 203.0.113.9 "', '"203\\.0.113.9"', '"a\\,b"', '"/ap\\p"', '"ht\\tps"'])
    text = list(rng.choice(GOOD[which] + ODD[which]))
    for _ in range(rng.randint(1, 2)):
        text.insert(rng.randrange(len(text) + 1), rng.choice('",\\ \t:;[]/.x0\xa0\x7f-_'))
    return "".join(text)


def make_header(rng, which):
    roll = rng.random()
    if roll < 0.25:
        return ""
    size = 1 if roll < 0.55 else rng.randint(2, 4) if roll < 0.985 else rng.randint(5, 40)
    if size == 1:
        value = make_item(rng, which)
    else:
        value = pick_one(rng, (",", ", ", ", ", " , ", ",\t")).join([make_item(rng, which) for _ in range(size)])
    if roll > 0.97:
        value += rng.choice((",", " ", ", ", ",,"))
    if roll > 0.9995:
        value += "," + rng.choice(GOOD[which]) + " " * 8200
    return value


def make_cases(rng):
    """A batch: the headers of each kind are drawn from as many fresh ones as a quarter of it."""
    headers = [[make_header(rng, which) for _ in range(BATCH // 4)] for which in range(5)]
    return [make_case(rng, headers) for _ in range(BATCH)]


def make_case(rng, headers):
    variables = [pick_one(rng, PEERS), "40001", pick_one(rng, ("http", "https")), pick_one(rng, OWN_HOSTS), "127.0.0.1",
                 "5000", pick_one(rng, ("", "/mounted"))]
    return variables, [pick_one(rng, values) for values in headers]


class Refusal(Exception):
    pass


def is_address(text):
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def is_port(text):
    return re.fullmatch(r"[1-9][0-9]{0,4}", text) is not None and int(text) <= 65535


def is_host(text):
    """Host grammar by a regular expression, written apart from the engine's own parser."""
    match = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::(.*))?", text, re.S)
    if not match or (match[2] is not None and not is_port(match[2])):
        return False
    name = match[1]
    if name.startswith("["):
        return ":" in name and is_address(name[1:-1])
    name = name[:-1] if name.endswith(".") else name
    return len(name) <= 253 and re.fullmatch(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*", name) is not None


def split_client(text):
    """Address and port of what is no bare address, or None."""
    match = re.fullmatch(r"\[([^\]]*:[^\]]*)\](?::(.*))?|([^:\[\]]*):(.*)", text, re.S)
    if not match:
        return None
    address, port = (match[1], match[2]) if match[3] is None else (match[3], match[4])
    if not is_address(address) or (port is not None and not is_port(port)):
        return None
    return address, port or ""


def raw_items(value):
    """Items split and unescaped as RFC 2068 lists are (and as Werkzeug does), before white space and quotes go; and
    whether a quote stays open."""
    if '"' not in value:
        items = value.split(",")
        return (items if items[-1] else items[:-1]), False
    items, part, quote, escape = [], [], False, False
    for c in value:
        if escape:
            part.append(c)
            escape = False
        elif quote and c == "\\":
            escape = True
        elif c == "," and not quote:
            items.append("".join(part))
            part = []
        else:
            quote ^= c == '"'
            part.append(c)
    if part:
        items.append("".join(part))
    return items, quote


def pick(value, n, seen):
    """The item that counts, or "". Raises for what concerns a header as a whole, which comes before its items."""
    if len(value) + 2 > 8192:
        refuse(seen, "too-long", "forwarded-too-long")
    items, quote_open = raw_items(value)
    if len(items) - quote_open > 32:
        refuse(seen, "too-long", "forwarded-too-long")
    if quote_open:
        refuse(seen, "quote-open")
    if len(items) < n:
        return ""
    raw = items[-n].strip(" \t")
    if '"' not in raw and raw == raw.strip():
        return raw
    ours = raw[1:-1] if len(raw) >= 2 and raw[0] == raw[-1] == '"' else raw
    if ours != parse_list_header(value)[-n]:
        seen("quote-twice" if '"' in raw else "white-space")
    return ours


def refuse(seen, name, code="forwarded-garbage"):
    seen(name)
    raise Refusal(code)


def expect_client(item, now, seen):
    if is_address(item):
        seen("remote-port")
        return {"REMOTE_ADDR": item, "REMOTE_PORT": ""}
    if re.fullmatch(r"(?i:unknown)|_[A-Za-z0-9._-]+", item):
        seen("client-hidden")
        return {"REMOTE_ADDR": now["peer"]}
    split = split_client(item)
    if split is None:
        refuse(seen, "client-invalid")
    seen("client-port" if split[1] else "client-brackets")
    return {"REMOTE_ADDR": split[0], "REMOTE_PORT": split[1]}


def expect_proto(item, now, seen):
    if item in ("http", "https"):
        return {}
    if item.lower() in ("http", "https"):
        seen("scheme-case")
    elif item.lower() in ("ws", "wss"):
        seen("scheme-websocket")
    else:
        refuse(seen, "scheme-invalid")
    return {"wsgi.url_scheme": {"ws": "http", "wss": "https"}.get(item.lower(), item.lower())}


def expect_host(item, now, seen):
    if not is_host(item):
        refuse(seen, "host-invalid", "host-invalid")
    return {}


def expect_port(item, now, seen):
    if not is_port(item):
        refuse(seen, "port-invalid")
    if now["host"] and not is_host(now["host"]):
        seen("own-host-invalid")
        raise Refusal("host-invalid", "Host")
    return {}


def expect_prefix(item, now, seen):
    if item == "/":
        seen("prefix-root")
        return {"SCRIPT_NAME": now["script"]}
    if not re.fullmatch(r"/[A-Za-z0-9._~%!$&'()*+,;=:@-][A-Za-z0-9._~%!$&'()*+,;=:@/-]*", item):
        refuse(seen, "prefix-invalid")
    if {".", ".."} & set(item.split("/")):
        refuse(seen, "prefix-invalid")
    return {}


EXPECT = (expect_client, expect_proto, expect_host, expect_port, expect_prefix)


def expected(variables, headers, counts, trusted, werkzeug, seen):
    """(variables, error, field) that docs/library.md promises, from what Werkzeug says."""
    given = dict(zip(VARIABLES, variables))
    if not trusted:
        seen("peer")
        return given, "", ""
    want = dict(werkzeug)
    now = {"peer": variables[0], "host": variables[3], "script": variables[6]}
    for which, (value, n) in enumerate(zip(headers, counts)):
        if n == 0 or not value:
            continue
        try:
            item = pick(value, n, seen)
            if not item:
                continue
            want.update(EXPECT[which](item, now, seen))
            if which == 2:
                now["host"] = item
        except Refusal as refusal:
            field = refusal.args[1] if len(refusal.args) > 1 else NAMES[which]
            return given, refusal.args[0], field
    return want, "", ""


def run_werkzeug(variables, headers, counts):
    environ = dict(zip(VARIABLES, variables))
    environ.update((name, value) for name, value in zip(HEADERS, headers) if value)
    ProxyFix(lambda environ, start_response: None, *counts)(environ, None)
    return {name: environ[name] for name in VARIABLES}


def run_batches(job):
    """One process's share: (differences by name, equal cases, the first failures)."""
    import lintel_forwarded
    seed, batches = job
    rng = random.Random(seed)
    seen_names, equal, failures = collections.Counter(), 0, []
    for _ in range(batches):
        counts = [rng.choice((0, 1, 1, 1, 2, 3)) for _ in range(5)]
        fix = lintel_forwarded.Fix(["127.0.0.1", "10.0.0.0/8", "unix"], *counts)
        cases = make_cases(rng)
        cells = [cell.encode("latin-1") for variables, headers in cases for cell in (*variables, *headers)]
        answers = fix.apply_rows(cells)
        for index, (variables, headers) in enumerate(cases):
            answer = answers[9 * index:9 * index + 9]
            names = set()
            werkzeug = run_werkzeug(variables, headers, counts)
            trusted = variables[0] in TRUSTED
            want, error, field = expected(variables, headers, counts, trusted, werkzeug, names.add)
            if answer != [*(want[name] for name in VARIABLES), error, field]:
                failures.append((counts, variables, headers, answer, want, error, field))
                if len(failures) == 5:
                    return seen_names, equal, failures
            seen_names.update(names)
            equal += not error and all(werkzeug[name] == want[name] for name in VARIABLES if name != "REMOTE_PORT")
    return seen_names, equal, failures


# Every difference that docs/library.md names.
DIFFERENCES = {"peer", "too-long", "quote-open", "quote-twice", "white-space", "remote-port", "client-hidden", "client-port",
               "client-brackets", "client-invalid", "scheme-case", "scheme-websocket", "scheme-invalid", "host-invalid",
               "own-host-invalid", "port-invalid", "prefix-invalid", "prefix-root"}


class Werkzeug(unittest.TestCase):
    def test_a_million_random_requests(self):
        shares = 50
        print(f"seed {SEED}", file=sys.stderr)
        started = time.monotonic()
        seen, equal = collections.Counter(), 0
        with multiprocessing.get_context("fork").Pool(2) as pool:
            jobs = [(SEED * 1000 + share, CASES // shares // BATCH) for share in range(shares)]
            for names, same, failures in pool.imap_unordered(run_batches, jobs):
                self.assertEqual(failures, [], f"seed {SEED}: counts, variables, headers, answer, wanted")
                seen.update(names)
                equal += same
        print(f"{CASES} requests in {time.monotonic() - started:.0f} s, {equal} equal but for REMOTE_PORT; differences: "
              f"{dict(seen)}", file=sys.stderr)
        self.assertEqual(set(seen), DIFFERENCES, "a difference that never occurred is not tested")
        self.assertGreater(equal, CASES // 10)

    def test_every_difference_is_documented(self):
        text = (ROOT / "docs/library.md").read_text().split("\n## Differences from")[1]
        documented = set(re.findall(r"^\| `([a-z-]+)` \|", text, re.M))
        self.assertEqual(documented, DIFFERENCES | {"headers-removed"})


if __name__ == "__main__":
    unittest.main()
