"""scripts/update-ranges against sources on this machine: what it takes over, and what it must refuse, because a list
that a broken or hostile source can change decides whose headers are believed."""
import datetime
import http.server
import pathlib
import subprocess
import tempfile
import threading
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LIST = ["103.21.244.0/22", "104.16.0.0/13", "173.245.48.0/20", "198.41.128.0/17", "2400:cb00::/32", "2606:4700::/32"]


class UpdateRanges(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.file = self.folder / "cloudflare.txt"
        self.before = ("# Where it connects from.\n# source: https://www.cloudflare.com/ips-v4\n# read: 2020-01-01\n"
                       "# update: scripts/update-ranges cloudflare\n" + "\n".join(LIST) + "\n")
        self.file.write_text(self.before)

    def run_script(self, *arguments):
        return subprocess.run([ROOT / "scripts" / "update-ranges", *arguments, "--folder", self.folder],
                              capture_output=True, text=True, timeout=60)

    def source(self, lines):
        path = self.folder / "source"
        path.write_text("\n".join(lines))
        return path.as_uri()

    def ranges(self):
        return [line for line in self.file.read_text().splitlines() if not line.startswith("#")]

    def refused(self, lines, why):
        done = self.run_script("cloudflare", "--source", self.source(lines))
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(why, done.stderr)
        self.assertIn("nothing was changed", done.stderr)
        self.assertEqual(self.file.read_text(), self.before)
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["cloudflare.txt", "source"])

    def test_takes_a_changed_list_over_sorted_and_dated(self):
        new = [p for p in LIST if p != "198.41.128.0/17"] + ["131.0.72.0/22", "104.16.0.0/13", "104.16.7.0/24"]
        source = self.source(reversed(new))
        done = self.run_script("cloudflare", "--source", source)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.ranges(), ["103.21.244.0/22", "104.16.0.0/13", "131.0.72.0/22", "173.245.48.0/20",
                                         "2400:cb00::/32", "2606:4700::/32"])
        self.assertIn("+ 131.0.72.0/22", done.stdout)
        self.assertIn("- 198.41.128.0/17", done.stdout)
        head = self.file.read_text().splitlines()[:4]
        self.assertEqual(head[:2], ["# Where it connects from.", f"# source: {source}"])
        self.assertEqual(head[3], "# update: scripts/update-ranges cloudflare")
        read = datetime.date.fromisoformat(head[2].removeprefix("# read: "))
        self.assertGreater(read, datetime.date(2020, 1, 1))

    def test_two_sources_over_http_are_joined(self):
        bodies = {"/v4": "\n".join(LIST[:4]) + "\n", "/v6": "\n".join(LIST[4:])}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = bodies.get(self.path, "").encode()
                self.send_response(200 if body else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        base = f"http://127.0.0.1:{server.server_address[1]}"
        done = self.run_script("cloudflare", "--source", base + "/v4", "--source", base + "/v6")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.ranges(), LIST)
        self.before = self.file.read_text()
        done = self.run_script("cloudflare", "--source", base + "/gone")
        self.assertEqual(done.returncode, 1)
        self.assertIn("404", done.stderr)
        self.assertEqual(self.file.read_text(), self.before)

    def test_the_whole_internet_is_refused(self):
        self.refused([*LIST, "0.0.0.0/0"], "wider than /8")
        self.refused([*LIST, "::/0"], "wider than /19")
        self.refused([*LIST, "96.0.0.0/7"], "wider than /8")

    def test_a_private_range_is_refused(self):
        for prefix in ("10.0.0.0/8", "192.168.0.0/16", "127.0.0.0/8", "fd00::/20", "224.0.0.0/8"):
            self.refused([*LIST, prefix], "not a public range")

    def test_a_line_that_is_no_prefix_is_refused(self):
        self.refused(["<!DOCTYPE html>", "<p>Attention required</p>"], "line 1")
        self.refused([*LIST, "104.16.0.1/13"], "line 7")
        self.refused([*LIST, "104.16.0.0/13 # note"], "line 7")

    def test_a_list_that_lost_most_of_itself_is_refused(self):
        self.refused([], "empty")
        self.refused(LIST[:1] + LIST[4:], "1 IPv4 ranges where there were 4")
        self.refused(LIST[:4], "0 IPv6 ranges where there were 2")

    def test_a_list_that_grew_tenfold_is_refused(self):
        self.refused(LIST + [f"20.{i}.0.0/16" for i in range(60)], "66 ranges where there were 6")

    def test_a_page_for_people_only_confirms_the_ranges(self):
        file = self.folder / "google-lb.txt"
        file.write_text("# source: x\n# read: 2020-01-01\n35.191.0.0/16\n130.211.0.0/22\n")
        page = self.source(["<td>35.191.0.0/16</td><td>130.211.0.0/22</td><td>8.0.0.0/8</td>"])
        done = self.run_script("google-lb", "--source", page)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("2020-01-01", file.read_text())
        self.assertEqual([line for line in file.read_text().splitlines() if line[0] != "#"],
                         ["35.191.0.0/16", "130.211.0.0/22"])
        before = file.read_text()
        done = self.run_script("google-lb", "--source", self.source(["<td>35.191.0.0/16</td>"]))
        self.assertEqual(done.returncode, 1)
        self.assertIn("130.211.0.0/22 is not on", done.stderr)
        self.assertEqual(file.read_text(), before)

    def test_an_unknown_name_is_a_usage_error(self):
        self.assertEqual(self.run_script("nobody").returncode, 2)


if __name__ == "__main__":
    unittest.main()
