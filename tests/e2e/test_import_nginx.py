"""`lintel import nginx` on files as people write them (tests/nginx). What it does not translate it must name: a line that
disappears without a word is a rule that somebody relied on."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINTEL = os.environ.get("LINTEL_BIN") or str(ROOT / "build/release/lintel")
SAMPLES = ROOT / "tests/nginx"


class Import(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-import-"))
        self.addCleanup(shutil.rmtree, self.folder, True)

    def run_import(self, *words, code=None):
        done = subprocess.run([LINTEL, "import", "nginx", *map(str, words)], cwd=self.folder, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=60, text=True)
        if code is not None:
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def sample(self, name):
        """(exit code, the JSON object) of one of the samples."""
        done = self.run_import(SAMPLES / name, "--json")
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return done.returncode, json.loads(done.stdout)

    def assert_says(self, result, kind, directive, part):
        found = [one for one in result["findings"] if one["kind"] == kind and directive in one["directive"]]
        self.assertTrue(any(part in one["message"] for one in found), (kind, directive, part, found))

    def test_django_with_certbot(self):
        code, result = self.sample("django-certbot.conf")
        self.assertEqual(code, 1)
        toml = result["toml"]
        self.assertIn('hosts = ["shop.example.com", "www.shop.example.com"]', toml)
        self.assertIn('certificate = "acme"', toml)
        self.assertIn('to = ["unix:/run/gunicorn.sock"]', toml)
        self.assertIn("redirect_http = 301", toml)
        self.assertIn('body = "4096MiB"', toml)
        self.assertIn('https = ["[::]:443"]\nhttp = ["[::]:80"]', toml)
        self.assert_says(result, "unsafe", "$proxy_add_x_forwarded_for", "appends to what the client sent")
        self.assert_says(result, "unsafe", "$http_host", "client's Host")
        self.assert_says(result, "unsafe", "alias /srv/shop/media/", "/media../")
        self.assert_says(result, "not-understood", "try_files", "WhiteNoise")
        self.assert_says(result, "changed", "ssl_certificate ", "keep certbot's files")

    def test_node_with_websockets(self):
        code, result = self.sample("node-websocket.conf")
        toml = result["toml"]
        self.assertIn('to = [{ url = "http://127.0.0.1:3000", weight = 2 }, "http://127.0.0.1:3001", '
                      '{ url = "http://127.0.0.1:3002", backup = true }]', toml)
        self.assertIn('balance = "least-conn"', toml)
        self.assertIn('rate = "20/s", burst = 40', toml)
        self.assertIn('hsts = { max_age = "730d", include_subdomains = true }', toml)
        self.assertIn('allow = ["192.0.2.0/24"]\nbasic_auth = { users_file = "/etc/nginx/admin.htpasswd" }', toml)
        self.assertIn('x-frame-options = "SAMEORIGIN"', toml)
        self.assertIn("/etc/ssl/chat.pem", result["missing_files"])
        self.assert_says(result, "unsafe", "proxy_set_header Upgrade", "switched off every proxy_set_header")
        self.assert_says(result, "not-needed", "map ", "WebSockets pass by themselves")
        self.assertEqual(code, 1)

    def test_wordpress_has_nothing_to_forward_to(self):
        done = self.run_import(SAMPLES / "wordpress.conf", "-o", "new.toml", code=1)
        self.assertIn("speaks no FastCGI", done.stdout)
        self.assertIn("Nothing could be translated", done.stdout)
        self.assertFalse((self.folder / "new.toml").exists())

    def test_a_cdn_in_front(self):
        _, result = self.sample("cdn-real-ip.conf")
        toml = result["toml"]
        self.assertIn('[[trust]]\npreset = "cloudflare"', toml)
        self.assertIn('client_certificates = { ca = "/etc/ssl/authenticated-origin-pull.pem", mode = "require" }', toml)
        self.assertIn('path = "/api/*"\nto = ["http://127.0.0.1:9000"]\nstrip_prefix = "/api"', toml)
        self.assert_says(result, "unsafe", "TLSv1 TLSv1.1", "broken")
        self.assert_says(result, "unsafe", "https://10.0.0.5:8443", "not verified")
        self.assert_says(result, "unsafe", "$http_x_forwarded_for", "anybody could claim anything")
        self.assert_says(result, "unsafe", "server {", "http was served like https")
        self.assert_says(result, "unsafe", "http://127.0.0.1:9000/", "became /x")

    def test_several_sites_with_snippets(self):
        _, result = self.sample("multi-site/nginx.conf")
        toml = result["toml"]
        self.assertEqual([pathlib.Path(name).name for name in result["files"]],
                         ["nginx.conf", "00-default.conf", "10-blog.conf", "tls.conf", "20-api.conf"])
        self.assertIn('hosts = ["blog.example.net", "www.blog.example.net"]\ncanonical = "blog.example.net"', toml)
        self.assertIn('auth_request = "http://127.0.0.1:4180/oauth2/auth"', toml)
        self.assertIn('path = "/v1/*"\nstrip_prefix = "/v1"', toml)
        self.assertIn('balance = "hash-ip"', toml)
        self.assertIn('tls_policy = "modern"', toml)
        self.assertIn('body = "off"', toml)
        self.assertIn("workers = 4", toml)
        self.assertIn('path = "/files*"\ndeny = ["0.0.0.0/0", "::/0"]', toml)
        self.assert_says(result, "unsafe", "underscores_in_headers on", "X_Forwarded_For")
        self.assert_says(result, "unsafe", "proxy_set_header X-Blog", "switched off")
        self.assert_says(result, "not-understood", "gzip on", "compress")
        self.assert_says(result, "not-understood", "content_by_lua_block", "scripts")
        self.assert_says(result, "not-understood", "location = /healthz", "no answers of its own")
        self.assertFalse([one for one in result["findings"] if "every Host" in one["message"]],
                         "the first server refuses unknown names")

    def test_every_line_is_accounted_for(self):
        """Of every sample: a directive is in the new file, or the report names its line, or the block around it."""
        for path in sorted(SAMPLES.rglob("*.conf")):
            if "multi-site" in path.parts:
                continue
            _, result = self.sample(path.name)
            named = {one["line"] for one in result["findings"]}
            unknown = [one for one in result["findings"] if "does not know this directive" in one["message"]]
            self.assertEqual(unknown, [], path)
            self.assertTrue(named, path)

    def test_the_smallest_safe_file_is_fine(self):
        code, result = self.sample("safe.conf")
        self.assertEqual([one for one in result["findings"] if one["kind"] in ("unsafe", "not-understood")], [])
        self.assertIn('certificate = "acme"', result["toml"])
        self.assertIn('directory = "https://acme-v02.api.letsencrypt.org/directory"', result["toml"])
        self.assertIn("hsts = true", result["toml"])
        self.assertEqual((code, result["valid"], result["check"]), (0, True, []), result)

    def test_what_is_written_passes_check(self):
        for name in ("django-certbot.conf", "node-websocket.conf", "cdn-real-ip.conf", "multi-site/nginx.conf", "safe.conf"):
            with self.subTest(name):
                _, result = self.sample(name)
                self.assertTrue(result["valid"], result["check"])

    def test_files_and_streams(self):
        text = "server { listen 80; server_name a.example; location / { proxy_pass http://127.0.0.1:1; } }\n"
        (self.folder / "site").write_text(text)
        done = self.run_import("site", code=1)
        self.assertTrue(done.stdout.startswith("# Written by 'lintel import nginx' from site.\n"))
        self.assertIn("site:1: proxy_pass http://127.0.0.1:1;", done.stderr)
        done = self.run_import("site", "-o", "new.toml", "--report", "report.txt", code=1)
        self.assertEqual(done.stderr, "")
        self.assertIn("lintel check -c new.toml", done.stdout)
        self.assertIn("[[site]]", (self.folder / "new.toml").read_text())
        self.assertIn("site:1: proxy_pass", (self.folder / "report.txt").read_text())
        # A file that somebody has worked on is not lost.
        (self.folder / "new.toml").write_text("mine")
        done = self.run_import("site", "-o", "new.toml", code=2)
        self.assertIn("--force", done.stderr)
        self.assertEqual((self.folder / "new.toml").read_text(), "mine")
        self.run_import("site", "-o", "new.toml", "--force", code=1)
        self.assertIn("[[site]]", (self.folder / "new.toml").read_text())

    def test_what_cannot_be_read_is_exit_2(self):
        self.assertIn("No such file", self.run_import("absent.conf", code=2).stderr)
        self.run_import(code=2)
        self.run_import(self.folder, code=2)
        (self.folder / "bad.conf").write_text("http {\n  server {\n")
        self.assertIn("bad.conf:3: not nginx's syntax", self.run_import("bad.conf", code=2).stderr)
        (self.folder / "good.conf").write_text("include bad.conf;\n")
        self.assertIn("bad.conf:3", self.run_import("good.conf", code=2).stderr)

    def test_includes_are_found_as_nginx_finds_them(self):
        (self.folder / "nginx").mkdir()
        (self.folder / "nginx/sites").mkdir()
        (self.folder / "nginx/snippets").mkdir()
        (self.folder / "nginx/nginx.conf").write_text("http { include sites/*; }\n")
        (self.folder / "nginx/snippets/proxy").write_text("proxy_pass http://127.0.0.1:7;\ninclude nowhere.conf;\n")
        (self.folder / "nginx/sites/a").write_text(
            "server { listen 80; server_name a.example; location / { include snippets/proxy; } }\n")
        for file in ("nginx/nginx.conf", "nginx/sites/a"):
            done = self.run_import(file, code=1)
            self.assertIn('to = ["http://127.0.0.1:7"]', done.stdout, file)
            self.assertRegex(done.stderr, r"snippets/proxy:2: include nowhere\.conf;\n.*No such file")

    def test_files_that_include_each_other_end(self):
        (self.folder / "a.conf").write_text("include a.conf;\ninclude a.conf;\nserver { listen 80; server_name a.example; "
                                            "location / { proxy_pass http://127.0.0.1:1; } }\n")
        done = self.run_import("a.conf")
        self.assertIn(done.returncode, (1, 2))
        self.assertIn("too deeply", done.stdout + done.stderr)
        (self.folder / "bomb.conf").write_text("include bomb.conf;\n" * 100)  # 100^8 files
        done = self.run_import("bomb.conf", code=2)
        self.assertIn("more than 100000 directives", done.stderr)
        os.mkfifo(self.folder / "fifo")
        (self.folder / "b.conf").write_text("include fifo;\n")
        self.assertIn("it is not a file", self.run_import("b.conf", code=1).stderr)

    def test_nginx_takes_the_samples(self):
        """They are what nginx accepts, as far as the files they name do not have to exist."""
        text = (SAMPLES / "multi-site/sites-enabled/20-api.conf").read_text()
        self.assertIn("content_by_lua_block", text)
        plain = "events {}\nhttp {\n%s\n}\n" % (SAMPLES / "wordpress.conf").read_text().replace(
            "include snippets/fastcgi-php.conf;", "").replace("listen 80 default_server", "listen unix:/%s/s" % self.folder)
        (self.folder / "nginx.conf").write_text(f"pid {self.folder}/pid;\nerror_log {self.folder}/log;\n" + plain)
        done = subprocess.run(["nginx", "-t", "-c", self.folder / "nginx.conf", "-p", self.folder], capture_output=True,
                              text=True, timeout=60)
        self.assertIn("syntax is ok", done.stderr)


if __name__ == "__main__":
    unittest.main()
