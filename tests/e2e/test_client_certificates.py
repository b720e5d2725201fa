"""Client certificates (mTLS) and TLS policies per site: who gets in, who does not, and what the app learns."""
import base64
import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lintel_test import *

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


class ClientAuthority:
    """Signs client certificates, also such as should not be accepted."""

    def __init__(self, folder, name):
        self.folder, self.name = pathlib.Path(folder), name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._build(self.subject, self.key.public_key(), authority=True)
        self.file = self._write(f"{name}-ca", self.certificate)
        self.count = 0

    def _write(self, name, *things):
        path = self.folder / f"{name}.pem"
        text = b""
        for thing in things:
            if isinstance(thing, x509.Certificate):
                text += thing.public_bytes(serialization.Encoding.PEM)
            else:
                text += thing.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                            serialization.NoEncryption())
        path.write_bytes(text)
        return str(path)

    def _build(self, subject, public_key, authority=False, usage=ExtendedKeyUsageOID.CLIENT_AUTH, ended=False, size=0):
        now = datetime.datetime.utcnow()
        end = now - datetime.timedelta(days=1) if ended else now + datetime.timedelta(days=5)
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.subject).public_key(public_key)
                   .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=9))
                   .not_valid_after(end).add_extension(x509.BasicConstraints(authority, None), critical=True))
        if not authority:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if size:
            names = [x509.DNSName(f"{i}.{'n' * 60}.test") for i in range(size)]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name="alice", **options):
        """(PEM file with certificate and key, the certificate)."""
        self.count += 1
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._build(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key(), **options)
        return self._write(f"{self.name}-{self.count}", made, key), made


def field_of(certificate):
    """RFC 9440 §2.1: the DER as an sf-binary."""
    return ":" + base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode() + ":"


class Base(LintelTestCase):
    @classmethod
    def configure(cls):
        cls.ours = ClientAuthority(cls.folder / "clients", "ours")
        cls.foreign = ClientAuthority(cls.folder / "clients", "foreign")
        cls.alice, cls.alice_certificate = cls.ours.issue()

        def site(host, **changes):
            changed = cls.site(hosts=[host], **changes)
            changed.pop("redirect_http")
            return changed
        cert = cls.ca.issue("public.test", "guarded.test", "asked.test", "modern.test", "other.test")
        files = {"certificate": {"file": cert[0], "key": cert[1]}}
        return [site("public.test", **files),
                site("guarded.test", client_certificates={"ca": cls.ours.file}, **files),
                site("other.test", client_certificates={"ca": cls.ours.file}, **files),
                site("asked.test", client_certificates={"ca": cls.ours.file, "mode": "request"}, **files),
                site("modern.test", tls_policy="modern", **files)], {}

    @staticmethod
    def context(client=None, version=None, alpn=("http/1.1",)):
        made = tls_client_context(alpn=alpn, minimum=version or TLS12, maximum=version)
        if client:
            made.load_cert_chain(client)
        return made

    def ask(self, context, sni="guarded.test", host=None, headers=(), session=None):
        with RawClient(self.lintel.https, tls=context, sni=sni, session=session) as client:
            response = client.request(get("/", host=host or sni, headers=headers))
            response.session, response.resumed = client.sock.session, client.sock.session_reused
            return response

    def assert_refused(self, context, sni="guarded.test", session=None):
        """In TLS 1.3 the client's handshake ends before the server has looked at the certificate: the alert follows."""
        with self.assertRaises((ssl.SSLError, ConnectionError, Closed)):
            self.ask(context, sni, session=session)

    def assert_nothing_reached(self):
        self.ask(self.context(), "public.test")
        self.assertEqual(len(self.origin.requests), 1, [request.line for request in self.origin.requests])


