"""The Debian package of this build, installed by apt with its maintainer scripts in a clean Debian system, used there, and
removed. What would break: an upgrade that loses an edited file, a purge that leaves keys behind or takes what is not
the package's, a dependency that is not named."""
import gzip
import ssl
import subprocess
import urllib.request

from clean_root import CleanRoot, build_package
from lintel_test import *  # noqa: F403

SHIPPED = {
    "/usr/bin/lintel": "755 root:root",
    "/lib/systemd/system/lintel.service": "644 root:root",
    "/etc/lintel/lintel.toml": "644 root:root",
    "/etc/logrotate.d/lintel": "644 root:root",
    "/usr/share/man/man1/lintel.1.gz": "644 root:root",
    "/usr/share/man/man5/lintel.toml.5.gz": "644 root:root",
    "/usr/share/bash-completion/completions/lintel": "644 root:root",
    "/usr/share/zsh/vendor-completions/_lintel": "644 root:root",
    "/usr/share/fish/vendor_completions.d/lintel.fish": "644 root:root",
    "/usr/share/doc/lintel/copyright": "644 root:root",
    "/usr/share/doc/lintel/changelog.gz": "644 root:root",
    "/usr/share/doc/lintel/changelog.Debian.gz": "644 root:root",
    "/usr/share/doc/lintel/configuration.md": "644 root:root",
}
# Made by the maintainer scripts.
MADE = {"/var/lib/lintel": "700 lintel:lintel", "/var/log/lintel": "750 lintel:adm"}


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="lintel-package-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.package = build_package(cls.folder)
        cls.root = CleanRoot()
        cls.addClassCleanup(cls.root.remove)
        cls.before = cls.root.snapshot()
        cls.root.install(cls.package)
        cls.installed = cls.root.snapshot()

    def test_1_installs_its_files_user_and_folders(self):
        for path, expected in (SHIPPED | MADE).items():
            with self.subTest(path):
                where = path if path in self.installed else "/usr" + path  # where /lib is a link to /usr/lib
                _, mode, owner, *_ = self.installed.get(where, ("", "missing", ""))
                self.assertEqual(f"{mode} {owner}", expected)
        self.assertRegex(self.root.read("/etc/passwd"), r"(?m)^lintel:x:\d+:\d+:Lintel.*:/var/lib/lintel:/usr/sbin/nologin$")
        self.assertEqual(self.root.run("systemctl", "is-enabled", "lintel.service").strip(), "enabled")
        changed = {path for path in self.before if self.installed.get(path) != self.before[path]}
        self.assertEqual(changed - {"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"}, set())

    def test_2_the_shipped_configuration_and_unit_are_valid(self):
        self.assertIn("/etc/lintel/lintel.toml: fine", self.root.run("lintel", "check"))
        self.assertEqual(self.root.run("systemd-analyze", "verify", "--man=no", "lintel.service"), "")
        self.assertIn("Apache-2.0", self.root.read("/usr/share/doc/lintel/copyright"))
        version = self.root.run("lintel", "version").split()[1]
        with gzip.open(self.root.path / "usr/share/doc/lintel/changelog.Debian.gz", "rt") as text:
            self.assertIn(f"lintel ({version}-1)", text.readline())

    def test_3_serves_as_its_user_with_one_capability(self):
        origin = Origin(respond=lambda request: answer(200, b"from the app"))
        self.addCleanup(origin.close)
        https, http = free_port(), free_port()
        text = self.root.read("/etc/lintel/lintel.toml")
        for old, new in (("8443", https), ("8080", http), ("127.0.0.1:8000", f"127.0.0.1:{origin.port}")):
            self.assertIn(old, text)
            text = text.replace(old, str(new))
        self.root.write("/tmp/moved.toml", text)
        command = self.root.command(
            "setpriv", "--reuid=lintel", "--regid=lintel", "--init-groups", "--no-new-privs",
            "--inh-caps=-all,+net_bind_service", "--ambient-caps=+net_bind_service",
            "--bounding-set=-all,+net_bind_service", "lintel", "serve", "-c", "/tmp/moved.toml")
        with open(self.folder / "serve.log", "wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            context = ssl._create_unverified_context()
            self.assertEqual(self.fetch(f"https://localhost:{https}/", process, context), b"from the app")
        finally:
            process.terminate()
            self.assertEqual(process.wait(60), 0, (self.folder / "serve.log").read_text())

    def fetch(self, url, process, context):
        def ask():
            self.assertIsNone(process.poll(), (self.folder / "serve.log").read_text())
            try:
                with urllib.request.urlopen(url, context=context, timeout=10) as response:
                    return response.read()
            except OSError:
                return None
        return wait_until(ask, f"an answer from {url}", 60)

    def test_4_an_upgrade_keeps_what_the_administrator_wrote_and_what_lintel_keeps(self):
        self.root.write("/etc/lintel/lintel.toml", self.root.read("/etc/lintel/lintel.toml") + "# edited\n")
        self.root.write("/var/lib/lintel/account.key", "secret")
        self.root.run("systemctl", "disable", "lintel.service")
        self.root.run("chmod", "0711", "/var/log/lintel")
        shutil.copy(self.package, self.root.path / "tmp/lintel.deb")
        self.root.run("dpkg", "--force-confold", "-i", "/tmp/lintel.deb")
        self.assertTrue(self.root.read("/etc/lintel/lintel.toml").endswith("# edited\n"))
        self.assertEqual(self.root.read("/var/lib/lintel/account.key"), "secret")
        self.assertEqual(self.root.run("stat", "-c", "%a", "/var/log/lintel").strip(), "711")
        self.assertEqual(self.root.run("systemctl", "is-enabled", "lintel.service", code=1).strip(), "disabled")

    def test_5_removal_keeps_configuration_and_state_and_purge_leaves_nothing(self):
        self.root.write("/var/lib/lintel/account.key", "secret")
        self.root.run("apt-get", "-y", "remove", "lintel")
        left = {path for path in self.root.snapshot() if path not in self.before}
        self.assertEqual({path for path in left if "lintel" in path and "systemd" not in path},
                         {"/etc/lintel", "/etc/lintel/lintel.toml", "/etc/logrotate.d/lintel", "/var/lib/lintel",
                          "/var/lib/lintel/account.key", "/var/log/lintel"})
        self.root.run("apt-get", "-y", "purge", "lintel")
        after = self.root.snapshot()
        differing = {path: (self.before.get(path), after.get(path)) for path in self.before.keys() | after.keys()
                     if self.before.get(path) != after.get(path)}
        self.assertEqual(differing, {})


if __name__ == "__main__":
    unittest.main()
