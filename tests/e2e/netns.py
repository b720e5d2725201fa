"""Computers of a test's own: network namespaces on one Ethernet switch, whose cables can be pulled. Needs root.

    with Network(laptop="198.18.0.2", edge="198.18.0.1") as net:
        net.laptop.popen(["lintel", "share", …])       # a program that runs on that computer
        with net.visitor.entered():                    # this thread is there: its sockets, the programs it starts
            …
        net.laptop.pull_cable()                        # no carrier at the laptop, silence for everybody else
        net.laptop.plug_in()
        net.laptop.change_address("198.18.0.9")

The namespaces have no names and belong to processes of ours: whatever happens to the test, nothing of them stays.
"""
import contextlib
import ctypes
import os
import pathlib
import subprocess
import tempfile

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
# 198.18.0.0/15 is for tests of network devices (RFC 2544): not loopback, not private, and nobody's.
PREFIX_LENGTH = 24


def _setns(descriptor):
    if LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


class Namespace:
    """A network of its own, with loopback only."""

    def __init__(self, name, hosts_file=None):
        if os.geteuid() != 0:
            raise AssertionError("network namespaces need root: run the test as root (as_root() of lintel_test)")
        self.name, self.hosts_file = name, hosts_file
        # Lives until its stdin closes, which the end of this process does as well.
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if self.holder.stdout.readline() != b"ready\n":
            raise AssertionError(f"no network namespace: {self.holder.communicate(timeout=10)[1].decode(errors='replace')}")
        self.path = f"/proc/{self.holder.pid}/ns/net"
        self.descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def ip(self, *arguments):
        """The `ip` program in this namespace."""
        done = subprocess.run(["nsenter", f"--net={self.path}", "ip", *arguments], capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            raise AssertionError(f"{self.name}: ip {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    @contextlib.contextmanager
    def entered(self):
        """The calling thread is in the namespace: sockets that it makes and programs that it starts belong to it, also
        later and in other threads."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(self.descriptor)
            yield self
        finally:
            _setns(before)
            os.close(before)

    def command(self, command):
        """The command line that runs `command` here, with our names in /etc/hosts. It stays one process."""
        inside = ["nsenter", f"--net={self.path}"]
        if self.hosts_file is not None:
            inside += ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                       'mount --bind "$0" /etc/hosts && exec "$@"', str(self.hosts_file)]
        return inside + [str(part) for part in command]

    def popen(self, command, **options):
        return subprocess.Popen(self.command(command), **options)

    def run(self, command, **options):
        return subprocess.run(self.command(command), **options)

    def stop(self):
        with contextlib.suppress(OSError):
            os.close(self.descriptor)
        self.holder.stdin.close()
        self.holder.stdout.close()
        self.holder.stderr.close()
        self.holder.wait(10)


class Computer(Namespace):
    """A namespace with one cable to the switch of its Network."""

    def __init__(self, network, name, address):
        super().__init__(name, network.hosts_file)
        self.network, self.address, self.port = network, address, f"p-{name}"[:15]
        switch = network.switch
        switch.ip("link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        switch.ip("link", "set", self.port, "master", "br0", "up")
        self.ip("link", "set", "eth0", "up")
        self.ip("address", "add", f"{address}/{PREFIX_LENGTH}", "dev", "eth0")

    def pull_cable(self):
        """Like a cable: the computer keeps its address and sees no carrier; the others see silence, no reset."""
        self.network.switch.ip("link", "set", self.port, "down")

    def plug_in(self):
        self.network.switch.ip("link", "set", self.port, "up")

    def change_address(self, address):
        """What another Wi-Fi does: connections from the old address are dead, and nobody is told."""
        self.ip("address", "flush", "dev", "eth0", "scope", "global")
        self.address = address
        self.ip("address", "add", f"{address}/{PREFIX_LENGTH}", "dev", "eth0")


class Network:
    """Computers by name, each with its address; `names` go to the hosts file of all of them: {name: address}."""

    def __init__(self, names=None, **computers):
        self.stack = contextlib.ExitStack()
        self.computers = {}
        try:
            handle, path = tempfile.mkstemp(prefix="lintel-hosts-")
            self.stack.callback(os.unlink, path)
            os.close(handle)
            self.hosts_file = pathlib.Path(path)
            self.hosts_file.chmod(0o644)
            self.set_names(names or {})
            self.switch = Namespace("switch")
            self.stack.callback(self.switch.stop)
            self.switch.ip("link", "add", "br0", "type", "bridge")
            self.switch.ip("link", "set", "br0", "up")
            for name, address in computers.items():
                computer = Computer(self, name, address)
                self.stack.callback(computer.stop)
                self.computers[name] = computer
        except BaseException:
            self.stack.close()
            raise

    def __getattr__(self, name):
        try:
            return self.__dict__["computers"][name]
        except KeyError:
            raise AttributeError(name) from None

    def set_names(self, names):
        """Written in place: programs that run see it at their next look-up."""
        lines = ["127.0.0.1 localhost", "::1 localhost"] + [f"{address} {name}" for name, address in names.items()]
        self.hosts_file.write_text("\n".join(lines) + "\n")

    def stop(self):
        self.stack.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
