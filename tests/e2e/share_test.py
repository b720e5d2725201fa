"""Helpers for tests of `lintel share`."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

from lintel_test import LINTEL, CertificateAuthority, Lintel, Origin, end_process, wait_until

TOKEN = "lt_k3k3k3k3_" + "s" * 43


class Share(Lintel):
    """`lintel share …` with a home of its own. `events` are those of --json, else use stdout() and stderr()."""

    def __init__(self, folder, *args, edge=None, ca=None, token=TOKEN, json_=True, command=(), env=None, **options):
        self.home = pathlib.Path(folder)
        self.home.mkdir(parents=True, exist_ok=True)
        words = ["share", *args]
        if edge:
            words += ["--edge", edge]
        if ca:
            words += ["--ca-file", ca]
        if json_:
            words.append("--json")
        if command:
            words += ["--", *command]
        environment = {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"),
                       "XDG_CACHE_HOME": str(self.home / "cache"), **({"LINTEL_TOKEN": token} if token else {}),
                       **(env or {})}
        super().__init__(words, self.home, env=environment, **options)

    def events(self, kind=None):
        lines = [json.loads(line) for line in self.stdout().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if kind in (None, line["event"])]

    def wait_event(self, kind, count=1, seconds=30):
        """The count-th event of this kind."""
        def look():
            found = self.events(kind)
            if len(found) >= count:
                return found[count - 1]
            if self.process.poll() is not None:
                raise AssertionError(f"lintel share exited with {self.process.returncode}:\n{self.stderr()[-3000:]}")
            return None
        return wait_until(look, f"event {kind} number {count}; there are {self.events()[-5:]}", seconds)

    def wait_stderr(self, pattern, seconds=30):
        return wait_until(lambda: re.search(pattern, self.stderr()), f"{pattern!r} on stderr", seconds)


class ShareTestCase(unittest.TestCase):
    """A certificate authority and a recording app for the class, a folder for each test."""

    @classmethod
    def setUpClass(cls):
        cls.class_folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-share-"))
        cls.addClassCleanup(shutil.rmtree, cls.class_folder, True)
        cls.ca = CertificateAuthority(cls.class_folder / "ca")
        cls.origin = Origin()
        cls.addClassCleanup(cls.origin.stop)

    def setUp(self):
        self.origin.reset()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-share-"))
        self.addCleanup(shutil.rmtree, self.folder, True)

    def share(self, *args, home="home", **options):
        """Started, and ended with the test, which it must survive without a sanitizer's word."""
        options.setdefault("ca", self.ca.cert)
        share = Share(self.folder / home, *args, **options)

        def end():
            if share.process.poll() is None:
                share.stop(number=signal.SIGTERM)
            share.check_sanitizers()
        self.addCleanup(end)
        return share


__all__ = [name for name in dir() if not name.startswith("_")]
