"""Certificates on demand: only what the `ask` service permits is ordered, and strangers cannot make it more."""
import http.server
import tempfile
import threading
import urllib.parse

from acme_faults import Faults
from acme_serve import AcmeServe
from lintel_test import *
from pebble import Pebble


class Ask:
    """The service that says which names are customers'."""

    def __init__(self, permitted):
        self.asked, lock = [], threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):
                name = urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query).get("domain", [""])[0]
                with lock:
                    self.asked.append(name)
                handler.send_response(200 if permitted(name) else 404)
                handler.send_header("Content-Length", "0")
                handler.end_headers()

            def log_message(handler, *args):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/may"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class OnDemand(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.pebble = self.enterContext(Pebble(self.folder / "pebble"))
        self.faults = self.enterContext(Faults(self.pebble, self.folder))
        self.ask = Ask(lambda name: name.endswith(".customer.test"))
        self.addCleanup(self.ask.stop)

    def orders(self):
        return len(self.faults.times("order-plz"))

    def test_only_what_is_permitted_is_ordered_and_a_refusal_is_remembered(self):
        with AcmeServe(self.folder / "lintel", self.pebble, ["*"], directory=self.faults.directory,
                       ca_file=self.faults.ca_file, on_demand={"ask": self.ask.url}, site={"on_demand": True}) as lintel:
            root = self.pebble.root()
            # Nobody has asked: nothing is ordered.
            self.assertEqual((self.orders(), self.ask.asked), (0, []))
            self.assertIsNone(lintel.served("stranger.test", root))
            wait_until(lambda: "stranger.test" in self.ask.asked, "the question")
            lintel.wait_served("one.customer.test", root)
            for _ in range(10):
                self.assertIsNone(lintel.served("stranger.test", root))
            # What cannot be a name of anybody is not even asked about.
            for odd in ("localhost", "a_b.customer.test"):
                lintel.served(odd, root)
            # The flood: names that nobody permits. Asked about at most once each, never ordered.
            flood = [f"n{i}.flood.test" for i in range(150)]
            threads = [threading.Thread(target=lambda part=part: [lintel.served(name, root) for name in part])
                       for part in (flood[0::3], flood[1::3], flood[2::3], flood[0::3])]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            # A customer who comes in the middle of it is served.
            lintel.wait_served("two.customer.test", root)
            self.assertEqual(self.orders(), 2, "an order that nobody permitted")
            # Permission counts when the order begins, so that customers are asked about once more then.
            for name in set(self.ask.asked):
                most = 2 if name.endswith(".customer.test") else 1
                self.assertLessEqual(self.ask.asked.count(name), most, f"asked again about {name}")
            self.assertLessEqual(set(self.ask.asked), {"stranger.test", "one.customer.test", "two.customer.test", *flood})
            self.assertEqual(sorted(path.name for path in (lintel.state / "certificates").glob("*/*")),
                             ["one.customer.test", "two.customer.test"])
            # A restart knows what it has.
            asked = len(self.ask.asked)
            lintel.stop()
            lintel.start()
            lintel.wait_served("one.customer.test", root)
            self.assertEqual((self.orders(), len(self.ask.asked)), (2, asked))

    def test_an_ask_service_that_is_not_there_permits_nothing(self):
        with AcmeServe(self.folder / "lintel", self.pebble, ["*"], directory=self.faults.directory,
                       ca_file=self.faults.ca_file, on_demand={"ask": f"http://127.0.0.1:{free_port()}/may"},
                       site={"on_demand": True}) as lintel:
            self.assertIsNone(lintel.served("one.customer.test", self.pebble.root()))
            wait_until(lambda: "cannot be asked" in lintel.log(), "the log line")
            self.assertIsNone(lintel.served("one.customer.test", self.pebble.root()))
            self.assertEqual(self.orders(), 0)


if __name__ == "__main__":
    unittest.main()
