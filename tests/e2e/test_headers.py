"""What the app is told about the client (nobody but Lintel can say it) and what of the app's answer is repaired."""
from lintel_test import *

# Names that only Lintel may set, in the spellings that app servers (WSGI, CGI, PHP) fold into the same variable.
MANAGED = """
forwarded x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port x-forwarded-prefix x-forwarded-scheme
x-forwarded-protocol x-forwarded-ssl x-forwarded-server x-forwarded-by x-forwarded-uri x-forwarded-method
x-forwarded-tls-client-cert x-forwarded-tls-client-cert-info x-forwarded-client-cert x-forwarded-anything
x-original-for x-original-host x-original-proto x-original-url x-original-uri x-original-method x-original-forwarded-for x-rewrite-url x-real-ip x-scheme
x-url-scheme x-client-ip client-ip true-client-ip x-cluster-client-ip front-end-https cf-connecting-ip
cf-connecting-ipv6 cf-visitor cf-ray fly-client-ip fly-forwarded-proto x-azure-clientip x-azure-socketip x-arr-ssl
cloudfront-forwarded-proto x-vercel-forwarded-for fastly-client-ip client-cert client-cert-chain proxy
x-auth-request-user x-auth-request-email remote-user x-webauth-user x-ssl-client-verify x-ssl-client-s-dn
x-goog-iap-jwt-assertion x-ms-client-principal x-ms-client-principal-name x-amzn-oidc-data x-middleware-subrequest
x-lintel-anything
""".split()
WRITTEN = {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https", "x-forwarded-host": "app.test",
           "x-forwarded-port": "443", "x-real-ip": "127.0.0.1"}
FORGED = "6.6.6.6"


def folded(name):
    return name.lower().replace("_", "-").replace(".", "-")


