"""What `lintel dev` promises about the processes that it starts."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from dev_test import APP, PADDING, PATIENCE, PYTHON, Dev, app, listens, process_gone, state_of
from lintel_test import LINTEL, free_port, wait_until

PRIVILEGED = 843  # below 1024, and nobody's


class Processes(unittest.TestCase):
    def test_the_apps_exit_code_is_lintels(self):
        self.assertEqual(Dev(self, PYTHON, "-c", "import sys; sys.exit(42)").wait_exit(), 42)
        self.assertEqual(Dev(self, PYTHON, "-c", "import os; os.kill(os.getpid(), 9)").wait_exit(), 137)

    def test_a_command_that_does_not_exist(self):
        dev = Dev(self, "no-such-command-here")
        self.assertEqual(dev.wait_exit(), 127)
        self.assertIn("no-such-command-here", dev.output())

    def test_nothing_of_lintels_reaches_the_app(self):
        """No descriptor (a listener in the child would keep the port bound), no LINTEL_ variable but the URL."""
        dev = Dev(self, PYTHON, "-c", PADDING + """
import json, os, signal
print('seen: ' + json.dumps({'fds': sorted(os.listdir('/proc/self/fd')), 'env': dict(os.environ),
                             'blocked': sorted(int(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, []))}), flush=True)
""", env={"LINTEL_SECRET": "do not show"})
        seen = json.loads(dev.wait_for(r"seen: (.*)").group(1))
        self.assertEqual(seen["fds"], ["0", "1", "2", "3"], "3 is the folder that is being listed")
        self.assertEqual(seen["blocked"], [])
        environment = seen["env"]
        self.assertEqual([name for name in environment if name.startswith("LINTEL")], ["LINTEL_URL"])
        self.assertEqual(environment["LINTEL_URL"], f"https://{dev.name}.localhost:{dev.port}")
        self.assertEqual(environment["HOST"], "127.0.0.1")
        self.assertEqual(environment["FORWARDED_ALLOW_IPS"], "127.0.0.1")
        self.assertEqual(environment["PORT"], environment["FLASK_RUN_PORT"])
        for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
            self.assertIn(dev.root.read_text().strip(), pathlib.Path(environment[variable]).read_text(), variable)

    def test_the_apps_own_calls_to_itself_verify(self):
        """An app that fetches its own https address does not need --insecure."""
        dev = Dev(self, *app("""
import threading, urllib.request
def call():
    # Python asks the system's resolver, which need not know *.localhost.
    url = 'https://localhost:' + os.environ['LINTEL_URL'].rsplit(':', 1)[1]
    print('own call: ' + urllib.request.urlopen(url).read().decode(), flush=True)
threading.Thread(target=call).start()
serve()"""))
        dev.wait_for("own call: hello")

    def test_signals_are_forwarded_and_the_app_decides_the_code(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            dev = Dev(self, *app(f"""
signal.signal({int(number)}, lambda *a: (print('app: got it', flush=True), os._exit(9)))
serve()"""))
            dev.wait_for("forwarding to")
            dev.process.send_signal(number)
            self.assertEqual(dev.wait_exit(), 9, number)
            self.assertIn("app: got it", dev.output())

    def test_the_whole_tree_ends_when_lintel_is_killed(self):
        dev = Dev(self, *app("""
