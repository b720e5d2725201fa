"""Headless Chromium, driven by chromedriver's HTTP interface. The CA goes to its own NSS database, so that certificates
are verified, not waved through."""
import contextlib
import json
import os
import subprocess
import urllib.request

from lintel_test import end_process, free_port, wait_until


class Driver:
    """The few commands of the WebDriver protocol that the tests need."""

    def __init__(self, folder, arguments=()):
        """`arguments`: more of them for Chromium."""
        self.port, self.arguments = free_port(), list(arguments)
        home = folder / "home"
        self.profile = folder / "profile"
        home.mkdir()
        self.log = open(folder / "chromedriver.log", "wb")
        self.process = subprocess.Popen(["chromedriver", f"--port={self.port}"], stdout=self.log, stderr=self.log,
                                        env=dict(os.environ, HOME=str(home), XDG_CONFIG_HOME=str(home / "config"),
                                                 XDG_CACHE_HOME=str(home / "cache")))
        self.home = home
        self.session = None

    def command(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answered:
                return json.load(answered)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.read()[:1500]!r}") from None

    def start(self):
        def ready():
            with contextlib.suppress(OSError):
                return self.command("GET", "/status")["ready"]
            return False
        wait_until(ready, "chromedriver", 30)
        args = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server",
                "--disable-default-apps", "--disable-extensions", f"--user-data-dir={self.profile}", *self.arguments]
        options = {"binary": "/usr/bin/chromium", "args": args}
        self.session = self.command("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options}}})["sessionId"]
        return self

    def open(self, url):
        self.command("POST", f"/session/{self.session}/url", {"url": url})

    def title(self):
        return self.command("GET", f"/session/{self.session}/title")

    def run(self, script):
        return self.command("POST", f"/session/{self.session}/execute/sync", {"script": script, "args": []})

    def text(self):
        return self.run("return document.body.innerText")

    def click(self, element_id):
        self.run(f"document.getElementById('{element_id}').click()")

    def cookies(self):
        """Those of the page that is open, by name."""
        return {cookie["name"]: cookie for cookie in self.command("GET", f"/session/{self.session}/cookie")}

    def forget(self):
        """Nothing of earlier pages: no cookies of any site."""
        self.command("POST", f"/session/{self.session}/goog/cdp/execute", {"cmd": "Network.clearBrowserCookies", "params": {}})

    def stop(self):
        if self.session:
            with contextlib.suppress(AssertionError, OSError):
                self.command("DELETE", f"/session/{self.session}")
        end_process(self.process)
        self.log.close()


def trust(home, ca_file):
    database = home / ".pki/nssdb"
    database.mkdir(parents=True)
    subprocess.run(["certutil", "-d", f"sql:{database}", "-N", "--empty-password"], check=True)
    subprocess.run(["certutil", "-d", f"sql:{database}", "-A", "-t", "C,,", "-n", "Lintel test CA", "-i", ca_file], check=True)
