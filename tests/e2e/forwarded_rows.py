"""The example rows of the trust algorithm: what a request comes to under which rule. One table for `resolve`, for a live
listener, and (through the same rules) for the unit tests' reader.

A row: number, listener (S = TLS on 443, P = plain on 80), rule, peer, header lines, and what is expected: a dictionary
with any of scheme, host, client, port, hidden, or an HTTP status with the error's code.
"""
C, E = "203.0.113.9", "6.6.6.6"
HOP = "10.0.0.2"
STRANGER = "198.51.100.7"
CLOUDFLARE = "173.245.48.5"

TEN = ["10.0.0.0/8"]
RULES = {
    "N": [],
    "T": [{"peers": TEN, "source": "x-forwarded", "accept": ["for", "proto"]}],
    "TH": [{"peers": TEN, "source": "x-forwarded", "accept": ["for", "proto", "host", "port"]}],
    "TP": [{"peers": TEN, "source": "x-forwarded", "accept": ["for", "proto", "prefix"]}],
    "F": [{"peers": TEN, "source": "forwarded", "accept": ["for", "proto", "host"]}],
    "hops1": [{"peers": TEN, "source": "x-forwarded", "hops": 1}],
    "hops2": [{"peers": TEN, "source": "x-forwarded", "hops": 2}],
    "cloudflare": [{"preset": "cloudflare"}],
    "fly": [{"preset": "fly", "peers": ["172.16.0.0/12"]}],
    "unix": [{"peers": ["unix"], "source": "x-forwarded"}],
    "single": [{"peers": TEN, "client_header": "X-Real-IP", "scheme_header": "Front-End-Https"}],
    "fixed": [{"peers": TEN, "client_header": "X-My-Client", "scheme": "https"}],
}
HOST = ("Host", "app.ex")


def xf(name, value):
    return (f"X-Forwarded-{name}", value)


def row(number, listener, rule, peer, lines, expected, code=None, host=HOST):
    return {"number": number, "listener": listener, "rule": rule, "peer": peer,
            "lines": ([host] if host else []) + list(lines), "expected": expected, "code": code}


def https(client, port=443, host="app.ex", **more):
    return {"scheme": "https", "host": host, "client": client, "port": port, **more}


def http(client, port=80, host="app.ex", **more):
    return {"scheme": "http", "host": host, "client": client, "port": port, **more}


LEGACY = [("Front-End-Https", "on"), xf("Ssl", "on"), ("X-Url-Scheme", "https"), ("X-Scheme", "https"),
          xf("Scheme", "https"), xf("Protocol", "ssl")]
