"""`lintel service` without a running systemd: the unit that it writes, into an image (--root) or to the terminal
(--dry-run), and what systemd's own tools say about it. test_package_boot_full.py has the same with a systemd that runs."""
import re
import stat
import subprocess

from lintel_test import *  # noqa: F403

EXPOSURE_ABOVE = 1.5  # docs/operations.md states the score


def lintel(*arguments):
    return subprocess.run([LINTEL, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


class Service(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="lintel-service-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.root = self.folder / "image"
        (self.root / "etc").mkdir(parents=True)
        self.unit = self.root / "etc/systemd/system/lintel.service"

    def run_fine(self, *arguments):
        done = lintel(*arguments)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def files(self):
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if not path.is_dir())

    def config(self, **server):
        file = self.folder / "lintel.toml"
        file.write_text(toml({"https": "127.0.0.1:8443", "http": "127.0.0.1:8080", **server},
                             [{"hosts": ["a.test"], "certificate": "self-signed", "to": "8000"}]))
        return file

    def test_install_again_and_uninstall_leave_what_they_found(self):
        said = self.run_fine("service", "install", "--root", str(self.root))
        self.assertIn(f"wrote {self.unit}", said)
        link = self.root / "etc/systemd/system/multi-user.target.wants/lintel.service"
        self.assertTrue(link.is_symlink())
        self.assertEqual(stat.S_IMODE(self.unit.stat().st_mode), 0o644)
        self.assertRegex((self.root / "etc/passwd").read_text(), r"(?m)^lintel:.*:/var/lib/lintel:.*nologin$")
        self.assertEqual(lintel("service", "status", "--root", str(self.root)).returncode, 0)

        before = self.unit.stat().st_mtime_ns
        self.assertIn("is as it should be", self.run_fine("service", "install", "--root", str(self.root)))
        self.assertEqual(self.unit.stat().st_mtime_ns, before)

        self.run_fine("service", "install", "--root", str(self.root), "--config", "/srv/other.toml")
        self.assertIn("ExecStart=/usr/bin/lintel serve -c /srv/other.toml\n", self.unit.read_text())

        (self.root / "var/lib/lintel").mkdir(parents=True)
        self.assertIn(f"left: {self.root}/var/lib/lintel", self.run_fine("service", "uninstall", "--root", str(self.root)))
        left = [file for file in self.files() if "passwd" not in file and "group" not in file and "shadow" not in file]
        self.assertEqual([file for file in left if not file.endswith(".pwd.lock")], [])
        self.assertIn("there is no", self.run_fine("service", "uninstall", "--root", str(self.root)))
        self.assertEqual(lintel("service", "status", "--root", str(self.root)).returncode, 1)

    def test_a_file_of_shares_is_a_service_of_its_own(self):
        unit = self.unit.with_name("lintel-share.service")
        self.run_fine("service", "install", "--share", "/etc/lintel/share.toml", "--root", str(self.root))
        self.assertIn("ExecStart=/usr/bin/lintel share -c /etc/lintel/share.toml --json\n", unit.read_text())
        self.assertFalse(self.unit.exists())
        self.run_fine("service", "uninstall", "--share", "--root", str(self.root))
        self.assertFalse(unit.exists())
        file = self.folder / "share.toml"
        file.write_text('edge = "t.example.com"\n[[share]]\ntarget = 5000\n')
        done = lintel("service", "install", "--share", str(file), "--dry-run")
        self.assertEqual(done.returncode, 2)
        self.assertIn("needs token_file", done.stderr)

    def test_a_unit_that_somebody_else_wrote_is_left_alone(self):
        self.unit.parent.mkdir(parents=True)
        self.unit.write_text("[Service]\nExecStart=/usr/bin/other\n")
        for verb in ("install", "uninstall"):
            done = lintel("service", verb, "--root", str(self.root))
            self.assertEqual(done.returncode, 3)
            self.assertIn("was not written by Lintel", done.stderr)
        self.assertEqual(self.unit.read_text(), "[Service]\nExecStart=/usr/bin/other\n")

    def test_the_unit_of_the_package_is_enabled_rather_than_written_again(self):
        packaged = self.root / "lib/systemd/system/lintel.service"
        packaged.parent.mkdir(parents=True)
        shutil.copy(ROOT / "packaging/systemd/lintel.service", packaged)
        self.run_fine("service", "install", "--root", str(self.root))
        self.assertFalse(self.unit.exists())
        self.assertTrue((self.unit.parent / "multi-user.target.wants/lintel.service").is_symlink())

    def test_without_systemd_it_refuses_and_says_what_is_missing(self):
        if pathlib.Path("/run/systemd/system").exists() or os.geteuid() != 0:  # then only the refusal of non-root is safe
            command = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
            expected = "needs root"
        else:
            command, expected = [], "was not started by systemd"
        for verb in ("install", "uninstall"):
            done = subprocess.run([*command, LINTEL, "service", verb], capture_output=True, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stdout), (3, ""), done.stderr)
            self.assertIn(expected, done.stderr)

    def test_dry_run_prints_the_unit_for_the_configuration_and_refuses_one_that_is_not_valid(self):
        logs = self.folder / "logs"
        logs.mkdir()
        config = self.config(access_log=str(logs / "access.log"))
        done = lintel("service", "install", "--dry-run", "--config", str(config))
        # Its own folder is below /tmp, which the service does not see.
        self.assertIn(f" serve -c {config}\n", done.stdout)
        self.assertIn(f"\nReadWritePaths={logs}\n", done.stdout)
        if str(self.folder).startswith(("/tmp/", "/var/tmp/")):
            self.assertEqual(done.returncode, 2)
            self.assertIn("has its own, empty /tmp", done.stderr)
        config.write_text("[[site]]\nhots = 1\n")
        done = lintel("service", "install", "--dry-run", "--config", str(config))
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn('did you mean "hosts"', done.stderr)

    def test_systemd_accepts_the_unit_and_finds_little_exposed(self):
        self.run_fine("service", "install", "--root", str(self.root))
        text = self.unit.read_text().replace("/usr/bin/lintel ", f"{os.path.realpath(LINTEL)} ")
        # The pages are checked by the test of the package, which has them installed.
        file = self.folder / "lintel.service"
        file.write_text(re.sub(r"(?m)^Documentation=.*\n", "", text))
        done = subprocess.run(["systemd-analyze", "verify", "--recursive-errors=no", str(file)], capture_output=True,
                              text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", str(file)],
                              capture_output=True, text=True, timeout=60)
        score = re.search(r"Overall exposure level for lintel.service: ([0-9.]+)", done.stdout)
        self.assertIsNotNone(score, done.stdout + done.stderr)
        self.assertLessEqual(float(score.group(1)), EXPOSURE_ABOVE, done.stdout)


if __name__ == "__main__":
    unittest.main()