child = subprocess.Popen(['sleep', '1000'], start_new_session=True)
print('pids:', os.getpid(), child.pid, flush=True)
serve()"""))
        pids = [int(pid) for pid in dev.wait_for(r"pids: (\d+) (\d+)").groups()]
        dev.process.kill()
        dev.process.wait()
        for pid in pids:
            wait_until(lambda p=pid: process_gone(p), f"process {pid} to end", PATIENCE)

    def test_leftovers_end_with_the_app(self):
        """A reloader's orphan would keep the port, and the next start would meet the old code."""
        dev = Dev(self, PYTHON, "-c", PADDING + "import subprocess; p = subprocess.Popen(['sleep', '1000'], start_new_session=True);"
                  " print('orphan:', p.pid, flush=True)")
        orphan = int(dev.wait_for(r"orphan: (\d+)").group(1))
        self.assertEqual(dev.wait_exit(), 0)
        wait_until(lambda: process_gone(orphan), "the orphan to end", PATIENCE)

    def test_requests_wait_while_the_app_starts(self):
        """A GET that comes early gets the app's own answer."""
        dev = Dev(self, *app("""
while not os.path.exists('go'): time.sleep(0.02)
serve()"""), options=["--name", "slow"])
        dev.wait_for(r"  -> ")
        early = subprocess.Popen(["curl", "--silent", "--insecure", "--max-time", str(PATIENCE),
                                  f"https://localhost:{dev.port}/"], stdout=subprocess.PIPE)
        answer = dev.curl("/", "--request", "POST", "--data", "x=1")
        self.assertEqual((answer.status, answer.headers["x-lintel-error"]), (503, "app-starting"))
        self.assertIsNone(early.poll())
        (dev.folder / "go").write_text("")
        self.assertEqual(early.communicate(timeout=PATIENCE)[0], b"hello")

    def test_a_browser_sees_a_page_that_reloads_while_the_app_starts(self):
        """A tab that stays blank for a minute looks broken."""
        dev = Dev(self, *app("while not os.path.exists('go'): time.sleep(0.02)\nserve()"))
        answer = dev.curl("/", "-H", "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
        self.assertEqual((answer.status, answer.headers["x-lintel-error"]), (503, "app-starting"))
        self.assertRegex(answer.body, r"http-equiv=.?refresh")
        (dev.folder / "go").write_text("")
        self.assertEqual(dev.curl("/", "-H", "Accept: text/html").body, "hello")

    def test_a_request_whose_app_is_restarted_under_it_is_asked_again(self):
        """The reloader kills the process that has just read the request; a GET may be repeated."""
        dev = Dev(self, "sh", "-c", f"{PYTHON} -c \"$DIES\"; exec {PYTHON} -c \"$SERVES\"",
                  env={"DIES": APP + "def answer(r): os._exit(3)\nserve()", "SERVES": APP + "serve()"})
        self.assertEqual(dev.curl().body, "hello")

    def test_requests_wait_while_the_app_restarts_elsewhere(self):
        """The parent restarts the serving process on another port, as some reloaders do."""
        ports = [free_port(), free_port()]
        folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-restart-"))
        self.addCleanup(shutil.rmtree, folder, True)
        (folder / "one.py").write_text(APP + f"def answer(r): return b'one', {{}}\nserve({ports[0]})")
        (folder / "two.py").write_text(APP + f"def answer(r): return b'two', {{}}\nserve({ports[1]})")
        dev = Dev(self, "sh", "-c", f"""
{PYTHON} one.py & first=$!
while [ ! -e go ]; do sleep 0.02; done
kill $first; wait $first
while [ ! -e again ]; do sleep 0.02; done
exec {PYTHON} two.py""", cwd=folder)
        self.assertEqual(dev.curl().body, "one")
        (folder / "go").write_text("")
        wait_until(lambda: not listens(ports[0]), "the first to end", PATIENCE)
        waiting = subprocess.Popen(["curl", "--silent", "--insecure", "--max-time", str(PATIENCE),
                                    f"https://localhost:{dev.port}/"], stdout=subprocess.PIPE)
        (folder / "again").write_text("")
        self.assertEqual(waiting.communicate(timeout=PATIENCE)[0], b"two")

    def test_another_process_on_the_offered_port_gets_nothing(self):
        """The app fails to listen; a stranger who has its port must not be sent the browser's requests."""
        dev = Dev(self, PYTHON, "-c", PADDING + "import os, time; print('offered:', os.environ['PORT'], flush=True); time.sleep(1000)")
        port = int(dev.wait_for(r"offered: (\d+)").group(1))
        with socket.socket() as stranger:
            stranger.bind(("127.0.0.1", port))
            stranger.listen()
            stranger.settimeout(1)
            answer = dev.curl("/", "--request", "POST", "--data", "secret=1")
            self.assertEqual(answer.headers["x-lintel-error"], "app-starting")
            with self.assertRaises(TimeoutError):
                stranger.accept()


class Sudo(unittest.TestCase):
    def test_under_sudo_all_of_it_runs_as_the_calling_user_even_on_port_443(self):
        """Files that root made in the user's home, or an app that runs as root, would be the price of port 443."""
        if os.geteuid() != 0:
            return  # only root can be what sudo makes; the test machines' everyday user is root
        folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-sudo-"))
        self.addCleanup(shutil.rmtree, folder, True)
        folder.chmod(0o755)
        home = folder / "home"
        home.mkdir()
        os.chown(home, 4242, 4242)
        (folder / "passwd").write_text(pathlib.Path("/etc/passwd").read_text()
                                       + f"lintel-somebody:x:4242:4242::{home}:/bin/sh\n")
        # The test's own copy: the build folder may be closed to other users.
        shutil.copy(LINTEL, folder / "lintel")
        script = f"""
mount --bind {folder}/passwd /etc/passwd
cd {home}
exec env SUDO_UID=4242 SUDO_GID=4242 SUDO_USER=lintel-somebody HOME=/root {folder}/lintel dev --port {PRIVILEGED} -- \
  {PYTHON} -c "import os; print('app:', os.getresuid(), os.getgroups(), os.environ['HOME'], 'SUDO_UID' in os.environ,
               open('/proc/self/status').read().split('CapPrm:')[1].split()[0], os.path.exists('{home}/.local/share/lintel/ca/root.pem'))"
"""
        done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, timeout=PATIENCE, check=False)
        self.assertIn(f"app: (4242, 4242, 4242) [4242] {home} False 0000000000000000 True",
                      done.stdout.decode(), done.stderr.decode())
        self.assertEqual({path.stat().st_uid for path in home.rglob("*")}, {4242})


