"""Several instances of an app: how requests are shared, and what clients notice when one hangs, fails or dies."""
import collections
import signal

from lintel_test import *

APP = str(pathlib.Path(__file__).with_name("upstream_app.py"))


class Instance:
    """The app as a process that can be killed and started again on its port."""

    def __init__(self, name, start=True):
        self.name, self.port, self.process = name, free_port(), None
        if start:
            self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        self.process = python_app("-B", APP, self.name, str(self.port), cwd=str(pathlib.Path(APP).parent))

        def listens():
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
        wait_until(listens, f"app {self.name} to listen")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.kill()


class Load:
    """Threads that send one request after another, each on its own connection, until stop()."""

    def __init__(self, port, threads, make_request):
        self.port, self.make_request = port, make_request
        self.lock = threading.Lock()
        self.answers, self.failures = collections.Counter(), []
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self):
        client = None
        while not self.ending.is_set():
            try:
                client = client or RawClient(self.port)
                response = client.request(self.make_request())
                good, what = response.status == 200, response.get("x-app") or f"{response.status} {response.error}"
                if (response.get("connection") or "").lower() == "close":
                    client.close()
                    client = None
            except (OSError, Closed, AssertionError) as error:
                good, what = False, repr(error)
                client = None
            with self.lock:
                self.answers[what] += 1
                if not good:
                    self.failures.append(what)
        if client:
            client.close()

    def total(self):
        with self.lock:
            return sum(self.answers.values())

    def of(self, name):
        with self.lock:
            return self.answers[name]

    def wait_more(self, count, what):
        until = self.total() + count
        wait_until(lambda: self.total() >= until, what, 60)

    def stop(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(30)
        return self.failures


class UpstreamsTest(unittest.TestCase):
    """Each test has its own instances and its own Lintel."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, True)

    def serve(self, to, timeouts=None, **site):
        server = {"https": []}
        if timeouts:
            server["timeouts"] = timeouts
        self.lintel = Serve(self.folder, [{"hosts": ["app.test"], "to": to, "redirect_http": "off", **site}], server)
        self.addCleanup(self.end, self.lintel)
        return self.lintel

    @staticmethod
    def end(lintel):
        lintel.stop()
        lintel.check_sanitizers()

    def instance(self, name, start=True):
        made = Instance(name, start)
        self.addCleanup(made.stop)
        return made

    def origin(self, **options):
        made = Origin(**options)
        self.addCleanup(made.stop)
        return made

    def fetch(self, path="/", **options):
        with RawClient(self.lintel.http) as client:
            return client.request(get(path, **options))

    def upstreams(self):
        status, groups = self.lintel.admin("GET", "/upstreams")
        self.assertEqual(status, 200)
        return groups

    def reload(self, to, **site):
        self.lintel.rewrite([{"hosts": ["app.test"], "to": to, "redirect_http": "off", **site}])
        self.assertEqual(self.lintel.command("reload")[0], 0)

    def wait_log(self, text, seconds=30):
        wait_until(lambda: text in self.lintel.stderr(), f"{text!r} in the log", seconds)

    def wait_answer(self, name, seconds=40):
        wait_until(lambda: self.fetch().get("x-app") == name, f"an answer of {name}", seconds)


class Killed(UpstreamsTest):
    # Whoever uses the site at the moment when an instance dies must not notice.
    def test_one_of_two_killed_under_load_fails_no_request(self):
        first, second = self.instance("first"), self.instance("second")
        self.serve([first.url, second.url])
        gets = Load(self.lintel.http, 12, lambda: get("/"))
        posts = Load(self.lintel.http, 4, lambda: get("/order", method="POST", body=b"one order"))
        gets.wait_more(300, "requests before the kill")
        self.assertGreater(gets.of("first"), 0)
        first.kill()
        gets.wait_more(600, "requests after the kill")
        # It comes back, is found, and is killed once more.
        first.start()
        seen = gets.of("first")
        wait_until(lambda: gets.of("first") > seen, "the instance to be used again", 60)
        first.kill()
        gets.wait_more(300, "requests after the second kill")
        self.assertEqual(gets.stop(), [])
        # A POST that the app may have begun to act on is not repeated: at most the one that each thread had under way at
        # each of the two kills fails, and says so.
        failed = posts.stop()
        self.assertLessEqual(len(failed), 2 * 4, failed)
        self.assertEqual(set(failed) - {"502 upstream-closed"}, set())
        self.assertGreater(posts.total(), 50)
        # One line for each change.
        lines = [line for line in self.lintel.stderr().splitlines() if f"upstream {first.url}:" in line]
        self.assertIn("taken out after", lines[0])
        self.assertIn("answers again", lines[1])
        self.assertLessEqual(len(lines), 4, lines)

    # Nothing has been sent to an instance that refuses connections: also what may not be repeated goes elsewhere.
    def test_post_reaches_the_other_instance_when_one_is_not_there(self):
        absent, present = self.instance("absent", start=False), self.instance("present")
        self.serve([absent.url, present.url], balance="round-robin")
        for _ in range(10):
            response = self.fetch("/order", method="POST", body=b"x" * 1000)
            self.assertEqual((response.status, response.get("x-app")), (200, "present"))

    # Somebody waits for each connection attempt: when nobody is there, the answer says so at once, and for how long.
    def test_all_down_is_503_without_asking_and_recovery_is_found(self):
        first, second = self.instance("first", start=False), self.instance("second", start=False)
        self.serve([first.url, second.url])
        unhealthy = wait_until(lambda: next((r for r in [self.fetch()] if r.error == "upstream-unhealthy"), None),
                               "upstream-unhealthy")
        self.assertEqual(unhealthy.status, 503)
        self.assertGreaterEqual(int(unhealthy.get("retry-after")), 1)
        second.start()
        self.wait_answer("second")

    def test_backup_takes_over_and_steps_back(self):
        first, backup = self.instance("first"), self.instance("backup")
        self.serve([first.url, {"url": backup.url, "backup": True}])
        for _ in range(10):
            self.assertEqual(self.fetch().get("x-app"), "first")
        first.kill()
        for _ in range(10):
            response = self.fetch()
            self.assertEqual((response.status, response.get("x-app")), (200, "backup"))
        first.start()
        self.wait_answer("first")


class Sick(UpstreamsTest):
    # Each request that is given to an instance that hangs costs a user the whole patience.
    def test_instance_that_hangs_is_taken_out(self):
        hanging, healthy = self.origin(handler=lambda conn: conn.wait_gone()), self.instance("healthy")
        self.serve([hanging.url, healthy.url], {"response": "1s"}, balance="round-robin", health={"fall": 2})
        failed = 0
        while failed < 2:
            response = self.fetch()
            failed += response.error == "upstream-timeout"
            self.assertIn(response.status, (200, 504))
        self.wait_log("taken out after 2 failures in a row (upstream-timeout)")
        with RawClient(self.lintel.http) as client:
            for _ in range(3):
                # A POST never tries whether it is back while there is another.
                self.assertEqual(client.request(get("/", method="POST", body=b"x")).get("x-app"), "healthy")

    # A bug in the app must not take its instances away one by one.
    def test_instance_that_answers_500_stays(self):
        broken, healthy = self.origin(respond=lambda request: answer(500, b"bug")), self.instance("healthy")
        self.serve([broken.url, healthy.url], balance="round-robin")
        statuses = collections.Counter(self.fetch().status for _ in range(20))
        self.assertEqual(statuses, {200: 10, 500: 10})
        self.assertNotIn("taken out", self.lintel.stderr())

    # 502, 503 and 504 of the app are the app's answers: a second instance must not act on the request as well.
    def test_answers_of_the_app_are_not_retried(self):
        for status in (502, 503, 504):
            with self.subTest(status=status):
                origins = [self.origin(respond=lambda request: answer(status)) for _ in range(2)]
                self.serve([origin.url for origin in origins])
                self.assertEqual(self.fetch().status, status)
                self.assertEqual(sum(len(origin.requests) for origin in origins), 1)

    # An instance that closes each connection without an answer gets no request twice, and is not hit twice as hard.
    def test_retries_are_bounded_when_every_instance_drops_requests(self):
        origins = [self.origin(handler=lambda conn: conn.read_request()) for _ in range(4)]
        self.serve([origin.url for origin in origins], health={"fall": 100})
        count = 200
        for _ in range(count):
            self.assertEqual(self.fetch().error, "upstream-closed")
        reached = sum(len(origin.requests) for origin in origins)
        # Two workers, each with its floor, and a fifth of the requests.
        self.assertLessEqual(reached, count + count // 5 + 2 * 32)
        self.assertGreater(reached, count)


class Shared(UpstreamsTest):
    def test_weights(self):
        heavy, light = self.instance("heavy"), self.instance("light")
        self.serve([{"url": heavy.url, "weight": 3}, light.url], balance="round-robin")
        with RawClient(self.lintel.http) as client:
            seen = collections.Counter(client.request(get("/")).get("x-app") for _ in range(200))
        self.assertAlmostEqual(seen["heavy"], 150, delta=10)

    def test_cookie_keeps_a_session_on_its_instance(self):
        instances = [self.instance(name) for name in ("first", "second", "third")]
        self.serve([one.url for one in instances], balance="hash-cookie:sid")
        where = {}
        for session in range(24):
            cookie = [("Cookie", f"theme=dark; sid=user{session}; other=1")]
            seen = {self.fetch(headers=cookie).get("x-app") for _ in range(3)}
            self.assertEqual(len(seen), 1)
            where[session] = seen.pop()
        self.assertEqual(set(where.values()), {"first", "second", "third"})
        instances[1].kill()
        for session, name in where.items():
            response = self.fetch(headers=[("Cookie", f"sid=user{session}")])
            self.assertEqual(response.status, 200)
            if name != "second":
                self.assertEqual(response.get("x-app"), name, "a session moved although its instance is there")

    def test_route_has_its_own_instances(self):
        site, admin = self.instance("site"), self.instance("admin")
        self.serve([site.url], route=[{"path": "/admin/*", "to": [admin.url]}])
        self.assertEqual(self.fetch("/").get("x-app"), "site")
        self.assertEqual(self.fetch("/admin/x").get("x-app"), "admin")


class Reloaded(UpstreamsTest):
    # An instance is taken off the list before it is stopped: what it has must be finished.
    def test_removed_instance_finishes_what_it_has(self):
        go_on, added = threading.Event(), self.instance("added")
        self.addCleanup(go_on.set)

        def respond(request):
            go_on.wait(30)
            return answer(200, headers=[("X-App", "removed")])
        removed = self.origin(respond=respond)
        self.serve([removed.url])
        with RawClient(self.lintel.http) as client:
            client.send(get("/slow"))
            removed.wait_for(lambda: removed.requests)
            self.reload([added.url])
            self.assertEqual(self.fetch().get("x-app"), "added")
            go_on.set()
            self.assertEqual(client.read_response().get("x-app"), "removed")
        for conn in list(removed.open_connections):
            self.assertTrue(conn.gone.wait(15), "a connection to an instance that is no longer used stays open")

    # A reload for another reason must not send users to an instance that is known to be dead.
    def test_reload_forgets_nothing(self):
        dead, alive = self.instance("dead", start=False), self.instance("alive")
        health = {"path": "/", "every": "200ms", "timeout": "1s", "fall": 1, "rise": 2}
        self.serve([dead.url, alive.url], health=health)
        self.wait_log("down after 1 failed checks (upstream-refused)")
        self.reload([dead.url, {"url": alive.url, "weight": 2}], health=health, security_headers="off")
        states = {one["url"]: one["state"] for one in self.upstreams()[0]["endpoints"]}
        self.assertEqual(states, {dead.url: "down", alive.url: "up"})
        dead.start()
        self.wait_log("up, its checks pass again")
        self.wait_answer("dead")


class Checked(UpstreamsTest):
    health = {"path": "/healthz", "every": "200ms", "timeout": "1s", "fall": 2, "rise": 2}

    # The app says that it is not well before a request fails.
    def test_failed_checks_take_out_and_passed_ones_bring_back(self):
        state = {"healthz": 200}

        def respond(request):
            if request.target == "/healthz":
                return answer(state["healthz"])
            return answer(200, headers=[("X-App", "checked")])
        checked, other = self.origin(respond=respond), self.instance("other")
        self.serve([checked.url, other.url], balance="round-robin", health=self.health)
        wait_until(lambda: any(r.target == "/healthz" for r in checked.requests), "a check")
        check = next(r for r in checked.requests if r.target == "/healthz")
        self.assertEqual((check.method, check.get("host")), ("GET", "app.test"))
        state["healthz"] = 503
        self.wait_log("down after 2 failed checks (status 503)")
        for _ in range(6):
            self.assertEqual(self.fetch().get("x-app"), "other")
        known = {one["url"]: one for one in self.upstreams()[0]["endpoints"]}
        self.assertEqual((known[checked.url]["state"], known[checked.url]["last_reason"]), ("down", "status 503"))
        self.assertEqual(known[other.url]["state"], "up")
        self.assertIn(f"{checked.url} is down: status 503", self.lintel.command("status")[1], "what an operator looks at")
        state["healthz"] = 302  # redirects to a login page: it is there
        self.wait_log("up, its checks pass again")
        self.wait_answer("checked")
        self.assertEqual(self.lintel.stderr().count("failed checks"), 1)

    def test_single_instance_that_fails_its_checks_is_503_with_retry_after(self):
        state = {"status": 500}
        only = self.origin(respond=lambda request: answer(state["status"]))
        self.serve([only.url], health=self.health)
        self.wait_log("down after 2 failed checks")
        response = self.fetch()
        self.assertEqual((response.status, response.error), (503, "upstream-unhealthy"))
        self.assertEqual(response.get("retry-after"), "1")
        state["status"] = 200
        wait_until(lambda: self.fetch().status == 200, "recovery")

    # A check that hangs is a failed one; the next comes all the same.
    def test_check_that_gets_no_answer_fails(self):
        hanging, other = self.origin(handler=lambda conn: conn.wait_gone()), self.instance("other")
        self.serve([hanging.url, other.url], health={**self.health, "timeout": "300ms"})
        self.wait_log("down after 2 failed checks (upstream-timeout)")
        self.assertEqual(self.fetch().get("x-app"), "other")

    def test_checks_over_unix_sockets_and_tls(self):
        ca = CertificateAuthority(self.folder / "ca")
        unix = self.origin(unix_path=str(self.folder / "app.sock"))
        tls = self.origin(tls_context=ca.server_context("127.0.0.1"))
        plain_http = self.origin()
        wrong = f"https://127.0.0.1:{plain_http.port}"
        self.serve([unix.url, {"url": tls.url, "tls": {"ca": ca.cert}}, {"url": wrong, "tls": {"ca": ca.cert}}],
                   health=self.health)
        for origin in (unix, tls):
            wait_until(lambda: sum(r.target == "/healthz" for r in list(origin.requests)) >= 3, "checks")
        self.wait_log(f"upstream {wrong}: down after 2 failed checks")
        self.assertEqual(self.lintel.stderr().count("failed checks"), 1)


if __name__ == "__main__":
    unittest.main()
