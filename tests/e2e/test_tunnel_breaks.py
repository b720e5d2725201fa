"""What breaks costs: the cable, the edge, the agent, the laptop's sleep, another address. A visitor asks again and again
meanwhile; nothing that `hold` covers may be lost. With --full the long forms, and the table of docs/tunnel.md is printed."""
import signal
import time

from edge_world import *
from lintel_test import FULL

as_root()

INTERVAL_S = 0.1
HOLD_S = 10


class Prober:
    """GETs at a fixed pace, each on a connection and in a thread of its own, so that one that waits holds up no other."""

    def __init__(self, test, name, interval_s):
        self.test, self.name, self.interval_s = test, name, interval_s
        self.results, self.threads, self.stopping = [], [], threading.Event()
        self.pacer = threading.Thread(target=self._pace, daemon=True)
        self.pacer.start()

    def _pace(self):
        while not self.stopping.wait(self.interval_s):
            thread = threading.Thread(target=self._ask, daemon=True)
            self.threads.append(thread)
            thread.start()

    def _ask(self):
        began, problem = time.monotonic(), None
        try:
            response = self.test.fetch(self.name, timeout=HOLD_S * 9)
            if response.status != 200 or response.body != b"ok\n":
                problem = f"{response.status} {response.error}"
        except Exception as error:  # whatever a visitor may see is a result
            problem = f"{type(error).__name__}: {error}"
        self.results.append((began, time.monotonic() - began, problem))

    def ok_since(self, moment):
        """The earliest answer of the app to a request that was made after `moment`."""
        return min((began + took for began, took, problem in self.results if problem is None and began >= moment), default=None)

    def finish(self):
        self.stopping.set()
        self.pacer.join(10)
        for thread in self.threads:
            thread.join(HOLD_S * 10)
        return sorted(self.results)


class Breaks(EdgeTestCase):
    edge_options = {"hold": f"{HOLD_S}s"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.origin = cls.world.origin()
        cls.agents = 0
        cls.rows = []
        cls.addClassCleanup(cls.print_rows)
        cls.start_agent()

    @classmethod
    def print_rows(cls):
        if FULL:
            print("| what happens | requests made meanwhile | lost | longest wait | back after |\n|---|---:|---:|---:|---:|")
            for what, made, lost, longest, back in cls.rows:
                print(f"| {what} | {made} | {lost} | {longest:.1f} s | {back:.1f} s |")

    @classmethod
    def start_agent(cls):
        cls.agents += 1
        cls.agent = cls.world.share("5000", "--name", "app", log=f"agent-{cls.agents}")
        cls.agent.wait_for(f"https://app.{DOMAIN}")

    def setUp(self):
        self.wait_shared("app")

    def disturb(self, what, action, heal, interval_s=INTERVAL_S):
        """Runs action() and heal() beside a prober: the problems of requests, as [(when relative to action, problem)]."""
        prober = Prober(self, "app", interval_s)
        try:
            wait_until(lambda: prober.results and prober.results[-1][2] is None, "the first answer")
            broken = time.monotonic()
            action()
            heal()
            healed = time.monotonic()
            wait_until(lambda: prober.ok_since(healed), "an answer after all is well again", 90)
            back = prober.ok_since(healed) - healed
        finally:
            results = prober.finish()
        meanwhile = [result for result in results if result[0] >= broken - 1 and result[0] <= healed + back]
        lost = [(began - broken, problem) for began, _, problem in meanwhile if problem]
        self.rows.append((what, len(meanwhile), len(lost), max(took for _, took, _ in meanwhile), back))
        return lost

    def test_cable_out_for_5_seconds(self):
        def pulled():
            self.world.net.laptop.pull_cable()
            time.sleep(5)
        self.assertEqual(self.disturb("laptop's cable out for 5 s", pulled, self.world.net.laptop.plug_in), [])

    def test_edge_killed_and_restarted(self):
        """Nobody listens for a moment, and what had been accepted is gone: that is lost. Nothing that came after it."""
        started = []

        def restart():
            self.world.start_edge()
            started.append(time.monotonic())
        broken = time.monotonic()
        lost = self.disturb("edge killed with -9 and started again", self.world.edge.kill, restart)
        down = started[0] - broken
        self.assertEqual([item for item in lost if item[0] > down], [])
        answered = [problem for _, problem in lost if problem[0].isdigit()]
        self.assertEqual(answered, [], "what the new edge took, it answered")

    def test_agent_killed_and_restarted_with_its_name(self):
        self.assertEqual(self.disturb("agent killed with -9 and started again", self.agent.kill, self.start_agent), [])

    def test_laptop_that_sleeps_for_a_moment(self):
        def sleep():
            self.agent.signal(signal.SIGSTOP)
            time.sleep(3)
        self.assertEqual(self.disturb("agent asleep (SIGSTOP) for 3 s", sleep, lambda: self.agent.signal(signal.SIGCONT)), [])

    def test_another_address(self):
        """The old connections are dead and nobody says so: silence tells both sides, and the name comes back by its session."""
        self.addCleanup(self.world.net.laptop.change_address, LAPTOP)
        # 64 requests may wait for a share, and it takes up to 15 s: two a second.
        lost = self.disturb("laptop gets another address", lambda: None,
                            lambda: self.world.net.laptop.change_address("198.18.0.9"), 0.5)
        self.assertEqual(lost, [])
        self.assertEqual(self.agent.process.poll(), None)

    def test_edge_that_is_not_there_at_first(self):
        """An agent that starts before its edge waits for it instead of ending."""
        self.world.edge.kill()
        early = self.world.share("5000", "--name", "early", log="early")
        early.wait_for("(?i)away|cannot be reached|refused")
        self.world.start_edge()
        early.wait_for(f"https://early.{DOMAIN}", seconds=60)
        self.assertEqual(self.wait_shared("early").status, 200)
        early.stop()


class LongBreaks(Breaks):
    """Only with --full: minutes. The inherited tests run as well: they fill the table."""

    def test_cable_out_for_60_seconds(self):
        """Longer than hold: visitors are told, and everything is back by itself."""
        def pulled():
            self.world.net.laptop.pull_cable()
            time.sleep(60)
        lost = self.disturb("laptop's cable out for 60 s", pulled, self.world.net.laptop.plug_in)
        self.assertEqual({problem for _, problem in lost} - {"503 share-away", "503 share-busy"}, set())

    def test_laptop_that_sleeps_for_two_minutes(self):
        def sleep():
            self.agent.signal(signal.SIGSTOP)
            time.sleep(120)
        lost = self.disturb("agent asleep (SIGSTOP) for 2 min", sleep, lambda: self.agent.signal(signal.SIGCONT))
        self.assertEqual({problem for _, problem in lost} - {"503 share-away", "503 share-busy"}, set())


if not FULL:
    del LongBreaks
else:
    del Breaks  # LongBreaks has its tests


if __name__ == "__main__":
    unittest.main()