class Terminal(unittest.TestCase):
    """The app owns the terminal."""

    def test_ctrl_c_ends_the_app_and_lintel_with_its_code(self):
        dev = Dev(self, *app("""
try: serve()
except KeyboardInterrupt:
    print('app: interrupted once', flush=True); sys.exit(5)"""), tty=True)
        dev.wait_for("forwarding to")
        dev.type(b"\x03")
        self.assertEqual(dev.wait_exit(), 5)
        self.assertEqual(dev.output().count("app: interrupted once"), 1)

    def test_breakpoint_reads_what_is_typed(self):
        dev = Dev(self, PYTHON, "-c", PADDING + "x = 41\nbreakpoint()\nprint('app: x is', x, flush=True)", tty=True)
        dev.wait_for(r"\(Pdb\) ")
        dev.type(b"x = 42\n")
        dev.type(b"continue\n")
        dev.wait_for("app: x is 42")
        self.assertEqual(dev.wait_exit(), 0)

    def test_ctrl_c_in_a_debugger_does_not_end_lintel(self):
        # Looks at its input with a deadline: Python runs a handler late when the signal comes just before a read.
        dev = Dev(self, PYTHON, "-c", PADDING + """
import select, signal, sys
signal.signal(signal.SIGINT, lambda *a: print('app: stays', flush=True))
print('app: ready', flush=True)
while not select.select([sys.stdin], [], [], 0.05)[0]: pass
""", tty=True)
        dev.wait_for("app: ready")
        dev.type(b"\x03")
        dev.wait_for("app: stays")
        self.assertIsNone(dev.process.poll())
        dev.type(b"\n")
        self.assertEqual(dev.wait_exit(), 0)

    def test_ctrl_z_stops_both_and_cont_continues_both(self):
        """Under a shell with job control, as people start it."""
        dev = Dev(self, *app("print('app pid:', os.getpid(), flush=True)\nserve()"), tty=True)
        pid = int(dev.wait_for(r"app pid: (\d+)").group(1))
        dev.wait_for("forwarding to")
        os.killpg(os.getpgid(dev.process.pid), signal.SIGSTOP)
        wait_until(lambda: state_of(pid) == "T", "the app to stop", PATIENCE)
        wait_until(lambda: state_of(dev.process.pid) == "T", "lintel to stop", PATIENCE)
        os.killpg(os.getpgid(dev.process.pid), signal.SIGCONT)
        self.assertEqual(dev.curl().body, "hello")


if __name__ == "__main__":
    unittest.main()