class ClientCertificates(Base):
    def test_without_a_certificate_nobody_gets_in(self):
        for version in (TLS12, TLS13):
            with self.subTest(version):
                self.assert_refused(self.context(version=version))
        self.assert_nothing_reached()
        wait_until(lambda: "peer did not return a certificate" in self.lintel.stderr(), "the log line")
        self.assertIn("for guarded.test", self.lintel.stderr())

    def test_certificates_that_do_not_count(self):
        cases = {"expired": self.ours.issue(ended=True)[0], "of a foreign authority": self.foreign.issue()[0],
                 "for servers": self.ours.issue(usage=ExtendedKeyUsageOID.SERVER_AUTH)[0],
                 "far too large": self.ours.issue(size=400)[0]}
        for name, client in cases.items():
            for site in ("guarded.test", "asked.test"):
                for version in (TLS12, TLS13):
                    with self.subTest(name, site=site, version=version):
                        self.assert_refused(self.context(client, version), site)
        self.assert_nothing_reached()
        for reason in ("certificate has expired", "unsuitable certificate purpose", "unable to get"):
            wait_until(lambda: reason in self.lintel.stderr(), f"a log line with {reason!r}")

    def test_the_app_learns_who_it_is(self):
        for version in (TLS12, TLS13):
            for site in ("guarded.test", "asked.test"):
                with self.subTest(version, site=site):
                    self.origin.reset()
                    self.assertEqual(self.ask(self.context(self.alice, version), site).status, 200)
                    self.assertEqual(self.origin.requests[0].all("client-cert"), [field_of(self.alice_certificate)])

    def test_over_http2(self):
        with H2Client(self.lintel.https, sni="guarded.test", authority="guarded.test",
                      tls=self.context(self.alice, alpn=("h2",))) as h2:
            for _ in range(3):
                self.assertEqual(h2.request("/").status, 200)
        self.assertEqual([request.get("client-cert") for request in self.origin.requests],
                         [field_of(self.alice_certificate)] * 3)

    def test_request_mode_lets_others_in_without_a_name(self):
        self.assertEqual(self.ask(self.context(), "asked.test").status, 200)
        self.assertIsNone(self.origin.requests[0].get("client-cert"))

    def test_no_client_can_write_the_fields(self):
        forged = [(name, field_of(self.alice_certificate)) for name in
                  ("Client-Cert", "client_cert", "Client-Cert-Chain", "X-SSL-Client-Cert", "X-SSL-Client-Verify",
                   "X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert", "X_SSL_Client_S_DN")]
        self.assertEqual(self.ask(self.context(), "asked.test", headers=forged).status, 200)
        self.assertEqual(self.ask(self.context(), "public.test", headers=forged).status, 200)
        self.assertEqual(self.ask(self.context(self.alice), headers=forged + [("Connection", "Client-Cert")]).status, 200)
        for request in self.origin.requests[:2]:
            self.assertEqual([name for name in request.names() if "cl" in name], [])
        self.assertEqual(self.origin.requests[2].all("client-cert"), [field_of(self.alice_certificate)])
        self.assertEqual([name for name in self.origin.requests[2].names() if "ssl" in name or "chain" in name], [])

    def test_resumed_sessions_still_know_who_it_is(self):
        for version in (TLS12, TLS13):
            with self.subTest(version):
                self.origin.reset()
                context = self.context(self.alice, version)
                first = self.ask(context)
                again = self.ask(context, session=first.session)
                self.assertTrue(again.resumed)
                self.assertEqual([request.get("client-cert") for request in self.origin.requests],
                                 [field_of(self.alice_certificate)] * 2)

    def test_plain_http_is_redirected_and_shows_nothing(self):
        with RawClient(self.lintel.http) as client:
            response = client.request(get("/x", host="guarded.test"))
        self.assertEqual((response.status, response.get("location")[:20]), (308, "https://guarded.test"))
        self.assert_nothing_reached()


class Tickets(Base):
    """The attack: a ticket that one site gave opens another, whose handshake would have asked for a certificate."""

    def test_no_ticket_crosses_into_a_site_that_asks(self):
        for version in (TLS12, TLS13):
            for giver in ("public.test", "asked.test", "modern.test"):
                if (giver, version) == ("modern.test", TLS12):
                    continue
                with self.subTest(version, giver=giver):
                    context = self.context(version=version)
                    session = self.ask(context, giver).session
                    self.assertTrue(session.has_ticket)
                    self.assert_refused(context, session=session)

    def test_no_ticket_of_an_anonymous_visit_carries_a_name(self):
        context = self.context(self.alice)
        session = self.ask(context, "guarded.test").session
        self.origin.reset()
        public = self.ask(context, "public.test", session=session)
        self.assertFalse(public.resumed)
        self.assertIsNone(self.origin.requests[0].get("client-cert"))

    def s_client(self, *options, request=b""):
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.lintel.https}", "-ign_eof", *options],
                              input=request, capture_output=True, timeout=30, check=False)
        return done.stdout.decode("latin-1") + done.stderr.decode("latin-1")

    def test_the_same_with_openssl(self):
        ask = b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
        for version in ("-tls1_2", "-tls1_3"):
            with self.subTest(version):
                kept = str(self.folder / f"session{version}")
                out = self.s_client(version, "-servername", "public.test", "-sess_out", kept, request=ask % b"public.test")
                self.assertIn("200 OK", out)
                out = self.s_client(version, "-servername", "public.test", "-sess_in", kept, request=ask % b"public.test")
                self.assertIn("Reused, TLSv1", out)  # so the ticket is a good one
                self.origin.reset()
                out = self.s_client(version, "-servername", "guarded.test", "-sess_in", kept,
                                    request=ask % b"guarded.test")
                self.assertNotIn("Reused, TLSv1", out)
                self.assertNotIn("200 OK", out)
                self.assertRegex(out, "alert (certificate required|handshake failure)|certificate required")
        self.assert_nothing_reached()


