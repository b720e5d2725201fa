"""What the tests of the examples' stories share: one local CA, a proxy as people write it, and a copy of an example."""
import contextlib
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import textwrap
import threading
import unittest

from browser import Driver, trust
from dev_test import PATIENCE, PYTHON, Dev, listens
from lintel_test import LINTEL, ROOT, end_process, free_port, wait_until

EXAMPLES = ROOT / "examples"
PYTHON_PACKAGES = pathlib.Path(LINTEL).resolve().parent / "python"  # lintel_forwarded, as the build made it
NODE_MODULES = ROOT / "tests/node/node_modules"
MARK = re.compile("^(#|//) The line that Lintel names goes here[.]$", re.MULTILINE)
BARE_PYTHON = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


class PlainProxy:
    """Ends TLS and passes the octets on, as they are: no header added, none removed."""

    def __init__(self, port, certificate, key, app_port):
        self.app_port = app_port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=self.listener.accept()[:1], daemon=True).start()

    def _serve(self, plain):
        with contextlib.suppress(OSError), self.context.wrap_socket(plain, server_side=True) as client, \
                socket.create_connection(("127.0.0.1", self.app_port)) as app:
            threading.Thread(target=self._copy, args=(app, client), daemon=True).start()
            self._copy(client, app)

    @staticmethod
    def _copy(source, target):
        with contextlib.suppress(OSError):
            while octets := source.recv(65536):
                target.sendall(octets)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def stop(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class StoryTestCase(unittest.TestCase):
    """One address for all tests of the class (a registered redirect URI names it), served by one thing after another
    with certificates of the same CA, so that the forwarded headers are all that differs."""

    EXAMPLE = ""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-story-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.environment = {"NO_PROXY": "localhost,127.0.0.1"}  # of every app
        cls.data = cls.folder / "data"
        cls.root = cls.data / "lintel/ca/root.pem"
        cls.host = f"{cls.EXAMPLE}.localhost"
        subprocess.run([LINTEL, "cert", "new", cls.host, "--out", str(cls.folder)], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "XDG_DATA_HOME": str(cls.data)})
        cls.port = free_port()
        cls.url = f"https://{cls.host}:{cls.port}"

    @classmethod
    def copy_example(cls, file=None, fix=None):
        """The example's folder, with `fix` in place of the comment in `file` that marks where it goes."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{cls.EXAMPLE}-", dir=cls.folder))
        shutil.copytree(EXAMPLES / cls.EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
        (folder / "node_modules").symlink_to(NODE_MODULES)
        if fix:
            source = (folder / file).read_text()
            source, count = MARK.subn(lambda _: fix, source)
            if count != 1:
                raise AssertionError(f"{count} marks in {file}")
            (folder / file).write_text(source)
        return folder

    @classmethod
    def start(cls, cleanup, command, folder, port, env=None):
        """A process of the test's own that listens on `port` of this machine; `cleanup` will end it."""
        log = open(folder / "output.log", "wb")
        cleanup(log.close)
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   env={**os.environ, **BARE_PYTHON, **cls.environment, "PORT": str(port), **(env or {})})
        cleanup(end_process, process)

        def up():
            if process.poll() is not None:
                raise AssertionError(f"{command} ended:\n{(folder / 'output.log').read_text()}")
            return listens(port)
        wait_until(up, f"{command} to listen", PATIENCE)

    def behind_plain_proxy(self, command, folder, app_port=None):
        app_port = app_port or free_port()
        self.start(self.addCleanup, command, folder, app_port)
        proxy = PlainProxy(self.port, self.folder / f"{self.host}.pem", self.folder / f"{self.host}-key.pem", app_port)
        self.addCleanup(proxy.stop)

    def behind_lintel(self, command, folder):
        dev = Dev(self, *command, options=["--name", self.EXAMPLE], cwd=folder, port=self.port,
                  data=self.data, env=self.environment)
        dev.wait_for("forwarding to")
        return dev

    def assert_names_the_line(self, dev, fix):
        """The one finding's lines, as they are printed, are those with which the other tests show that it works."""
        found = re.findall(r"^        fix: .*:\n((?: {13}.*\n)+)", dev.output(), re.MULTILINE)
        self.assertEqual([textwrap.dedent(lines).rstrip() for lines in found], [fix], dev.output())


class BrowserStoryTestCase(StoryTestCase):
    """With a browser that knows the CA, and forgets its cookies before each test."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.driver = Driver(cls.folder)
        cls.addClassCleanup(cls.driver.stop)
        trust(cls.driver.home, cls.root)
        cls.driver.start()

    def setUp(self):
        self.driver.forget()


__all__ = [name for name in dir() if not name.startswith("_")]
