"""A clean Debian system in a folder, from the tar file that scripts/clean-root makes (scripts/setup runs it), and the
package of this build. Needs root, or sudo that does not ask."""
import os
import pathlib
import shutil
import subprocess
import tempfile

from lintel_test import LINTEL, ROOT

BUILD = pathlib.Path(LINTEL).resolve().parent
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n", "--"]
# What every installation changes, whatever is installed: dpkg's and apt's own records.
RECORDS = ("/var/lib/dpkg/", "/var/log/dpkg.log", "/var/log/apt/", "/var/log/alternatives.log", "/var/cache/", "/var/lib/apt/", "/tmp/", "/run/", "/etc/passwd-", "/etc/group-",
           "/etc/shadow-", "/etc/gshadow-")


def build_package(folder):
    """The .deb of this build folder."""
    config = BUILD / "CPackConfig.cmake"
    done = subprocess.run(["cpack", "--config", str(config), "-B", str(folder)], capture_output=True, text=True,
                          timeout=240)
    packages = list(pathlib.Path(folder).glob("*.deb"))
    if done.returncode != 0 or len(packages) != 1:
        raise AssertionError(f"cpack: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return packages[0]


class CleanRoot:
    def __init__(self):
        tar = subprocess.run([ROOT / "scripts/clean-root", "--path"], check=True, capture_output=True,
                             text=True).stdout.strip()
        if not os.path.exists(tar):
            raise AssertionError(f"there is no {tar}; scripts/setup makes it, once, and needs the network for that")
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="lintel-root-", dir="/var/tmp"))
        subprocess.run([*AS_ROOT, "tar", "-C", self.path, "--numeric-owner", "-xpf", tar], check=True, timeout=240)

    def remove(self):
        subprocess.run([*AS_ROOT, "rm", "-rf", "--one-file-system", self.path], check=True, timeout=240)

    def command(self, *words):
        return [*AS_ROOT, "chroot", str(self.path), "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
                "DEBIAN_FRONTEND=noninteractive", *words]

    def run(self, *words, code=0):
        """Runs it in the system; its output. AssertionError when it does not end with `code`."""
        done = subprocess.run(self.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=240)
        if done.returncode != code:
            raise AssertionError(f"{words}: {done.returncode}\n{done.stdout}")
        return done.stdout

    def install(self, package):
        """With apt, which has no list to download from: what the package depends on must be there."""
        shutil.copy(package, self.path / "tmp/lintel.deb")
        said = self.run("apt-get", "-y", "install", "/tmp/lintel.deb")
        (self.path / "tmp/lintel.deb").unlink()
        return said

    def snapshot(self):
        """{path: (type, mode, owner, target or content)} of everything that is no record of dpkg."""
        listing = self.run("find", "/", "-xdev", "-printf", r"%p\t%y\t%m\t%u:%g\t%l\n")
        found = {}
        for line in listing.splitlines():
            path, *facts = line.split("\t")
            if not path.startswith(RECORDS):
                found[path] = tuple(facts)
        for path in ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"):
            found[path] += (self.run("cat", path),)
        return found

    def write(self, path, text):
        (self.path / path.lstrip("/")).write_text(text)

    def read(self, path):
        return (self.path / path.lstrip("/")).read_text()
