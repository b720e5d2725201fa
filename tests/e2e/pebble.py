"""A private ACME issuer for tests: Debian's pebble and pebble-challtestsrv, each with ports and certificates of its own.

    with Pebble(folder) as pebble:              # an issuer that gives certificates after real challenges
        pebble.directory                        # its directory URL (https; pebble.ca_file vouches for it)
        pebble.add_a("app.test", "127.0.0.1")   # the DNS that the issuer sees; every other name is 127.0.0.1 too
        pebble.http_port, pebble.tls_port       # where it looks for http-01 and tls-alpn-01
        pebble.restart(keep=False)              # a new process that has forgotten every account

The issuer connects to challenges on http_port and tls_port of the address that the mock DNS names. When nobody else
answers there, pebble.challenge_server=True lets challtestsrv do it: add_http01, add_tlsalpn01, add_dns01.
"""
import json
import os
import pathlib
import ssl
import subprocess
import urllib.request

from lintel_test import CertificateAuthority, end_process, free_port, wait_until

EAB_KEYS = {"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}


class Pebble:
    def __init__(self, folder, nonce_reject=0, va_sleep=None, authz_reuse=0, eab=False, challenge_server=False,
                 http_port=None, tls_port=None, validity_s=None, strict=False, wrapper=(), ocsp_url=""):
        """`nonce_reject`, `authz_reuse`: percent. `va_sleep`: the validation takes up to so many seconds; None: at
        once. `wrapper`: words before the command ("faketime", …)."""
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        ca = CertificateAuthority(self.folder / "pebble-ca", "Pebble's own CA")
        self.ca_file = ca.cert
        certificate, key = ca.issue("localhost", "127.0.0.1", days=3650)
        self.port, self.management_port = free_port(), free_port()
        self.dns_port, self.dns_management_port = free_port(), free_port()
        self.http_port, self.tls_port = http_port or free_port(), tls_port or free_port()
        self.challenge_server, self.strict, self.wrapper = challenge_server, strict, list(wrapper)
        self.directory = f"https://127.0.0.1:{self.port}/dir"
        self.environment = dict(os.environ, PEBBLE_WFE_NONCEREJECT=str(nonce_reject),
                                PEBBLE_AUTHZREUSE=str(authz_reuse))
        if va_sleep is None:
            self.environment["PEBBLE_VA_NOSLEEP"] = "1"
        else:
            self.environment["PEBBLE_VA_SLEEPTIME"] = str(va_sleep)
        config = {"listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.management_port}",
                  "certificate": certificate, "privateKey": key, "httpPort": self.http_port, "tlsPort": self.tls_port,
                  "ocspResponderURL": ocsp_url, "externalAccountBindingRequired": eab}
        if eab:
            config["externalAccountMACKeys"] = EAB_KEYS
        if validity_s:
            config["certificateValidityPeriod"] = validity_s
        self.config_path = self.folder / "pebble.json"
        self.config_path.write_text(json.dumps({"pebble": config}))
        self.log_path = self.folder / "pebble.log"
        self.context = ssl.create_default_context(cafile=self.ca_file)
        self.server = self.dns = None

    def __enter__(self):
        with open(self.folder / "challtestsrv.log", "ab") as log:
            on = self.challenge_server
            self.dns = subprocess.Popen(
                ["pebble-challtestsrv", "-defaultIPv6", "", "-dns01", f"127.0.0.1:{self.dns_port}",
                 "-management", f"127.0.0.1:{self.dns_management_port}", "-https01", "",
                 "-http01", f"127.0.0.1:{self.http_port}" if on else "",
                 "-tlsalpn01", f"127.0.0.1:{self.tls_port}" if on else ""],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.start()
        wait_until(lambda: self._alive(self.dns) and self._manages(),
                   "pebble-challtestsrv", 60)
        return self

    def __exit__(self, *exception):
        self.stop()
        end_process(self.dns)

    def start(self):
        with open(self.log_path, "ab") as log:
            self.server = subprocess.Popen(
                [*self.wrapper, "pebble", "-config", str(self.config_path), "-dnsserver", f"127.0.0.1:{self.dns_port}",
                 *(["-strict"] if self.strict else [])],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: self._alive(self.server) and self._answers(), "pebble", 60)

    def stop(self):
        end_process(self.server)

    def restart(self):
        """Everything that it knew (accounts, orders, its roots) is gone."""
        self.stop()
        self.start()

    def root(self):
        """The root certificate of what it issues, as PEM. A new one with each start."""
        return self._get(f"https://127.0.0.1:{self.management_port}/roots/0").decode()

    def intermediate(self):
        """The certificate that issues, and its key, as PEM."""
        return [self._get(f"https://127.0.0.1:{self.management_port}/{what}/0").decode()
                for what in ("intermediates", "intermediate-keys")]

    def certificate_status(self, serial_hex):
        return json.loads(self._get(f"https://127.0.0.1:{self.management_port}/cert-status-by-serial/{serial_hex}"))

    def log(self):
        return self.log_path.read_text(errors="replace")

    # --- the DNS that the issuer sees
    def add_a(self, host, *addresses):
        self._manage("add-a", {"host": host + ".", "addresses": list(addresses)})

    def add_aaaa(self, host, *addresses):
        self._manage("add-aaaa", {"host": host + ".", "addresses": list(addresses)})

    def set_servfail(self, host):
        self._manage("set-servfail", {"host": host + "."})

    def clear_servfail(self, host):
        self._manage("clear-servfail", {"host": host + "."})

    def add_dns01(self, host, value):
        self._manage("set-txt", {"host": f"_acme-challenge.{host}.", "value": value})

    def clear_dns01(self, host):
        self._manage("clear-txt", {"host": f"_acme-challenge.{host}."})

    # --- challenges that challtestsrv answers itself
    def add_http01(self, token, key_authorization):
        self._manage("add-http01", {"token": token, "content": key_authorization})

    def add_tlsalpn01(self, host, key_authorization):
        self._manage("add-tlsalpn01", {"host": host, "content": key_authorization})

    @property
    def management(self):
        """challtestsrv's HTTP interface, for programs that set challenges themselves."""
        return f"http://127.0.0.1:{self.dns_management_port}"

    def _manage(self, path, body):
        request = urllib.request.Request(f"{self.management}/{path}", json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def _manages(self):
        try:
            self._manage("set-default-ipv4", {"ip": "127.0.0.1"})
            return True
        except OSError:
            return False

    def _get(self, url):
        with urllib.request.urlopen(url, timeout=10, context=self.context) as answer:
            return answer.read()

    def _answers(self):
        try:
            return self._get(self.directory)
        except OSError:
            return None

    @staticmethod
    def _alive(process):
        if process.poll() is not None:
            raise AssertionError(f"{process.args[0]} ended with {process.returncode}")
        return True
