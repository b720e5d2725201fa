"""Reload, upgrade, stop and the admin socket, under the load of clients that count every failure."""
import hashlib
import base64

from lintel_test import *

as_root()


class Load:
    """Clients that send one request after the other on kept-alive connections until stop(). A connection that ends
    under a request is a failure; one that says `Connection: close` first is not."""

    def __init__(self, connect, count=6):
        self.connect, self.stopping = connect, threading.Event()
        self.failures, self.done, self.reconnects = [], 0, 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        client = None
        while not self.stopping.is_set():
            try:
                if client is None:
                    client = self.connect()
                response = client.request(get("/load"))
                with self.lock:
                    self.done += 1
                    if response.status != 200:
                        self.failures.append(f"status {response.status} {response.error}")
                if (response.get("connection") or "").lower() == "close":
                    client.close()
                    client = None
                    with self.lock:
                        self.reconnects += 1
            except Exception as error:  # whatever a client can see of a lost request
                with self.lock:
                    self.failures.append(repr(error))
                client = None
        if client is not None:
            client.close()

    def wait_for(self, more):
        """Until so many requests more have been answered."""
        target = self.done + more
        wait_until(lambda: self.done >= target or self.failures, f"{more} requests", 60)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(30)


def websocket_app(conn):
    """An app whose /ws echoes octets after an upgrade, and that answers everything else."""
    while True:
        request = conn.read_request()
        if request is None:
            return
        if request.target != "/ws":
            conn.send(answer(200, b"ok\n"))
            continue
        digest = hashlib.sha1((request.get("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n")
        while True:
            octets = conn.sock.recv(4096)
            if not octets:
                return
            conn.send(octets)


class Tunnel:
    """A WebSocket of a client, held open: echo() shows that it still lives."""

    def __init__(self, client):
        self.client = client
        response = client.request(get("/ws", headers=[("Connection", "Upgrade"), ("Upgrade", "websocket"),
                                                      ("Sec-WebSocket-Version", "13"),
                                                      ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]))
        assert response.status == 101, response.line

    def echo(self, octets):
        self.client.sock.sendall(octets)
        got = b""
        while len(got) < len(octets):
            piece = self.client.sock.recv(4096)
            if not piece:
                return None
            got += piece
        return got


class Reload(LintelTestCase):
    """One server whose file is rewritten again and again."""

    origin_options = {"handler": websocket_app}

    def load(self, **options):
        return Load(lambda: self.client(**options))

    def test_100_reloads_under_load_lose_nothing(self):
        """Production, a deploy script that reloads in a loop: no request fails, no kept-alive connection ends under a
        request, a WebSocket does not notice."""
        with self.client() as client:
            tunnel = Tunnel(client)
            load = self.load()
            try:
                load.wait_for(20)
                for count in range(100):
                    marker = {"response": {"set": {"X-Reload": str(count)}}}
                    self.lintel.rewrite([self.site(headers=marker)])
                    code, _, err = self.lintel.command("reload")
                    self.assertEqual(code, 0, err)
                    if count % 10 == 0:
                        load.wait_for(10)
                        self.assertEqual(self.fetch("/").get("x-reload"), str(count), "the reload did not count")
            finally:
                load.stop()
            self.assertEqual(load.failures, [])
            self.assertEqual(load.reconnects, 0, "a kept-alive connection was ended by a reload")
            self.assertEqual(tunnel.echo(b"still here"), b"still here")

    def test_10_certificate_swaps_under_load(self):
        """A renewal writes new files: new connections get the new certificate, nobody loses a request."""
        files = [str(self.folder / "swap.pem"), str(self.folder / "swap.key")]
        leaves = [self.ca.issue("app.test") for _ in range(10)]

        def install(leaf):
            for source, target in zip(leaf, files):
                shutil.copy(source, target + ".new")
                os.replace(target + ".new", target)

        def serial():
            with self.client(tls=tls_client_context(self.ca.cert), sni="app.test") as client:
                return client.sock.getpeercert()["serialNumber"]
        install(leaves[0])
        self.lintel.rewrite([self.site(certificate={"file": files[0], "key": files[1]})])
        self.assertEqual(self.lintel.command("reload")[0], 0)
        load = self.load(tls=tls_client_context(self.ca.cert), sni="app.test")
        try:
            seen = {serial()}
            for leaf in leaves[1:]:
                before = serial()
                install(leaf)
                seen.add(wait_until(lambda b=before: (lambda now: now if now != b else None)(serial()),
                                    "the new certificate"))
            load.wait_for(10)
        finally:
            load.stop()
        self.assertEqual(len(seen), 10)
        self.assertEqual(load.failures, [])

    def test_a_bad_file_changes_nothing_and_says_why(self):
        self.lintel.rewrite([self.site()])
        self.assertEqual(self.lintel.command("reload")[0], 0)
        good = self.lintel.config_path.read_text()
        self.lintel.config_path.write_text(good.replace("hosts", "hots"))
        code, _, err = self.lintel.command("reload")
        self.assertEqual(code, 2)
        self.assertIn("hots", err)
        self.assertIn("lintel.toml:", err, "the place of the mistake")
        self.assertEqual(self.fetch("/").status, 200)
        self.lintel.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload refused" in self.lintel.stderr(), "the refusal in the log")
        self.lintel.config_path.write_text(good)
        self.assertEqual(self.lintel.command("reload")[0], 0)

    def test_a_certificate_that_does_not_load_changes_nothing(self):
        broken = self.folder / "broken.pem"
        broken.write_text("no certificate\n")
        self.lintel.rewrite([self.site(hosts=["other.test"], certificate={"file": str(broken), "key": self.cert[1]})])
        code, _, err = self.lintel.command("reload")
        self.assertNotEqual(code, 0)
        self.assertIn("broken.pem", err)
        self.assertEqual(self.fetch("/").status, 200, "the old configuration is still in force")

    def test_sighup_reloads(self):
        self.lintel.rewrite([self.site(hosts=["app.test", "hup.test"])])
        self.lintel.send_signal(signal.SIGHUP)
        wait_until(lambda: self.fetch_host("hup.test") == 200, "the new host")

    def fetch_host(self, host):
        with self.client() as client:
            return client.request(get("/", host=host)).status

    def test_listeners_come_and_go(self):
        """A second port is opened and closed again by reloads; a taken one refuses the whole reload."""
        port = free_port()
        both = [f"127.0.0.1:{self.lintel.https}", f"127.0.0.1:{port}"]
        self.lintel.rewrite([self.site()], {"https": both})
        self.assertEqual(self.lintel.command("reload")[0], 0)
        with RawClient(port, tls=True) as client:
            self.assertEqual(client.request(get("/", host=f"app.test:{port}")).status, 200)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            self.lintel.rewrite([self.site(hosts=["app.test", "never.test"])],
                                {"https": [*both, f"127.0.0.1:{taken.getsockname()[1]}"]})
            code, _, err = self.lintel.command("reload")
            self.assertEqual(code, 3, err)
            self.assertEqual(self.fetch_host("never.test"), 421, "half a reload")
        self.lintel.rewrite([self.site()], {"https": both[:1]})
        self.assertEqual(self.lintel.command("reload")[0], 0)

        def refused():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) != 0
        wait_until(refused, "the second port to be closed")
        self.assertEqual(self.fetch("/").status, 200)

    def test_what_needs_a_restart_is_said(self):
        self.lintel.rewrite([self.site()], {"workers": 1})
        code, out, _ = self.lintel.command("reload")
        self.assertEqual(code, 0)
        self.assertIn("server.workers", out)
        self.lintel.rewrite([self.site()], {"workers": 2})
        self.assertEqual(self.lintel.command("reload")[0], 0)

    def test_a_request_that_runs_keeps_the_configuration_it_began_with(self):
        """A slow answer across a reload that removes its site."""
        self.lintel.rewrite([self.site(hosts=["app.test", "slow.test"])])
        self.assertEqual(self.lintel.command("reload")[0], 0)
        with self.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: slow.test\r\nContent-Length: 4\r\n\r\n12")
            self.origin.wait_for(lambda: self.origin.seen().endswith(b"12"), "the first half of the body")
            self.lintel.rewrite([self.site()])
            self.assertEqual(self.lintel.command("reload")[0], 0)
            client.send(b"34")
            self.assertEqual(client.read_response().status, 200)
        self.assertEqual(self.fetch_host("slow.test"), 421)


class Admin(LintelTestCase):
    """Who may use the admin socket, and what it tells."""

    @classmethod
    def configure(cls):
        secret = {"request": {"set": {"X-Api-Key": "do-not-show-me"}}}
        return [cls.site(headers=secret)], {}

    def test_status(self):
        code, out, _ = self.lintel.command("status", "--json")
        self.assertEqual(code, 0)
        status = json.loads(out)
        self.assertEqual((status["pid"], status["sites"]), (self.lintel.pid, 1))
        self.assertIn(f"127.0.0.1:{self.lintel.https}", [one["address"] for one in status["listeners"]])
        text = self.lintel.command("status")[1]
        self.assertIn("1 sites", text)
        self.assertIn("every upstream is up", text)

    def test_the_dump_hides_secrets(self):
        status, config = self.lintel.admin("GET", "/config")
        self.assertEqual(status, 200)
        self.assertEqual(config["sites"][0]["hosts"], ["app.test"])
        self.assertNotIn("do-not-show-me", json.dumps(config))

    def test_nobody_else_may(self):
        """Mode 0600, and the peer's user is checked: another user of the machine learns nothing and stops nothing."""
        path = self.folder / "admin.sock"
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        path.chmod(0o666)
        self.folder.chmod(0o755)
        asked = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", "curl", "-sS", "--max-time", "10",
                                "--unix-socket", str(path), "http://localhost/status"], capture_output=True, text=True)
        path.chmod(0o600)
        self.assertNotEqual(asked.returncode, 0)
        self.assertNotIn("pid", asked.stdout)
        wait_until(lambda: "refused user 65534" in self.lintel.stderr(), "the refusal in the log")

    def test_log_level(self):
        self.assertEqual(self.lintel.admin("PUT", "/log-level?level=debug")[0], 200)
        self.assertEqual(self.lintel.admin("PUT", "/log-level?level=loud")[0], 400)
        self.assertEqual(self.lintel.admin("PUT", "/log-level?level=info")[0], 200)

    def test_nonsense_is_refused(self):
        self.assertEqual(self.lintel.admin("GET", "/no/such")[0], 404)
        self.assertEqual(self.lintel.admin("GET", "/reload")[0], 404, "reading must change nothing")
        with RawClient(None, unix_path=str(self.folder / "admin.sock"), tls=False) as client:
            client.send(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(client.read_response().status, (400, 413))
        self.assertEqual(self.lintel.admin("GET", "/status")[0], 200)

    def test_nobody_there(self):
        done = subprocess.run([LINTEL, "reload", "--socket", str(self.folder / "nobody.sock")], capture_output=True,
                              text=True, timeout=30)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("lintel serve", done.stderr)


class Upgrade(unittest.TestCase):
    """The program is replaced while clients are served."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.ca = CertificateAuthority(self.folder / "ca")
        self.cert = self.ca.issue("app.test")
        self.origin = Origin(handler=websocket_app)
        self.addCleanup(self.origin.stop)
        site = {"hosts": ["app.test"], "to": [self.origin.url],
                "certificate": {"file": self.cert[0], "key": self.cert[1]}, "redirect_http": "off"}
        self.lintel = Serve(self.folder, [site])
        self.addCleanup(self.end)

    def end(self):
        """Whichever process serves now."""
        try:
            self.lintel.command("stop")
        finally:
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            wait_until(lambda: self.lintel.process.poll() is not None and not self.pids(), "every process to end", 60)
        self.lintel.check_sanitizers()

    def pids(self):
        """Processes that were started with this test's configuration file."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
                if str(self.lintel.config_path).encode() in words and b"serve" in words:
                    state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                    if state != "Z":
                        found.append(int(entry.name))
        return found

    def test_no_request_fails_and_websockets_live(self):
        """One upgrade under load: no refused connection, no failed request, the old process keeps its WebSocket and
        ends when that has ended."""
        with RawClient(self.lintel.https, tls=True) as client:
            tunnel = Tunnel(client)
            load = Load(lambda: RawClient(self.lintel.https, tls=True))
            fresh = Load(self.fresh_connection, count=2)
            try:
                load.wait_for(20)
                code, out, err = self.lintel.command("upgrade", "--json")
                self.assertEqual(code, 0, err + self.lintel.stderr())
                new = json.loads(out)["pid"]
                self.assertNotEqual(new, self.lintel.pid)
                load.wait_for(50)
                fresh.wait_for(50)
            finally:
                load.stop()
                fresh.stop()
            self.assertEqual(load.failures + fresh.failures, [])
            self.assertEqual(tunnel.echo(b"still here"), b"still here")
            self.assertEqual(self.lintel.admin("GET", "/status")[1]["pid"], new)
            self.assertIsNone(self.lintel.process.poll(), "the old process left its WebSocket")
        self.assertEqual(self.lintel.process.wait(60), 0)
        with RawClient(self.lintel.https, tls=True) as client:
            self.assertEqual(client.request(get("/")).status, 200)

    def fresh_connection(self):
        """A client that opens a connection for every request."""
        class Once:
            def __init__(inner):
                inner.port = self.lintel.https

            def request(inner, octets):
                with RawClient(inner.port, tls=True) as client:
                    return client.request(octets)

            def close(inner):
                pass
        return Once()

    def test_http_2_is_told_to_go_before_its_connection_ends(self):
        with H2Client(self.lintel.https) as h2:
            self.assertEqual(h2.request("/").status, 200)
            self.assertEqual(self.lintel.command("upgrade")[0], 0)
            self.assertTrue(h2.until(lambda: h2.goaway))

    def test_a_program_that_does_not_come_up_changes_nothing(self):
        """The new version refuses its configuration: the old one goes on, with its admin socket."""
        good = self.lintel.config_path.read_text()
        self.lintel.config_path.write_text("[server]\nhtps = []\n")
        code, _, err = self.lintel.command("upgrade")
        self.assertNotEqual(code, 0)
        self.assertIn("htps", err)
        self.lintel.config_path.write_text(good.replace(self.cert[0], str(self.folder / "gone.pem")))
        self.assertNotEqual(self.lintel.command("upgrade")[0], 0)
        self.lintel.config_path.write_text(good)
        self.assertEqual(self.lintel.admin("GET", "/status")[1]["pid"], self.lintel.pid)
        with RawClient(self.lintel.https, tls=True) as client:
            self.assertEqual(client.request(get("/")).status, 200)

    def test_sigusr2_upgrades(self):
        self.lintel.send_signal(signal.SIGUSR2)
        wait_until(lambda: self.lintel.process.poll() == 0, "the old process to end", 60)
        self.assertEqual(len(self.pids()), 1)
        with RawClient(self.lintel.https, tls=True) as client:
            self.assertEqual(client.request(get("/")).status, 200)


if __name__ == "__main__":
    unittest.main()