ROWS = [
    # Nobody is trusted: whatever is sent, the connection decides.
    row("1", "S", "N", C, [], https(C)),
    row("2", "P", "N", C, [xf("Proto", "https")], http(C)),
    row("3", "S", "N", C, [xf("For", E)], https(C)),
    row("4", "S", "N", C, [xf("Host", "evil")], https(C)),
    row("5", "S", "N", C, [xf("Port", "8080")], https(C)),
    row("6", "S", "N", C, [("Forwarded", f"for={E};proto=http;host=evil")], https(C)),
    row("7", "P", "N", C, LEGACY, http(C)),
    row("8", "S", "N", C, [("X_Forwarded_For", E)], https(C)),
    row("10", "S", "N", C, [("Connection", "close,x-forwarded-for,X-Forwarded-Proto")], https(C)),
    row("12", "S", "N", C, [("CF-Connecting-IP", E), ("True-Client-IP", E), ("Fly-Client-IP", E), ("X-Real-IP", E)],
        https(C)),
    row("13", "S", "N", C, [("X-Original-URL", "/admin"), ("X-Rewrite-URL", "/admin")], https(C)),
    row("14", "S", "N", C, [xf("Prefix", "//evil")], https(C)),
    row("15", "S", "N", C, [("Client-Cert", ":abc:"), xf("Client-Cert", "Hash=1")], https(C)),
    row("16", "S", "N", C, [("Host", "www.ex")], 400, "host-duplicate"),
    row("16b", "S", "N", C, [], 400, "host-missing", host=None),
    row("16c", "S", "N", C, [], 421, "host-port", host=("Host", "app.ex:8080")),
    row("16d", "S", "N", C, [], 421, "host-not-served", host=("Host", "evil.example")),
    row("16e", "S", "N", C, [], 400, "host-invalid", host=("Host", "a@app.ex")),
    # A trusted proxy and X-Forwarded-*.
    row("17", "P", "T", HOP, [xf("For", C), xf("Proto", "https")], https(C)),
    row("18", "P", "T", HOP, [xf("For", f"{E}, {C}")], http(C)),
    row("19", "P", "T", HOP, [xf("For", E), xf("For", C)], http(C)),
    row("20", "P", "T", HOP, [xf("For", f"{E}, {C}, 10.0.0.7")], http(C)),
    row("21", "P", "T", STRANGER, [xf("For", C), xf("Proto", "https")], http(STRANGER)),
    row("22", "P", "T", HOP, [xf("For", "10.9.9.9, 10.0.0.7")], http("10.9.9.9")),
    row("23", "P", "T", HOP, [xf("For", f"{C}:5123")], http(C, client_port=5123)),
    row("24", "P", "T", HOP, [xf("For", "[2001:db8::1]:4711")], http("2001:db8::1")),
    row("25", "P", "T", HOP, [xf("For", "2001:db8::1")], http("2001:db8::1")),
    row("26", "P", "T", HOP, [xf("For", f"::ffff:{C}")], http(C)),
    row("27", "P", "T", HOP, [xf("For", f"{E}, ::ffff:{C}, ::ffff:10.0.0.7")], http(C)),
    row("28", "P", "T", HOP, [xf("For", f"{C}, unknown")], http(HOP, client_hidden=True)),
    row("28b", "P", "T", HOP, [xf("For", f"{C}, _secret, 10.0.0.7")], http("10.0.0.7", client_hidden=True)),
    row("29", "P", "T", HOP, [xf("For", f"{E}, bogus!")], 400, "forwarded-garbage"),
    row("30", "P", "T", HOP, [xf("For", f"bogus!, {C}")], http(C)),
    row("31", "P", "T", HOP, [xf("For", f"{C}, 010.0.0.7")], 400, "forwarded-garbage"),
    row("32", "P", "T", HOP, [xf("For", "")], http(HOP)),
    row("32b", "P", "T", HOP, [xf("For", f" , ,{C},, ")], http(C)),
    row("33", "P", "T", HOP, [xf("For", ", ".join([C] * 40))], 400, "forwarded-too-long"),
    row("33b", "P", "T", HOP, [xf("For", C)] * 33, 400, "forwarded-too-long"),
    row("33c", "P", "T", HOP, [xf("For", E + "," + " " * 8200 + C)], 400, "forwarded-too-long"),
    row("34", "P", "T", HOP, [xf("For", f"{C}, 10.0.0.7"), xf("Proto", "https,http")], https(C)),
    row("35", "P", "T", HOP, [xf("For", f"{C}, 10.0.0.7"), xf("Proto", "https"), xf("Proto", "http")], https(C)),
    row("36", "P", "T", HOP, [xf("For", C), xf("Proto", "http, https")], 400, "forwarded-contradiction"),
    row("37", "P", "T", HOP, [xf("Proto", "http, https")], 400, "forwarded-contradiction"),
    row("38", "P", "T", HOP, [xf("Proto", "HTTPS")], https(HOP)),
    row("39", "P", "T", HOP, [("Connection", "Upgrade"), ("Upgrade", "websocket"), xf("Proto", "wss")], https(HOP)),
    row("40", "P", "T", HOP, [xf("Proto", "javascript")], 400, "forwarded-garbage"),
    row("41", "S", "T", HOP, [xf("Proto", "http")], http(HOP)),
    row("42", "P", "T", HOP, [], http(HOP)),
    row("43", "P", "T", HOP, [xf("Host", "www.ex")], http(HOP)),
    # The host and the port, when the rule accepts them.
    row("44", "P", "TH", HOP, [xf("Host", "www.ex"), xf("Proto", "https")], https(HOP, host="www.ex")),
    row("45", "P", "TH", HOP, [xf("Host", "evil")], 421, "host-not-served"),
    row("46", "P", "TH", HOP, [xf("Host", "www.ex:9000")], 421, "host-port"),
    row("47", "P", "TH", HOP, [xf("Proto", "https"), xf("Host", "www.ex:9000"), xf("Port", "8443")],
        https(HOP, port=8443, host="www.ex")),
    row("48", "P", "TH", HOP, [xf("Host", "www.ex, app.ex")], 400, "forwarded-contradiction"),
    row("49", "P", "TH", HOP, [xf("Host", "a@www.ex")], 400, "host-invalid"),
    row("49b", "P", "TH", HOP, [xf("Host", "www.ex/x")], 400, "host-invalid"),
    row("50", "P", "TH", HOP, [xf("Port", "443;x")], 400, "forwarded-garbage"),
    row("50b", "P", "TH", HOP, [xf("Port", "0")], 400, "forwarded-garbage"),
    row("50c", "P", "TP", HOP, [xf("Prefix", "//evil")], 400, "forwarded-garbage"),
    row("50d", "P", "TP", HOP, [xf("Prefix", "/app")], http(HOP, prefix="/app")),
    # RFC 7239.
    row("51", "P", "F", HOP, [("Forwarded", f"for={C};proto=https;host=www.ex")], https(C, host="www.ex")),
    row("52", "P", "F", HOP, [("Forwarded", f"for={E};proto=http, for={C};proto=https, for=10.0.0.7;proto=http")],
        https(C)),
    row("53", "P", "F", HOP, [("Forwarded", 'For="[2001:db8:cafe::17]:4711";Proto=https')], https("2001:db8:cafe::17")),
    row("54", "P", "F", HOP, [("Forwarded", f'for={E};host="a,b;c=d";by="x\\"y", for={C}')], http(C)),
    row("55", "P", "F", HOP, [("Forwarded", f'for="{C};host=evil";proto=https')], 400, "forwarded-garbage"),
    row("55b", "P", "F", HOP, [("Forwarded", f'for="{C}')], 400, "forwarded-garbage"),
    row("55c", "P", "F", HOP, [("Forwarded", f"for={C};for={E}")], 400, "forwarded-garbage"),
    row("55d", "P", "F", HOP, [("Forwarded", "for=2001:db8::1")], 400, "forwarded-garbage"),
    row("56", "P", "F", HOP, [("Forwarded", f"for={C}, for=unknown")], http(HOP, client_hidden=True)),
    row("57", "P", "F", HOP, [("Forwarded", f"for={C};proto=https"), xf("For", E)], https(C)),
    row("58", "P", "T", HOP, [xf("For", C), ("Forwarded", f"for={E}")], http(C)),
    # Counting hops: the peer's address still has to be trusted.
    row("59", "P", "hops2", HOP, [xf("For", f"{E}, {C}, 198.51.100.20")], http(C)),
    row("60", "P", "hops2", HOP, [xf("For", E), xf("Proto", "https")], http(HOP)),
    row("61", "P", "hops1", STRANGER, [xf("For", E)], http(STRANGER)),
    # Platforms.
    row("62", "P", "cloudflare", CLOUDFLARE, [("CF-Connecting-IP", C), xf("For", f"{E},{C}"), xf("Proto", "https")],
        https(C)),
    row("63", "P", "cloudflare", STRANGER, [("CF-Connecting-IP", E)], http(STRANGER)),
    row("64", "P", "cloudflare", CLOUDFLARE, [("CF-Connecting-IP", C), ("CF-Connecting-IP", E)], 400,
        "forwarded-contradiction"),
    row("65", "P", "fly", "172.16.3.4", [("Fly-Client-IP", C), xf("For", f"{C}, 77.83.142.42"), xf("Proto", "https")],
        https(C)),
    row("66", "P", "single", HOP, [("X-Real-IP", C), ("Front-End-Https", "on"), xf("For", E), xf("Proto", "http")],
        https(C)),
    row("66b", "P", "single", HOP, [("X-Real-IP", f"{E}, {C}")], 400, "forwarded-garbage"),
    row("66c", "P", "fixed", HOP, [("X-My-Client", C), xf("Proto", "http")], https(C)),
    row("66d", "P", "fixed", STRANGER, [("X-My-Client", C)], http(STRANGER)),
    row("67", "P", "unix", "unix", [xf("For", C), xf("Proto", "https")], https(C)),
    row("67b", "P", "unix", STRANGER, [xf("For", C), xf("Proto", "https")], http(STRANGER)),
]
SERVED = ["app.ex", "www.ex"]
