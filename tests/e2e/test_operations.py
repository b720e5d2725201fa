"""What an operator relies on: root given up, sockets from systemd, notifications, log rotation, a machine that runs out
of things."""
import pwd

from lintel_test import *

as_root()


class Machine(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.folder.chmod(0o755)
        self.ca = CertificateAuthority(self.folder / "ca")
        self.origin = Origin()
        self.addCleanup(self.origin.stop)

    def site(self, cert, **changes):
        return {"hosts": ["app.test"], "to": [self.origin.url], "certificate": {"file": cert[0], "key": cert[1]},
                "redirect_http": "off", **changes}

    def serve(self, sites, server=None, **options):
        lintel = Serve(self.folder, sites, server, **options)

        def end():
            code = lintel.stop()
            lintel.check_sanitizers()
            self.assertEqual(code, 0, lintel.stderr()[-2000:])
        self.addCleanup(end)
        return lintel

    def status(self, port, **options):
        with RawClient(port, tls=True, **options) as client:
            return client.request(get("/")).status


class Privileges(Machine):
    """Started as root: the process that meets the internet is nobody's, and certificates still renew."""

    def start(self):
        account = pwd.getpwnam("nobody")
        keys = self.folder / "keys"
        keys.mkdir(mode=0o700)
        self.cert = [str(keys / "a.pem"), str(keys / "a.key")]
        self.install(self.ca.issue("app.test"))
        run = self.folder / "run"
        run.mkdir()
        return account, self.serve([self.site(self.cert)], {"user": "nobody", "admin": f"unix:{run / 'admin.sock'}",
                                                            "access_log": "off", "state": str(self.folder / "st")})

    def install(self, pair):
        for source, target in zip(pair, self.cert):
            shutil.copy(source, target + ".new")
            os.chmod(target + ".new", 0o600)
            os.replace(target + ".new", target)

    def serial(self, port):
        with RawClient(port, tls=tls_client_context(self.ca.cert), sni="app.test") as client:
            return client.sock.getpeercert()["serialNumber"]

    def test_root_is_given_up_and_keys_are_still_read(self):
        account, lintel = self.start()
        status = pathlib.Path(f"/proc/{lintel.pid}/status").read_text()
        uids = re.search(r"Uid:\s+(\d+)\s+(\d+)\s+(\d+)", status).groups()
        self.assertEqual(set(uids), {str(account.pw_uid)})
        capabilities = int(re.search(r"CapEff:\s+(\w+)", status)[1], 16)
        self.assertEqual(capabilities, 1 << 10, "CAP_NET_BIND_SERVICE and nothing else")
        # A renewal, by root, of files that only root may read.
        before = self.serial(lintel.https)
        self.install(self.ca.issue("app.test"))
        wait_until(lambda: self.serial(lintel.https) != before, "the renewed certificate")
        # A reload that names new files of root.
        second = self.ca.issue("second.test")
        keys = pathlib.Path(self.cert[0]).parent
        names = [str(keys / "b.pem"), str(keys / "b.key")]
        for source, target in zip(second, names):
            shutil.copy(source, target)
            os.chmod(target, 0o600)
        lintel.rewrite([self.site(self.cert), self.site(names, hosts=["second.test"])])
        lintel.send_signal(signal.SIGHUP)

        def second_served():
            try:
                with RawClient(lintel.https, tls=tls_client_context(self.ca.cert), sni="second.test"):
                    return True
            except ssl.SSLError:
                return False
        wait_until(second_served, "the new site's certificate")

    def test_the_process_that_reads_files_is_held_down(self):
        """Whoever takes over the server gets no root through its helper: it may read files and nothing else."""
        _, lintel = self.start()
        children = [int(pid) for pid in pathlib.Path(f"/proc/{lintel.pid}/task/{lintel.pid}/children").read_text().split()]
        self.assertEqual(len(children), 1)
        status = pathlib.Path(f"/proc/{children[0]}/status").read_text()
        self.assertEqual(int(re.search(r"CapPrm:\s+(\w+)", status)[1], 16), 1 << 2, "CAP_DAC_READ_SEARCH only")
        self.assertEqual(re.search(r"NoNewPrivs:\s+(\d)", status)[1], "1")
        fds = pathlib.Path(f"/proc/{children[0]}/fd")
        sockets = [os.readlink(fd) for fd in fds.iterdir() if "socket" in os.readlink(fd)]
        self.assertEqual(len(sockets), 1, "its own connection: it holds no port")
        lintel.stop()
        wait_until(lambda: not pathlib.Path(f"/proc/{children[0]}/fd/3").exists(), "it to end with the server")

    def test_an_upgrade_keeps_the_way_to_the_keys(self):
        _, lintel = self.start()
        before = self.serial(lintel.https)
        lintel.send_signal(signal.SIGUSR2)
        wait_until(lambda: lintel.process.poll() == 0, "the old process to end")

        def serving():
            with contextlib.suppress(OSError):
                return self.serial(lintel.https)
        wait_until(serving, "the new process")
        self.install(self.ca.issue("app.test"))
        try:
            wait_until(lambda: self.serial(lintel.https) != before, "the renewed certificate from the new process")
        finally:
            done = subprocess.run([LINTEL, "stop", "--socket", str(self.folder / "run/admin.sock")], timeout=60,
                                  capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

        def port_free():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", lintel.https)) != 0
        wait_until(port_free, "the new process to end")


class Systemd(Machine):
    """The service manager's side, without a service manager."""

    def test_socket_activation(self):
        """systemd binds the ports; the process needs no right to."""
        cert = self.ca.issue("app.test")
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            port = listening.getsockname()[1]
            config = self.folder / "lintel.toml"
            config.write_text(toml({"https": [f"127.0.0.1:{port}"], "http": [], "workers": 2, "access_log": "off",
                                    "state": str(self.folder / "state"), "admin": "off"}, [self.site(cert)]))
            # As sd_listen_fds(3) wants it: LISTEN_PID is the process itself, the sockets begin at 3.
            launcher = ("import os,sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()), "
                        "LISTEN_FDS='1'); os.execv(sys.argv[2], sys.argv[2:])")
            with open(self.folder / "err", "wb") as err:
                process = subprocess.Popen(["/usr/bin/python3", "-c", launcher, str(listening.fileno()), LINTEL, "serve",
                                            "-c", str(config)], pass_fds=[listening.fileno()], stderr=err, stdout=err,
                                           stdin=subprocess.DEVNULL)
        self.addCleanup(end_process, process)
        for _ in range(8):  # by either worker
            self.assertEqual(self.status(port), 200)
        process.terminate()
        self.assertEqual(process.wait(60), 0)

    def test_notifications(self):
        """READY when it serves, RELOADING around a reload, STOPPING at the end, WATCHDOG in between."""
        cert = self.ca.issue("app.test")
        path = str(self.folder / "notify.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            notify.settimeout(30)
            lintel = self.serve([self.site(cert)], env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"})

            def until(word):
                while word not in (got := notify.recv(4096).decode()):
                    pass
                return got
            self.assertIn(f"MAINPID={lintel.pid}", until("READY=1"))
            lintel.send_signal(signal.SIGHUP)
            self.assertIn("MONOTONIC_USEC=", until("RELOADING=1"))
            until("READY=1")
            until("WATCHDOG=1")
            lintel.send_signal(signal.SIGTERM)
            until("STOPPING=1")


class RunningOut(Machine):
    """Full disks, no descriptors: served on, recovered, said in the log."""

    def small_disk(self):
        """A small file system; what the log still holds when there is room again fits in."""
        disk = self.folder / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0777", "none", str(disk)], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", str(disk)])
        return disk

    def test_a_full_disk_under_the_access_log(self):
        disk = self.small_disk()
        cert = self.ca.issue("app.test")
        lintel = self.serve([self.site(cert)], {"access_log": str(disk / "access.log")})
        filler = disk / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while file.write(b"x" * 65536):
                pass
        with RawClient(lintel.https, tls=True) as client:
            for _ in range(300):
                self.assertEqual(client.request(get("/" + "a" * 200)).status, 200)
        wait_until(lambda: "No space left" in lintel.stderr(), "the log to say so")
        filler.unlink()
        marker = "/after-the-disk-had-room"

        def written():
            with RawClient(lintel.https, tls=True) as client:
                client.request(get(marker))
            return marker in (disk / "access.log").read_text(errors="replace")
        wait_until(written, "lines after there is room again")
        for line in (disk / "access.log").read_text(errors="replace").splitlines()[-3:]:
            json.loads(line)

    def test_a_link_of_another_user_in_the_place_of_the_access_log(self):
        """The log's folder is often the server's user's: root must not append to what that user points at."""
        target = self.folder / "target"
        target.write_text("")
        link = self.folder / "logs"
        link.mkdir()
        os.symlink(target, link / "access.log")
        os.lchown(link / "access.log", 65534, 65534)
        config = self.folder / "lintel.toml"
        config.write_text(toml({"https": [], "http": [f"127.0.0.1:{free_port()}"], "admin": "off",
                                "access_log": str(link / "access.log")},
                               [{"hosts": ["app.test"], "to": [self.origin.url], "redirect_http": "off"}]))
        done = subprocess.run([LINTEL, "serve", "-c", str(config)], capture_output=True, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("access.log", done.stderr)

    def test_no_descriptors_left(self):
        """More clients than descriptors: those that are served go on, and the rest are served when some have gone."""
        cert = self.ca.issue("app.test")
        lintel = self.serve([self.site(cert)], file_limit=96)
        crowd = []
        try:
            with RawClient(lintel.https, tls=True) as early:
                self.assertEqual(early.request(get("/")).status, 200)
                for _ in range(120):
                    crowd.append(socket.create_connection(("127.0.0.1", lintel.https), 10))
                wait_until(lambda: "raise the limit of open files" in lintel.stderr(), "the complaint")
                self.assertEqual(early.request(get("/")).status, 200, "a connection that was there before")
        finally:
            for one in crowd:
                one.close()
        wait_until(lambda: self.status(lintel.https) == 200, "new clients to be served")

    def test_log_rotation(self):
        """logrotate moves the file and sends SIGUSR1: not a line is lost or torn."""
        cert = self.ca.issue("app.test")
        lintel = self.serve([self.site(cert)])
        with RawClient(lintel.https, tls=True) as client:
            for count in range(400):
                if count % 100 == 50:
                    lintel.access_log_path.rename(self.folder / f"access.log.{count}")
                    lintel.send_signal(signal.SIGUSR1)
                    wait_until(lintel.access_log_path.exists, "the file to be opened anew")
                self.assertEqual(client.request(get(f"/{count}")).status, 200)

        def paths():
            found = []
            for file in self.folder.glob("access.log*"):
                found += [json.loads(line)["target"] for line in file.read_text().splitlines() if line.endswith("}")]
            return sorted(found)
        wait_until(lambda: paths() == sorted(f"/{count}" for count in range(400)), "every line in some file")


class ManySites(Machine):
    def test_a_thousand_sites_reload(self):
        """A file of 1,000 sites with routes and upstreams: the reload counts, and a client on a kept-alive connection
        does not notice it."""
        cert = self.ca.issue("*.app.test", "app.test")
        sites = [self.site(cert, hosts=[f"s{count}.app.test"], to=[f"http://127.0.0.1:{20000 + count}"])
                 for count in range(999)]
        lintel = self.serve([self.site(cert), *sites])
        with RawClient(lintel.https, tls=True) as client:
            self.assertEqual(client.request(get("/")).status, 200)
            lintel.rewrite([self.site(cert), *sites, self.site(cert, hosts=["last.app.test"])])
            code, out, err = lintel.command("reload")
            self.assertEqual((code, out.strip()), (0, "reloaded: 1001 sites"), err)
            self.assertEqual(client.request(get("/", host="last.app.test")).status, 200)


if __name__ == "__main__":
    unittest.main()
