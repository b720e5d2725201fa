"""server.metrics: what Prometheus reads, and who may read it."""
import re

from lintel_test import *

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


def parse(text):
    """{(sample, labels): value}, by the rules of the text format 0.0.4."""
    assert text.endswith("\n")
    types, samples, family = {}, {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            _, kind, name, rest = line.split(" ", 3)
            assert kind in ("HELP", "TYPE"), line
            if kind == "TYPE":
                assert rest in ("counter", "gauge", "histogram") and name not in types, line
                types[name], family = rest, name
            continue
        match = SAMPLE.match(line)
        assert match, line
        name, labels = match[1], match[3] or ""
        pairs = LABEL.findall(labels)
        assert "".join(f'{key}="{value}",' for key, value in pairs).rstrip(",") == labels.rstrip(","), line
        suffixes = ("_bucket", "_sum", "_count") if types[family] == "histogram" else ("",)
        assert name in [family + suffix for suffix in suffixes], (family, line)
        assert types[family] != "counter" or name.endswith("_total"), line
        key = (name, tuple(sorted(pairs)))
        assert key not in samples, line
        samples[key] = float(match[4])
    check_histograms(samples)
    return samples


def check_histograms(samples):
    for (name, labels), value in samples.items():
        if not name.endswith("_count"):
            continue
        own = [(float(dict(other)["le"]), count) for (bucket, other), count in samples.items()
               if bucket == name[:-6] + "_bucket" and set(labels) <= set(other) and len(other) == len(labels) + 1]
        counts = [count for _, count in sorted(own)]
        assert counts == sorted(counts) and counts[-1] == value and max(own)[0] == float("inf"), (name, labels)


class Metrics(LintelTestCase):
    @classmethod
    def configure(cls):
        cls.port = free_port()
        return [cls.site(hosts=["app.test", "www.test"])], {"metrics": f"127.0.0.1:{cls.port}"}

    def ask(self, path="/metrics", host="127.0.0.1:9180", method="GET"):
        with RawClient(self.port) as client:
            return client.request(get(path, host=host, method=method))

    def scrape(self):
        response = self.ask()
        self.assertEqual((response.status, response.get("content-type")),
                         (200, "text/plain; version=0.0.4; charset=utf-8"))
        return parse(response.body.decode())

    def value(self, name, **labels):
        return self.scrape().get((name, tuple(sorted(labels.items()))), 0)

    def test_requests_are_counted(self):
        before = self.scrape()
        self.origin.respond = lambda request: answer(200, b"x" * 1000)
        with self.h2() as h2:
            for _ in range(3):
                self.assertEqual(h2.request("/").status, 200)
            after = self.scrape()
            self.assertEqual(after["lintel_connections_open", (("protocol", "h2"),)], 1)
        self.assertEqual(self.fetch("/", method="POST", body=b"body").status, 200)

        def grown(name, **labels):
            key = (name, tuple(sorted(labels.items())))
            return self.scrape().get(key, 0) - before.get(key, 0)
        # A request is counted when it has ended, a moment after its client has the answer.
        wait_until(lambda: grown("lintel_requests_total", site="app.test", method="POST", status="2xx") == 1, "the POST")
        wait_until(lambda: grown("lintel_requests_total", site="app.test", method="GET", status="2xx") == 3, "the GETs")
        self.assertEqual(grown("lintel_request_duration_seconds_count", site="app.test"), 4)
        self.assertEqual(grown("lintel_time_to_first_byte_seconds_count"), 4)
        self.assertEqual(grown("lintel_response_body_bytes_total", site="app.test"), 4000)
        self.assertEqual(grown("lintel_request_body_bytes_total", site="app.test"), 4)
        self.assertGreaterEqual(grown("lintel_tls_handshakes_total", version="1.3", resumed="false"), 2)
        wait_until(lambda: self.value("lintel_connections_open", protocol="h2") == 0, "the connection to be counted out")

    def test_an_upstream_is_a_series(self):
        self.assertEqual(self.fetch("/").status, 200)
        labels = {"site": "app.test", "route": "", "upstream": self.origin.url}
        self.assertEqual(self.value("lintel_upstream_up", **labels), 1)
        self.assertIn(("lintel_upstream_requests_active", tuple(sorted(labels.items()))), self.scrape())

    def test_clients_cannot_make_series(self):
        """Each new series costs Prometheus memory for ever."""
        def attack(i):
            for host, method, path in ((f"evil{i}.test", "GET", "/"), ("app.test", f"M{i}", f"/{i}"),
                                       ("app.test", "GET", f"/{i}?a={i}"), (f"app.test:{2000 + i}", "GET", "/"),
                                       (f'a"b{i}', "GET", "/")):
                with self.client() as client:
                    client.request(get(path, host=host, method=method, headers=[(f"X-{i}", f"{i}")]))
        attack(0)
        known = set(self.scrape())
        for i in range(1, 25):
            attack(i)
        self.assertEqual(set(self.scrape()) - known, set())
        self.assertNotIn("evil", str(self.scrape()))

    def test_errors_and_failed_handshakes(self):
        failed = self.value("lintel_tls_handshakes_failed_total")
        with self.assertRaises((ssl.SSLError, OSError)):
            self.fetch(sni="other.example")
        self.assertEqual(self.value("lintel_tls_handshakes_failed_total"), failed + 1)
        refused = self.value("lintel_errors_total", code="host-not-served")
        with self.client() as client:
            self.assertEqual(client.request(get("/", host="nobody.example")).status, 421)
        self.assertEqual(self.value("lintel_errors_total", code="host-not-served"), refused + 1)

    def test_only_addresses_may_ask(self):
        """A page in a browser whose name was made to point to 127.0.0.1 sends that name."""
        for host in ("127.0.0.1", "localhost:9180", "[::1]:9180", "10.1.2.3"):
            self.assertEqual(self.ask(host=host).status, 200, host)
        for host in ("rebound.example", "rebound.example:9180", "127.0.0.1.rebound.example", "app.test",
                     "[::1].rebound.example"):
            response = self.ask(host=host)
            self.assertEqual(response.status, 421, host)
            self.assertNotIn(b"lintel_", response.body)

    def test_nothing_else_is_there(self):
        self.assertEqual(self.ask("/").status, 404)
        self.assertEqual(self.ask("/metrics/../status").status, 404)
        self.assertEqual(self.ask(method="POST").status, 405)
        self.assertEqual(self.ask(method="DELETE").status, 405)

    def test_the_process_and_reloads(self):
        samples = self.scrape()
        self.assertGreater(samples["process_resident_memory_bytes", ()], 1e6)
        self.assertGreater(samples["process_open_fds", ()], 5)
        self.assertLess(abs(samples["process_start_time_seconds", ()] - time.time()), 3600)
        reloads = self.value("lintel_reloads_total", result="done")
        self.lintel.send_signal(signal.SIGHUP)
        wait_until(lambda: self.value("lintel_reloads_total", result="done") == reloads + 1, "the reload")


class UnixSocket(LintelTestCase):
    @classmethod
    def configure(cls):
        return [cls.site()], {"metrics": f"unix:{cls.folder}/metrics.sock"}

    def test_over_a_unix_socket(self):
        with RawClient(unix_path=str(self.folder / "metrics.sock")) as client:
            response = client.request(get("/metrics", host="metrics"))
        self.assertEqual(response.status, 200)
        parse(response.body.decode())


if __name__ == "__main__":
    unittest.main()
