"""The package in a Debian system that runs systemd: the service starts in its sandbox, reloads, comes back after a crash,
is upgraded without a refused connection, stops and goes. What would break: a system call or a folder that the unit
denies and Lintel needs; a notification that systemd does not get."""
import subprocess
import tempfile
import threading

from booted_root import BootedRoot
from clean_root import build_package
from lintel_test import *  # noqa: F403

URL = "https://localhost:8443/"


class Booted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="lintel-boot-")
        cls.addClassCleanup(folder.cleanup)
        cls.package = build_package(folder.name)
        cls.root = BootedRoot()
        cls.addClassCleanup(cls.root.remove)
        (pathlib.Path(folder.name) / "index.html").write_text("from the app")
        cls.app = subprocess.Popen(cls.root.in_network("/usr/bin/python3", "-m", "http.server", "-b", "127.0.0.1", "8000"),
                                   cwd=folder.name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(cls.app.wait)
        cls.addClassCleanup(cls.app.terminate)
        shutil.copy(cls.package, cls.root.path / "var/tmp/lintel.deb")
        cls.root.run("apt-get", "-y", "install", "/var/tmp/lintel.deb")
        cls.root.config = cls.root.read("/etc/lintel/lintel.toml")

    def show(self, key):
        return self.root.run("systemctl", "show", "--value", "-p", key, "lintel").strip()

    def journal(self):
        return self.root.run("journalctl", "-u", "lintel", "--no-pager", "-n", "100")

    def get(self, url=URL):
        done = subprocess.run(self.root.in_network("curl", "-sSk", "--noproxy", "*", "-m", "20", url), capture_output=True,
                              text=True, timeout=60)
        return done.stdout if done.returncode == 0 else ""

    def wait_served(self, url=URL, text="from the app"):
        try:
            wait_until(lambda: text in self.get(url), f"{text!r} from {url}", 60)
        except AssertionError:
            raise AssertionError(self.root.run("sh", "-c", "systemctl status lintel || true") + self.journal()) from None

    def test_1_installing_starts_it_with_few_rights(self):
        self.wait_served()
        self.assertEqual((self.show("ActiveState"), self.show("StatusText")), ("active", "serving 1 sites"))
        status = dict(line.split(":\t", 1) for line in
                      self.root.run("cat", f"/proc/{self.show('MainPID')}/status").splitlines() if ":\t" in line)
        uid = self.root.run("id", "-u", "lintel").strip()
        self.assertEqual(status["Uid"].split(), [uid] * 4)
        for key in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[key], 16), 1 << 10, key)  # CAP_NET_BIND_SERVICE
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))

    def test_2_reload_says_what_is_wrong_and_opens_a_port_below_1024(self):
        self.root.write("/etc/lintel/lintel.toml", self.root.config.replace("hosts =", "hots ="))
        said = self.root.run("sh", "-c", "systemctl reload lintel; echo code $?")
        self.assertNotIn("code 0", said)
        self.assertIn('did you mean "hosts"', self.journal())
        self.wait_served()
        process = self.show("MainPID")
        self.root.write("/etc/lintel/lintel.toml", self.root.config.replace("127.0.0.1:8443", "127.0.0.1:443"))
        self.root.run("systemctl", "reload", "lintel")
        self.wait_served("https://localhost/")
        self.root.write("/etc/lintel/lintel.toml", self.root.config)
        self.root.run("systemctl", "reload", "lintel")
        self.wait_served()
        self.assertEqual(self.show("MainPID"), process)

    def test_3_a_new_package_takes_over_without_a_refused_connection(self):
        self.wait_served()
        process, failed, done = self.show("MainPID"), [], threading.Event()

        def ask():
            while not done.is_set():
                answer = self.get()
                if "from the app" not in answer:
                    failed.append(answer)
        asking = threading.Thread(target=ask)
        asking.start()
        try:
            self.root.run("dpkg", "-i", "/var/tmp/lintel.deb")
            wait_until(lambda: self.show("MainPID") not in (process, "0"), "systemd to know the new process", 60)
        finally:
            done.set()
            asking.join()
        self.assertEqual(failed, [])
        self.assertEqual((self.show("ActiveState"), self.show("NRestarts")), ("active", "0"))
        self.wait_served()

    def test_4_it_comes_back_after_a_crash(self):
        self.wait_served()
        process = self.show("MainPID")
        self.root.run("sh", "-c", f"kill -KILL {process}")
        wait_until(lambda: self.show("MainPID") not in (process, "0"), "a new process", 60)
        self.wait_served()
        self.assertEqual(self.show("NRestarts"), "1")

    def test_5_stops_in_order_and_goes_without_residue(self):
        self.root.run("systemctl", "stop", "lintel")
        self.assertEqual((self.show("ActiveState"), self.show("Result")), ("inactive", "success"))
        self.assertFalse((pathlib.Path(f"/proc/{self.root.init}/root") / "run/lintel").exists())
        self.root.run("systemctl", "start", "lintel")
        self.wait_served()
        self.assertIn("active   active\n", self.root.run("lintel", "service", "status"))
        self.root.run("apt-get", "-y", "purge", "lintel")
        left = self.root.run("find", "/etc", "/usr", "/var/lib", "/var/log", "/run", "-xdev", "-name", "*lintel*").split()
        self.assertEqual([path for path in left if "/journal" not in path], [])
        self.assertEqual((self.show("LoadState"), self.show("ActiveState")), ("not-found", "inactive"))


if __name__ == "__main__":
    unittest.main()