class SniAndHost(Base):
    def assert_misdirected(self, context, sni, host):
        response = self.ask(context, sni, host)
        self.assertEqual((response.status, response.error), (421, "sni-mismatch"), (sni, host))

    def test_a_host_of_another_site_than_the_handshake_was_for(self):
        for context in (self.context(), self.context(self.alice)):
            for sni, host in (("public.test", "guarded.test"), ("public.test", "asked.test"),
                              ("public.test", "modern.test"), ("modern.test", "public.test"),
                              ("asked.test", "guarded.test"), ("asked.test", "public.test")):
                self.assert_misdirected(context, sni, host)
        # The same authorities and mode, yet another site.
        self.assert_misdirected(self.context(self.alice), "guarded.test", "other.test")
        self.assert_nothing_reached()

    def test_without_sni(self):
        context = self.context(self.alice)
        for host in ("guarded.test", "asked.test", "modern.test"):
            self.assert_misdirected(context, None, host)
        self.assertEqual(self.ask(context, None, "public.test").status, 200)

    def test_connections_that_a_browser_shares(self):
        with H2Client(self.lintel.https, sni="public.test", authority="public.test",
                      tls=self.context(self.alice, alpn=("h2",))) as h2:
            self.assertEqual(h2.request("/").status, 200)
            for host in ("guarded.test", "asked.test", "modern.test"):
                response = h2.request("/", authority=host)
                self.assertEqual((response.status, response.error), (421, "sni-mismatch"))
            self.assertEqual(h2.request("/").status, 200)
        self.assertEqual(len(self.origin.requests), 2)

    def test_modern_is_tls_13_only(self):
        self.assertEqual(self.ask(self.context(version=TLS13), "modern.test").status, 200)
        with self.assertRaisesRegex(ssl.SSLError, "PROTOCOL_VERSION|protocol version"):
            self.ask(self.context(version=TLS12), "modern.test")
        self.assertEqual(self.ask(self.context(version=TLS12), "public.test").status, 200)


class ThroughAProxy(Base):
    """A proxy that ends TLS in front of a plain listener cannot show its client's certificate."""

    @classmethod
    def configure(cls):
        sites, server = super().configure()
        return sites, server

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls._stop()
        cls.lintel = Serve(cls.folder, cls.configure()[0], trust=[{
            "peers": ["127.0.0.1"], "source": "x-forwarded", "pass": ["client-cert"]}])

    def test_https_by_word_of_mouth_is_not_enough(self):
        said = [("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "192.0.2.1"),
                ("Client-Cert", field_of(self.alice_certificate))]
        with RawClient(self.lintel.http) as client:
            response = client.request(get("/", host="guarded.test", headers=said))
        self.assertEqual((response.status, response.error), (403, "client-certificate-required"))
        with RawClient(self.lintel.http) as client:
            self.assertEqual(client.request(get("/", host="asked.test", headers=said)).status, 200)
        self.assertEqual([request.get("client-cert") for request in self.origin.requests], [None])
        with RawClient(self.lintel.http) as client:
            self.assertEqual(client.request(get("/", host="public.test", headers=said)).status, 200)
        self.assertIsNotNone(self.origin.requests[-1].get("client-cert"), "where the rule lets it through")


class Files(unittest.TestCase):
    def check(self, folder, extra):
        (folder / "lintel.toml").write_text(
            '[[site]]\nhosts = ["app.test"]\nto = "8000"\ncertificate = "self-signed"\n' + extra)
        return subprocess.run([LINTEL, "check", "-c", str(folder / "lintel.toml")], capture_output=True, text=True,
                              check=False)

    def test_plain_http_must_not_reach_a_site_that_requires(self):
        with temp_folder() as folder:
            ca = ClientAuthority(folder, "ca").file
            done = self.check(folder, f'client_certificates = {{ ca = "{ca}" }}\n')
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            done = self.check(folder, f'client_certificates = {{ ca = "{ca}" }}\nredirect_http = "off"\n')
            self.assertEqual(done.returncode, 2)
            self.assertIn("would serve plain http, where nobody shows a certificate", done.stderr)
            done = self.check(folder, f'client_certificates = {{ ca = "{ca}", mode = "request" }}\nredirect_http = "off"\n')
            self.assertEqual(done.returncode, 0)
            self.assertIn("warning: over plain http", done.stderr)

    def test_authorities_that_are_none(self):
        with temp_folder() as folder:
            (folder / "empty.pem").write_text("")
            good = pathlib.Path(ClientAuthority(folder, "ca").file).read_text()
            (folder / "damaged.pem").write_text(good + good.replace("M", "!", 1))
            for name in ("empty", "damaged"):
                done = self.check(folder, f'client_certificates = {{ ca = "{name}.pem" }}\n')
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn("for client certificates", done.stderr)


del Base

if __name__ == "__main__":
    unittest.main()