class TowardsTheApp(LintelTestCase):
    @classmethod
    def configure(cls):
        emit = ["x-forwarded", "forwarded", "front-end-https", "x-forwarded-ssl", "x-url-scheme"]
        return [cls.site(), cls.site(hosts=["emit.app.test"], emit=emit)], {}

    def assert_honest(self, request, **changes):
        seen = {}
        for name, value in request.headers:
            if folded(name) in MANAGED or folded(name).startswith(("x-forwarded", "x-lintel")):
                seen.setdefault(folded(name), []).append(value)
        self.assertEqual(seen, {name: [value] for name, value in {**WRITTEN, **changes}.items()})
        self.assertNotIn(FORGED, str(request.headers))

    def test_fresh_single_values_over_every_protocol(self):
        self.fetch("/")
        with self.h2() as h2:
            h2.request("/")
        with self.client(tls=False) as client:
            client.request(get("/"))
        first, second, third = self.origin.requests
        self.assert_honest(first)
        self.assert_honest(second)
        self.assert_honest(third, **{"x-forwarded-proto": "http", "x-forwarded-port": "80"})
        for request in (first, second, third):
            self.assertEqual(request.all("host"), ["app.test"])
            self.assertEqual(request.version, "HTTP/1.1")
            self.assertEqual(len(request.all("x-request-id")), 1)

    def test_host_and_port_are_those_that_the_client_used(self):
        """Else links on a port such as 8443 break."""
        authority = f"app.test:{self.lintel.https}"
        with self.client() as client:
            client.request(get("/", host=authority))
            client.request(get("/", host="APP.test:443"))
        first, second = self.origin.requests
        self.assertEqual((first.get("host"), first.get("x-forwarded-host"), first.get("x-forwarded-port")),
                         (authority, authority, str(self.lintel.https)))
        self.assertEqual((second.get("x-forwarded-host"), second.get("x-forwarded-port")), ("app.test", "443"))

    def test_a_client_cannot_set_a_managed_header_in_any_spelling(self):
        for spelling in (str.lower, str.upper, str.title, lambda n: n.replace("-", "_"), lambda n: n.replace("-", "."),
                         lambda n: n.replace("-", "_", 1)):
            for part in (MANAGED[:30], MANAGED[30:]):
                self.origin.reset()
                self.assertEqual(self.fetch("/", [(spelling(name), FORGED) for name in part]).status, 200)
                self.assert_honest(self.origin.requests[0])
        self.origin.reset()
        with self.h2() as h2:
            for part in (MANAGED[:30], MANAGED[30:]):
                h2.request("/", headers=[(name, FORGED) for name in part])
                h2.request("/", headers=[(name.replace("-", "_"), FORGED) for name in part])
        for request in self.origin.requests:
            self.assert_honest(request)

    def test_duplicate_lines_do_not_get_through(self):
        self.fetch("/", [("X-Forwarded-For", FORGED)] * 5 + [("X-Forwarded-Proto", "http")] * 2)
        self.assert_honest(self.origin.requests[0])

    def test_connection_cannot_nominate_managed_headers_away(self):
        """CVE-2022-31813: the app would take the proxy's own address for the client's."""
        nominated = "close, x-forwarded-for, X-Forwarded-Proto, X-Forwarded-Host, x-real-ip, host, x-request-id"
        self.fetch("/", [("Connection", nominated)])
        self.assert_honest(self.origin.requests[0])
        self.assertEqual(self.origin.requests[0].all("host"), ["app.test"])
        self.assertEqual(len(self.origin.requests[0].all("x-request-id")), 1)

    def test_hop_by_hop_fields_are_removed(self):
        self.fetch("/", [("Connection", "X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "x"),
                         ("TE", "gzip, trailers"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__"), ("X-Kept", "1"),
                         ("Proxy-Authorization", "Basic eDp5")])
        request = self.origin.requests[0]
        for name in ("x-hop", "keep-alive", "proxy-connection", "upgrade", "http2-settings"):
            self.assertEqual(request.all(name), [], name)
        self.assertIn(request.all("te"), ([], ["trailers"]))
        self.assertEqual(request.all("x-kept"), ["1"])

    def test_everything_else_passes_unchanged(self):
        fields = [("Accept", "*/*"), ("Cookie", "a=1; b=2"), ("Authorization", "Bearer x"), ("X-Custom", "  spaced\tvalue ".strip()),
                  ("Accept-Language", "de"), ("X-Repeated", "1"), ("X-Repeated", "2"), ("X-Empty", ""), ("X-High", "caf\xe9"),
                  ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
        self.fetch("/a//b/../c?x=%2f&y={\"z\"}", fields)
        request = self.origin.requests[0]
        self.assertEqual(request.target, "/a//b/../c?x=%2f&y={\"z\"}", "without a restricting route the target stays as sent")
        for name, value in fields:
            self.assertIn((name.lower(), value), [(n.lower(), v) for n, v in request.headers])

    def test_request_id_of_a_stranger_is_replaced(self):
        self.fetch("/", [("X-Request-Id", FORGED)])
        self.assertNotEqual(self.origin.requests[0].all("x-request-id"), [FORGED])
        self.assertEqual(len(self.origin.requests[0].all("x-request-id")), 1)

    def test_emitted_variants_agree(self):
        with self.client(sni="emit.app.test") as client:
            client.request(get("/", host="emit.app.test", headers=[("Forwarded", "for=6.6.6.6"), ("Front-End-Https", "off")]))
        request = self.origin.requests[0]
        self.assertEqual(request.all("front-end-https"), ["on"])
        self.assertEqual(request.all("x-forwarded-ssl"), ["on"])
        self.assertEqual(request.all("x-url-scheme"), ["https"])
        (forwarded,) = request.all("forwarded")
        parts = dict(part.split("=", 1) for part in forwarded.split(";"))
        self.assertEqual({k.lower(): v.strip('"') for k, v in parts.items()},
                         {"for": "127.0.0.1", "proto": "https", "host": "emit.app.test"})

    def test_a_loop_is_508(self):
        """Two proxies that point at each other must not eat all connections."""
        with temp_folder() as first_folder, temp_folder() as second_folder:
            back = free_port()
            cert = self.ca.issue("loop.test")
            site = {"hosts": ["loop.test"], "certificate": {"file": cert[0], "key": cert[1]}, "redirect_http": "off"}
            first = Serve(first_folder, [{**site, "to": [f"http://127.0.0.1:{back}"]}])
            self.addCleanup(first.stop)
            second = Serve(second_folder, [{**site, "to": [f"http://127.0.0.1:{first.http}"]}], {"http": [f"127.0.0.1:{back}"]})
            self.addCleanup(second.stop)
            second.wait_listening(back)
            with RawClient(first.http) as client:
                response = client.request(get("/", host="loop.test"))
            self.assertEqual(response.status, 508)
            first.wait_log(lambda line: line.get("error") == "loop-detected")

    def test_cdn_loop_is_extended(self):
        self.fetch("/", [("CDN-Loop", "other-cdn")])
        value = ", ".join(self.origin.requests[0].all("cdn-loop"))
        self.assertIn("other-cdn", value)
        self.assertGreater(len(value), len("other-cdn"))
        self.assertIsNone(self.origin.requests[0].get("via"))


class TowardsTheClient(LintelTestCase):
    @classmethod
    def configure(cls):
        cls.cert = cls.ca.issue("app.test", "*.app.test", "www.test", "strict.example")
        return [cls.site(hosts=["app.test", "www.test"], cookies={"secure": True, "http_only": ["session"], "same_site": {"session": "Lax"}}),
                cls.site(hosts=["off.app.test"], locations="off", security_headers="off", cookies={"secure": False}),
                cls.site(hosts=["report.app.test"], locations="report"),
                cls.site(hosts=["strict.example", "strict.app.test"], security_headers="strict",
                         hsts={"max_age": "1y", "include_subdomains": True, "preload": True})], {}

    def answer_with(self, *fields, host="app.test", tls=True, status=200):
        self.origin.respond = lambda request: answer(status, b"", fields)
        with self.client(tls=tls, sni=host) as client:
            return client.request(get("/", host=host))

    def test_locations_on_http_are_repaired(self):
        upstream = f"127.0.0.1:{self.origin.port}"
        repaired = {
            "http://app.test/next": "https://app.test/next",
            "http://app.test": "https://app.test",
            "http://app.test:80/next": "https://app.test/next",
            "http://APP.test/next?a#b": "https://app.test/next?a#b",
            "HTTP://app.test/next": "https://app.test/next",
            "http://www.test/x": "https://www.test/x",
            f"http://{upstream}/next": "https://app.test/next",
        }
        for before, after in repaired.items():
            for name, status in (("Location", 302), ("Content-Location", 200)):
                with self.subTest(before, name=name):
                    self.assertEqual(self.answer_with((name, before), status=status).get(name), after)
        self.assertEqual(self.answer_with(("Refresh", "5; url=http://app.test/x")).get("refresh"), "5; url=https://app.test/x")

    def test_other_locations_are_untouched(self):
        for value in ("https://app.test/x", "/relative", "next", "//app.test/x", "http://other.test/", "http://app.test.evil.test/",
                      "http://app.test@evil.test/", "http://evil.test/?u=http://app.test/", "http://app.test:8123/other-service",
                      "https://accounts.example/o/oauth2?redirect_uri=http%3A%2F%2Fapp.test%2Fcb", "ws://app.test/"):
            with self.subTest(value):
                self.assertEqual(self.answer_with(("Location", value), status=302).all("location"), [value])

    def test_locations_stay_when_the_client_is_on_http_or_repair_is_off(self):
        self.assertEqual(self.answer_with(("Location", "http://app.test/x"), tls=False, status=302).get("location"), "http://app.test/x")
        self.assertEqual(self.answer_with(("Location", "http://off.app.test/x"), host="off.app.test", status=302).get("location"),
                         "http://off.app.test/x")

    def test_locations_can_be_reported_and_left_alone(self):
        value = "http://report.app.test/x?token=secret"
        self.assertEqual(self.answer_with(("Location", value), host="report.app.test", status=302).get("location"), value)
        self.assertIn("redirects to http://report.app.test/x, ", self.lintel.stderr())
        self.assertNotIn("secret", self.lintel.stderr())

    def test_cookies_get_secure_once(self):
        cases = {"a=1": "a=1; Secure", "a=1; Path=/": "a=1; Path=/; Secure", "a=1; secure; Path=/": "a=1; secure; Path=/",
                 "a=1; SameSite=None": "a=1; SameSite=None; Secure", "a=\"x;y": None, "secure=1": "secure=1; Secure"}
        for before, after in cases.items():
            with self.subTest(before):
                got = self.answer_with(("Set-Cookie", before)).all("set-cookie")
                self.assertEqual(len(got), 1)
                self.assertEqual(got[0].lower().split(";").count(" secure"), 1 if after else got[0].lower().count("; secure"))
                if after:
                    self.assertEqual(got[0].lower(), after.lower())

    def test_cookie_attributes_only_as_configured(self):
        (got,) = self.answer_with(("Set-Cookie", "session=1; Path=/")).all("set-cookie")
        attributes = {part.strip().lower() for part in got.split(";")[1:]}
        self.assertEqual(attributes, {"path=/", "secure", "httponly", "samesite=lax"})
        (got,) = self.answer_with(("Set-Cookie", "other=1; Path=/")).all("set-cookie")
        self.assertEqual({part.strip().lower() for part in got.split(";")[1:]}, {"path=/", "secure"})
        self.assertEqual(len(self.answer_with(("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")).all("set-cookie")), 2)

    def test_cookies_on_http_do_not_get_secure(self):
        """The browser would drop them."""
        self.assertEqual(self.answer_with(("Set-Cookie", "a=1"), tls=False).all("set-cookie"), ["a=1"])

    def test_lintel_headers_of_the_app_are_removed(self):
        """Only Lintel speaks as Lintel: a client may trust X-Lintel-Error."""
        response = self.answer_with(("X-Lintel-Error", "forged"), ("x-lintel-anything", "1"), ("X-Other", "1"))
        self.assertEqual((response.error, response.get("x-lintel-anything"), response.get("x-other")), (None, None, "1"))

    def test_security_headers(self):
        response = self.answer_with()
        self.assertEqual(response.all("x-content-type-options"), ["nosniff"])
        self.assertEqual(response.all("referrer-policy"), ["strict-origin-when-cross-origin"])
        self.assertIsNone(response.get("content-security-policy"))
        response = self.answer_with(("Referrer-Policy", "no-referrer"), ("Content-Security-Policy", "default-src 'self'"), host="strict.app.test")
        self.assertEqual(response.all("referrer-policy"), ["no-referrer"], "the app's own value wins")
        self.assertEqual(response.all("content-security-policy"), ["default-src 'self'"])
        response = self.answer_with(host="strict.app.test")
        self.assertIn("frame-ancestors 'self'", response.get("content-security-policy"))
        self.assertIn("upgrade-insecure-requests", response.get("content-security-policy"))
        response = self.answer_with(host="off.app.test")
        self.assertEqual((response.get("x-content-type-options"), response.get("referrer-policy")), (None, None))

    def test_hsts(self):
        self.assertIsNone(self.answer_with().get("strict-transport-security"))
        value = self.answer_with(host="strict.example").get("strict-transport-security")
        self.assertEqual(value, "max-age=31536000; includeSubDomains; preload")
        own = self.answer_with(("Strict-Transport-Security", "max-age=5"), host="strict.example")
        self.assertEqual(own.all("strict-transport-security"), ["max-age=5"])
        plain = self.answer_with(host="strict.example", tls=False)
        self.assertIsNone(plain.get("strict-transport-security"), "RFC 6797 §7.2: never over plain HTTP")

    def test_no_hsts_for_names_of_developers(self):
        """It would stick to every port of that name."""
        for host in ("strict.app.test", "app.test"):
            response = self.answer_with(("Strict-Transport-Security", "max-age=5"), host=host)
            self.assertIsNone(response.get("strict-transport-security"))

    def test_hop_by_hop_fields_of_the_app_stay_with_the_app(self):
        response = self.answer_with(("Connection", "X-Hop, keep-alive"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"),
                                    ("Proxy-Authenticate", "Basic"), ("Upgrade", "h2c"))
        for name in ("x-hop", "keep-alive", "upgrade"):
            self.assertIsNone(response.get(name), name)

    def test_answers_carry_one_date(self):
        self.assertEqual(len(self.answer_with().all("date")), 1)
        self.assertEqual(self.answer_with(("Date", "Sat, 01 Jan 2022 00:00:00 GMT")).all("date"), ["Sat, 01 Jan 2022 00:00:00 GMT"])


if __name__ == "__main__":
    unittest.main()
