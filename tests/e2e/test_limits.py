"""Rates, connection caps and sizes of requests, with real connections over both workers."""
from lintel_test import *


def statuses(answers):
    counts = {}
    for answer_ in answers:
        counts[answer_.status] = counts.get(answer_.status, 0) + 1
    return counts


class Limits(LintelTestCase):
    @classmethod
    def configure(cls):
        def site(name, **keys):
            return cls.site(hosts=[name], **keys)
        slow = {"rate": "5/h", "burst": 5}
        cls.clients_of_proxy = [{"peers": ["127.0.0.1/32"], "source": "x-forwarded"}]
        return [site("app.test"),
                site("rate.app.test", limits=slow),
                site("h2.app.test", limits=slow),
                site("forged.app.test", limits=slow),
                site("route.app.test", route=[{"path": "/api/*", "limits": {"rate": "3/h"}}]),
                site("deny.app.test", limits={"rate": "2/h"},
                     route=[{"path": "/inside/*", "deny": ["127.0.0.1"]}]),
                site("cap.app.test", limits={"connections_per_client": 2}),
                site("ws.app.test", limits={"connections_per_client": 1}),
                site("size.app.test", limits={"body": "1KiB"},
                     route=[{"path": "/upload/*", "limits": {"body": "10KiB"}},
                            {"path": "/free/*", "limits": {"body": "off"}},
                            {"path": "/small/*", "limits": {"body": "10B", "header": "1KiB"}}])], {}

    def ask(self, host, path="/", count=1, headers=(), **options):
        """Each on a fresh connection, so that both workers take their share."""
        answers = []
        for _ in range(count):
            with self.client(sni=host) as client:
                answers.append(client.request(get(path, host=host, headers=headers, **options)))
        return answers

    # N workers with counters of their own would let N times the bucket through.
    def test_a_bucket_is_one_for_all_workers(self):
        answers = self.ask("rate.app.test", count=40)
        self.assertEqual(statuses(answers), {200: 10, 429: 30})
        refused = answers[-1]
        self.assertEqual(refused.error, "rate-limited")
        self.assertTrue(600 <= int(refused.get("Retry-After")) <= 720, refused.headers)
        self.assertEqual(len(self.origin.requests), 10, "a refused request reached the app")
        self.assertIn("rate-limited: 127.0.0.1 at rate.app.test", self.lintel.stderr())

    def test_streams_of_http2_are_requests_like_others(self):
        with self.h2(sni="h2.app.test") as h2:
            answers = [h2.request("/") for _ in range(12)]
        self.assertEqual(statuses(answers), {200: 10, 429: 2})
        self.assertEqual(answers[-1].error, "rate-limited")
        self.assertTrue(answers[-1].get("retry-after"))

    # Who is not trusted to speak for others gets no fresh bucket for an address that it makes up.
    def test_a_forged_address_is_the_same_client(self):
        answers = []
        for number in range(20):
            answers += self.ask("forged.app.test", headers=[
                ("X-Forwarded-For", f"198.51.100.{number}"), ("X-Real-IP", f"198.51.100.{number}"),
                ("Forwarded", f"for=198.51.100.{number}"), ("CF-Connecting-IP", f"198.51.100.{number}")])
        self.assertEqual(statuses(answers), {200: 10, 429: 10})

    def test_a_route_has_its_own_rate(self):
        self.assertEqual(statuses(self.ask("route.app.test", "/api/x", 6)), {200: 3, 429: 3})
        self.assertEqual(statuses(self.ask("route.app.test", "/other", 6)), {200: 6})
        for spelling in ("//%61pi/x", "/API/x", "/api;x/x", "/x/..;/api/x"):
            self.assertEqual(statuses(self.ask("route.app.test", spelling, 2)), {429: 2}, spelling)

    # Somebody who may not come in at all must not be told so by a limit, nor spend anything.
    def test_deny_comes_before_the_rate(self):
        self.assertEqual(statuses(self.ask("deny.app.test", "/inside/x", 5)), {403: 5})
        self.assertEqual(statuses(self.ask("deny.app.test", "/", 3)), {200: 2, 429: 1})

    def test_connections_of_a_client_are_counted_over_all_workers(self):
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(self.client(sni="cap.app.test")) for _ in range(8)]
            answers = [client.request(get("/", host="cap.app.test")) for client in held]
            self.assertEqual(statuses(answers), {200: 2, 503: 6})
            refused = next(one for one in answers if one.status == 503)
            self.assertEqual(refused.error, "too-many-connections")
            self.assertEqual(refused.get("Connection"), "close")
            # Those that are in may go on, and other sites do not count.
            inside = [client for client, one in zip(held, answers) if one.status == 200]
            self.assertEqual([client.request(get("/", host="cap.app.test")).status for client in inside], [200, 200])
            self.assertEqual(self.fetch("/").status, 200)
            inside[0].close()
            wait_until(lambda: self.ask("cap.app.test")[0].status == 200, "a place to become free")

    def test_a_connection_of_http2_counts_once(self):
        with self.h2(sni="ws.app.test") as h2:
            self.assertEqual([h2.request("/").status for _ in range(4)], [200] * 4)
            self.assertEqual(self.ask("ws.app.test")[0].status, 503)
        wait_until(lambda: self.ask("ws.app.test")[0].status == 200, "the place to become free")

    def test_the_body_limit_of_a_route_replaces_the_sites(self):
        def post(path, size):
            return self.ask("size.app.test", path, method="POST", body=b"x" * size)[0]
        self.assertEqual(post("/", 1024).status, 200)
        self.assertEqual(post("/", 1025).error, "body-too-large")
        self.assertEqual(post("/upload/x", 10 * 1024).status, 200)
        self.assertEqual(post("/upload/x", 10 * 1024 + 1).status, 413)
        self.assertEqual(post("/free/x", 100_000).status, 200)
        self.origin.reset()
        self.assertEqual(post("/small/x", 11).status, 413)
        self.assertEqual(self.origin.requests, [], "the app was asked before the size was looked at")

    def test_a_body_in_chunks_is_cut_off_at_the_limit(self):
        with self.client(sni="size.app.test") as client:
            client.send(b"POST /small/x HTTP/1.1\r\nHost: size.app.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                        + chunked(b"x" * 6, b"x" * 6))
            self.assertEqual(client.read_response().status, 413)

    def test_the_header_limit_of_a_route(self):
        small = self.ask("size.app.test", "/small/x", headers=[("X-A", "y" * 700)])[0]
        large = self.ask("size.app.test", "/small/x", headers=[("X-A", "y" * 1100)])[0]
        self.assertEqual((small.status, large.status, large.error), (200, 431, "header-too-large"))
        self.assertEqual(self.ask("size.app.test", "/", headers=[("X-A", "y" * 1100)])[0].status, 200)
        with self.h2(sni="size.app.test") as h2:
            self.assertEqual(h2.request("/small/x", headers=[("x-a", "y" * 1100)]).status, 431)


class BehindAProxy(LintelTestCase):
    @classmethod
    def setUpClass(cls):
        cls.process_options = {"trust": [{"peers": ["127.0.0.1/32"], "source": "x-forwarded"}]}
        super().setUpClass()

    @classmethod
    def configure(cls):
        return [cls.site(limits={"rate": "3/h", "connections_per_client": 2})], {}

    def from_client(self, address, count):
        return statuses(self.fetch(headers=[("X-Forwarded-For", address)] if address else ()) for _ in range(count))

    # Counting the proxy as the client would throttle everybody behind it together.
    def test_each_client_of_a_trusted_proxy_has_its_own_bucket(self):
        self.assertEqual(self.from_client("198.51.100.1", 5), {200: 3, 429: 2})
        self.assertEqual(self.from_client("198.51.100.2", 5), {200: 3, 429: 2})
        self.assertEqual(self.from_client("2001:db8:1:2::1", 3), {200: 3})
        self.assertEqual(self.from_client("2001:db8:1:2:9:9:9:9", 2), {429: 2})

    # What stands left of the client that the proxy names is the client's own invention.
    def test_a_client_cannot_prepend_another(self):
        self.assertEqual(self.from_client("203.0.113.1, 198.51.100.7", 3), {200: 3})
        self.assertEqual(self.from_client("203.0.113.2, 198.51.100.7", 2), {429: 2})

    # Hiding behind the proxy gives no bucket of one's own: all that are not named share one.
    def test_those_that_the_proxy_does_not_name_share_a_bucket(self):
        self.assertEqual(self.from_client("", 2), {200: 2})
        self.assertEqual(self.from_client("unknown", 4), {200: 1, 429: 3})

    # The connections are the proxy's: it is requests under way that count for each client.
    def test_requests_under_way_count_for_their_client(self):
        answered = threading.Event()
        self.addCleanup(answered.set)

        def wait(request):
            answered.wait(20)
            return answer(200)
        self.origin.respond = wait
        headers = [("X-Forwarded-For", "198.51.100.50")]
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(self.client()) for _ in range(2)]
            for client in held:
                client.send(get("/held", headers=headers))
            self.origin.wait_for(lambda: len(self.origin.requests) == 2)
            self.assertEqual(self.fetch(headers=headers).error, "too-many-connections")
            self.origin.respond = self.origin.default_respond
            self.assertEqual(self.fetch(headers=[("X-Forwarded-For", "198.51.100.51")]).status, 200)
            answered.set()
            self.assertEqual([client.read_response().status for client in held], [200, 200])
            self.assertEqual(self.fetch(headers=headers).status, 200, "both have ended, though they are kept alive")


if __name__ == "__main__":
    unittest.main()
