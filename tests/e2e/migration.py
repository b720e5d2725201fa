"""For test_migration*.py: the examples of docs/from-nginx.md and docs/from-caddy.md, and the servers that run them."""
import pathlib
import re
import subprocess
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import crypt

from lintel_test import *

ORIGIN_PORTS = ("8000", "8001", "8002")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.S | re.M)


def examples(document):
    """{name: {language: text}} of the code blocks below each <!-- example: name -->."""
    found = {}
    for part in (ROOT / "docs" / document).read_text().split("<!-- example: ")[1:]:
        name, rest = part.split(" -->", 1)
        rest = rest.split("\n### ")[0].split("\n## ")[0]
        found[name] = {language: text for language, text in FENCE.findall(rest)}
    return found


class World:
    """The apps, certificate and paths that stand for those that the examples name."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.ca = CertificateAuthority(self.folder / "ca")
        self.certificate, self.key = self.ca.issue("example.com", "www.example.com")
        self.apps = {port: Origin() for port in ORIGIN_PORTS}
        self.socket_path = str(self.folder / "app.sock")
        self.socket_app = Origin(unix_path=self.socket_path)
        self.hash = crypt.crypt("secret", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=32))
        self.users = self.folder / "users"
        self.users.write_text(f"ann:{self.hash}\n")

    def stop(self):
        for app in [*self.apps.values(), self.socket_app]:
            app.stop()

    def reset(self):
        for app in [*self.apps.values(), self.socket_app]:
            app.reset()

    def fill_in(self, text):
        """The example with this world's ports and paths."""
        for port, app in self.apps.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{app.port}")
        for written, real in (("/etc/ssl/example.com.pem", self.certificate),
                              ("/etc/ssl/private/example.com.key", self.key), ("/run/app.sock", self.socket_path), ("/etc/site/clients.pem", self.ca.cert),
                              ("/etc/site/users", str(self.users)), ("ann HASH", "ann " + self.hash)):
            text = text.replace(written, real)
        return text


class Side:
    """One of the two servers. https and http are its ports."""

    def __init__(self, world, folder):
        self.world, self.folder = world, pathlib.Path(folder)
        self.folder.mkdir()
        self.https, self.http = free_port(), free_port()
        self.process = None

    def start(self, command, ports, **options):
        log = open(self.folder / "output.log", "ab")
        with log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                            **options)
        for port in ports:
            wait_until(lambda p=port: self._listens(p), f"{command[0]} to listen on {port}", 60)
        return self

    def _listens(self, port):
        if self.process.poll() is not None:
            raise AssertionError(f"it ended:\n{self.output()}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def output(self):
        return (self.folder / "output.log").read_text(errors="replace")[-3000:]

    def stop(self):
        if self.process is not None:
            end_process(self.process)

    def client(self, tls=True, **options):
        return RawClient(self.https if tls else self.http, tls=tls, sni="example.com", **options)

    def fetch(self, path="/", headers=(), tls=True, host="example.com", method="GET", body=None):
        with self.client(tls) as client:
            return client.request(get(path, host=host, headers=headers, method=method, body=body))


class LintelSide(Side):
    name = "lintel"

    def run(self, text):
        server = toml({"https": [f"127.0.0.1:{self.https}"], "http": [f"127.0.0.1:{self.http}"], "workers": 1,
                       "state": str(self.folder / "state"), "access_log": "off"}, [])
        (self.folder / "lintel.toml").write_text(server + "\n" + self.world.fill_in(text))
        return self.start([LINTEL, "serve", "-c", "lintel.toml"], (self.https, self.http))


class NginxSide(Side):
    name = "nginx"

    def run(self, text):
        text = self.world.fill_in(text)
        text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{self.https} ssl")
        plain = "listen 80;" in text
        text = text.replace("listen 80;", f"listen 127.0.0.1:{self.http};")
        temporary = "".join(f"{kind}_temp_path {self.folder}/{kind};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;\n" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(
            f"{user}daemon off;\nmaster_process off;\npid {self.folder}/pid;\nerror_log {self.folder}/error.log;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{text}\n}}\n")
        ports = (self.https, self.http) if plain else (self.https,)
        return self.start(["nginx", "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder)], ports)


class CaddySide(Side):
    name = "caddy"

    def run(self, text):
        text = self.world.fill_in(text)
        (self.folder / "Caddyfile").write_text(
            f"{{\n\tadmin off\n\thttps_port {self.https}\n\thttp_port {self.http}\n\tdefault_bind 127.0.0.1\n"
            f"\tskip_install_trust\n}}\n{text}")
        return self.start(["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"], (self.https, self.http),
                          env=dict(os.environ, HOME=str(self.folder), XDG_DATA_HOME=str(self.folder),
                                   XDG_CONFIG_HOME=str(self.folder)))


__all__ = [name for name in dir() if not name.startswith("_")]
