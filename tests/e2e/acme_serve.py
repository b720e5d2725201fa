"""`lintel serve` with certificate = "acme" against a Pebble of the test's own."""
import os
import pathlib
import socket
import ssl
import subprocess

from lintel_test import LINTEL, end_process, free_port, toml_value, wait_until
from origin import Origin

HOOK = """#!/usr/bin/python3
import json, sys, urllib.request
action, record, value = sys.argv[-3:]
path, body = {"add": ("set-txt", {"host": record + ".", "value": value}),
              "remove": ("clear-txt", {"host": record + "."})}[action]
urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/" + path, json.dumps(body).encode(), method="POST"),
                       timeout=10).read()
with open(sys.argv[2], "a") as log:
    log.write(action + " " + record + "\\n")
"""


def served(name, port, root):
    """What a client that trusts only `root` (PEM) is shown for `name`: the certificate as DER, or None."""
    context = ssl.create_default_context(cadata=root)
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as raw:
            with context.wrap_socket(raw, server_hostname=name) as tls:
                return tls.getpeercert(binary_form=True)
    except (ssl.SSLError, OSError):
        return None


class AcmeServe:
    """Listens where `pebble` looks for challenges (or on ports of its own: `own_ports`)."""

    def __init__(self, folder, pebble, hosts, state=None, own_ports=False, wrapper=(), environment=None, site=None,
                 start=True, **acme):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state = pathlib.Path(state or self.folder / "state")
        self.http, self.https = (free_port(), free_port()) if own_ports else (pebble.http_port, pebble.tls_port)
        self.origin = Origin()
        self.wrapper, self.environment = list(wrapper), dict(os.environ, **(environment or {}))
        self.admin = self.folder / "admin.sock"
        settings = {"agree": True, "directory": pebble.directory, "ca_file": str(pebble.ca_file), **acme}
        lines = ["[server]", f'https = "127.0.0.1:{self.https}"', f'http = "127.0.0.1:{self.http}"',
                 f'state = "{self.state}"', f'admin = "unix:{self.admin}"', 'access_log = "off"', "workers = 1",
                 'user = "root"' if os.geteuid() == 0 else "", "[acme]"]
        lines += [f"{key} = {toml_value(value)}" for key, value in settings.items()]
        lines += ["[[site]]", f"hosts = {toml_value(list(hosts))}", 'certificate = "acme"', f'to = "{self.origin.url}"',
                  "public_ports = [%d, %d]" % (self.http, self.https)]
        lines += [f"{key} = {toml_value(value)}" for key, value in (site or {}).items()]
        self.config = self.folder / "lintel.toml"
        self.config.write_text("\n".join(lines) + "\n")
        self.log_path = self.folder / "lintel.log"
        self.process = None
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop()
        self.origin.stop()
        if exception[0] is not None:
            print(f"--- lintel's log:\n{self.log()[-4000:]}")

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*self.wrapper, LINTEL, "serve", "-c", str(self.config)], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, env=self.environment)
        wait_until(lambda: self.process.poll() is not None or self._listens(), "lintel serve", 60)
        if self.process.poll() is not None:
            raise AssertionError(f"lintel serve ended with {self.process.returncode}:\n{self.log()}")

    def stop(self):
        if self.process is not None:
            end_process(self.process)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def log(self):
        return self.log_path.read_text(errors="replace")

    def _listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.https), 5).close()
            return True
        except OSError:
            return False

    def served(self, name, root):
        return served(name, self.https, root)

    def wait_served(self, name, root, seconds=90):
        return wait_until(lambda: self.served(name, root), f"a certificate of {name}", seconds)

    def cli(self, *arguments):
        return subprocess.run([LINTEL, *arguments], capture_output=True, text=True, timeout=60, env=self.environment)


def write_hook(folder, pebble):
    """A dns_hook that sets records at challtestsrv, and the file where it notes its calls."""
    folder = pathlib.Path(folder)
    hook, log = folder / "hook", folder / "hook.log"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    return [str(hook), pebble.management, str(log)], log
