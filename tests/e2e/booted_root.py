"""The clean root of clean_root.py with its own systemd, started in namespaces of its own (process, mount, network, control
group) as a container would. Needs root with the right to mount."""
import os
import pathlib
import subprocess
import tempfile

from clean_root import AS_ROOT, CleanRoot
from lintel_test import wait_until

BOOT = r"""
set -e
echo 0 > "$2/cgroup.procs"
exec unshare --pid --fork --kill-child --mount --uts --ipc --net --cgroup bash -ec '
  mount --make-rprivate /
  mount --bind "$1" "$1"
  cd "$1"
  mount -t proc proc proc
  mount -t sysfs sysfs sys
  mount -t cgroup2 none sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs run
  mount -t tmpfs tmpfs tmp
  mount -t tmpfs -o mode=755 tmpfs dev
  for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
  mkdir dev/pts dev/shm
  mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  ip link set lo up
  mkdir old
  pivot_root . old
  umount -l /old
  rmdir /old
  exec env -i container=lintel PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --log-target=journal systemd.unit=multi-user.target
' boot "$1"
"""


class BootedRoot(CleanRoot):
    def __init__(self):
        super().__init__()
        self.groups = pathlib.Path(tempfile.mkdtemp(prefix="lintel-cgroup-"))
        subprocess.run([*AS_ROOT, "mount", "-t", "cgroup2", "none", self.groups], check=True)
        self.group = self.groups / self.path.name
        subprocess.run([*AS_ROOT, "mkdir", self.group], check=True)
        self.log = open(self.path.parent / (self.path.name + ".log"), "w+b")
        self.process = subprocess.Popen([*AS_ROOT, "bash", "-c", BOOT, "boot", str(self.path), str(self.group)],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        self.init = wait_until(self._init, "systemd to start", 60)
        wait_until(lambda: self._state() in ("running", "degraded"), "the system to be up", 120)

    def _said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def _init(self):
        if self.process.poll() is not None:
            raise AssertionError(f"systemd did not start ({self.process.returncode}):\n{self._said()[-2000:]}")
        for folder in pathlib.Path("/proc").iterdir():
            try:
                status = (folder / "status").read_text()
                if folder.name.isdigit() and "\nName:\tsystemd\n" in "\n" + status and self._is_ours(int(folder.name)):
                    return int(folder.name)
            except OSError:
                continue
        return None

    def _is_ours(self, pid):
        while pid > 1:
            if pid == self.process.pid:
                return True
            pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        return False

    def _state(self):
        return subprocess.run(self.command("systemctl", "is-system-running"), capture_output=True, text=True,
                              timeout=60).stdout.strip()

    def command(self, *words):
        if not hasattr(self, "init"):
            return super().command(*words)
        return [*AS_ROOT, "nsenter", f"--target={self.init}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
                "--root", "--wd=/", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
                "DEBIAN_FRONTEND=noninteractive", *words]

    def in_network(self, *words):
        """A program of this machine on the system's network."""
        return [*AS_ROOT, "nsenter", f"--target={self.init}", "--net", "--", *words]

    def remove(self):
        subprocess.run([*AS_ROOT, "kill", "-KILL", str(self.init)], check=False)
        self.process.wait(60)
        self.log.close()
        os.unlink(self.log.name)

        def removed():
            groups = sorted(self.group.rglob("*/"), key=lambda path: -len(path.parts))
            done = subprocess.run([*AS_ROOT, "rmdir", *(g for g in groups if g.is_dir()), self.group], capture_output=True)
            return done.returncode == 0
        wait_until(removed, "the control groups to be empty", 60)
        subprocess.run([*AS_ROOT, "umount", self.groups], check=True)
        self.groups.rmdir()
        super().remove()
