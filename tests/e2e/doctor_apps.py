"""Runs `lintel doctor` against the apps of tests/apps: as they are written, with the fix that the doctor printed, and
against an app of the same framework in which nothing depends on the scheme.

The fix is applied literally: the lines of the doctor's --json output go to the marked place of the app's source
("doctor: here"), to its command line or to its environment, whichever the fix names.
"""
import concurrent.futures
import dataclasses
import functools
import http.client
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest

from lintel_test import LINTEL, ROOT, SANITIZER_MARKS, free_port, wait_until

APPS = ROOT / "tests/apps"
NODE_MODULES = ROOT / "tests/node/node_modules"
TABLE = ROOT / "docs/doctor.md"
PYTHON = "/usr/bin/python3"
START_SECONDS = 120
DOCTOR_SECONDS = 120


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table in docs/doctor.md. In a command {port} is the port that the app is to listen on."""
    title: str                      # "Flask (app.run)"
    folder: str                     # below tests/apps
    framework: str                  # what the doctor calls it
    finds: frozenset                # ids, exactly
    command: tuple                  # of the misconfigured app
    version: object = lambda: ""    # called when the table is written
    source: str = ""                # the file with the marked places, below the folder
    plain: tuple = ()               # the command of the app that has nothing scheme-dependent; () for none
    plain_path: str = "/time"
    env: tuple = ()                 # pairs, of the misconfigured app
    plain_env: tuple = ()
    build: object = None            # called with the work folder before each start
    path: str = "/login"
    lintel_page: str = "/"          # a page with absolute URLs of its own; "" to leave Lintel out
    places: tuple = ()              # pairs (finding id, marker) where the marker is not "here"
    sees_client: bool = True        # does the framework take the client's address from X-Forwarded-For, with the fix?


class App:
    """A running app in a copy of its folder."""

    def __init__(self, folder, command, env, port=None):
        self.port = port or free_port()
        self.log_path = folder.parent / f"{folder.name}.{self.port}.log"
        command = [word.replace("{port}", str(self.port)) for word in command]
        environment = {key: value for key, value in os.environ.items()
                       if key not in ("HOST", "FORWARDED_ALLOW_IPS", "FLASK_APP", "DJANGO_SETTINGS_MODULE")}
        environment.update(PORT=str(self.port), PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1", NO_COLOR="1", **env)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, start_new_session=True)
        try:
            wait_until(self._answers, f"{command} to answer on port {self.port}", START_SECONDS)
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.log()}") from None

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the app exited with {self.process.returncode}:\n{self.log()}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def log(self):
        return self.log_path.read_text(errors="replace")[-4000:]

    def stop(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                continue
        self.process.wait()


def run(command, folder, env=()):
    """A step of a build."""
    done = subprocess.run(command, cwd=folder, env={**os.environ, **dict(env)}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=START_SECONDS * 4, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{command}: exit {done.returncode}:\n{done.stdout[-4000:]}")


@dataclasses.dataclass
class Diagnosis:
    code: int
    report: dict
    text: str

    @property
    def ids(self):
        return frozenset(finding["id"] for finding in self.report["findings"])


def doctor(port, path, home):
    """`lintel doctor … --json`: what it found, checked against its own contract."""
    target = f"http://127.0.0.1:{port}"
    command = [LINTEL, "doctor", target, "--path", path, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DOCTOR_SECONDS, check=False,
                          env={**os.environ, "HOME": str(home), "NO_COLOR": "1"})
    for mark in SANITIZER_MARKS:
        if mark in done.stderr:
            raise AssertionError(f"sanitizer report:\n{done.stderr[:6000]}")
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"{command}: exit {done.returncode}, not JSON:\n{done.stdout}\n{done.stderr}") from None
    return Diagnosis(done.returncode, report, done.stdout)


class Outcome:
    """What the doctor said about one case."""

    def __init__(self, case):
        self.case = case
        self.misconfigured = self.fixed = self.plain = None
        self.lines = []      # of all fixes, in the order in which they were applied
        self.app = None      # the repaired one, still running


class Runner:
    """Runs cases in parallel and keeps the repaired apps running until close()."""

    def __init__(self, cases, workers=4):
        self.cases = cases
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lintel-doctor-"))
        self.running, self.lock = [], threading.Lock()
        pool = concurrent.futures.ThreadPoolExecutor(workers)
        self.outcomes = {case.title: pool.submit(self._run, case) for case in cases}
        pool.shutdown(wait=False)

    def outcome(self, title):
        return self.outcomes[title].result()

    def close(self):
        concurrent.futures.wait(self.outcomes.values())
        for app in list(self.running):
            self._stop(app)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, folder, command, env=()):
        app = App(folder, command, dict(env))
        with self.lock:
            self.running.append(app)
        return app

    def _stop(self, app):
        app.stop()
        with self.lock:
            self.running.remove(app)

    def _run(self, case):
        outcome = Outcome(case)
        # Names without random parts: Go and the like show them in what they print.
        work = self.folder / re.sub("[^a-z0-9]+", "-", case.title.lower()).strip("-")
        shutil.copytree(APPS / case.folder, work, ignore=shutil.ignore_patterns("__pycache__"))
        if case.command[0] == "node":
            if not NODE_MODULES.is_dir():
                raise AssertionError("tests/node/node_modules is missing: run scripts/setup")
            (work / "node_modules").symlink_to(NODE_MODULES)
        if case.build:
            case.build(work)

        app = self._start(work, case.command, case.env)
        outcome.misconfigured = doctor(app.port, case.path, self.folder)
        self._stop(app)

        command, env = self._apply(outcome, work)
        if case.build:
            case.build(work)
        outcome.app = self._start(work, command, env)
        outcome.fixed = doctor(outcome.app.port, case.path, self.folder)

        if case.plain:
            app = self._start(work, case.plain, case.plain_env)
            outcome.plain = doctor(app.port, case.plain_path, self.folder)
            self._stop(app)
        return outcome

    def _apply(self, outcome, work):
        """Puts the lines of every fix where the fix says. The command and the environment afterwards."""
        case = outcome.case
        command, env, applied = list(case.command), dict(case.env), []
        for finding in outcome.misconfigured.report["findings"]:
            fix = finding["fix"]
            if not fix["lines"]:
                raise AssertionError(f"{finding['id']} comes without a fix:\n{outcome.misconfigured.text}")
            if fix["lines"] in applied:
                continue
            applied.append(fix["lines"])
            outcome.lines += fix["lines"]
            place = fix["file"]
            if place.startswith("in place of "):
                replace(work / case.source, place.removeprefix("in place of "), fix["lines"])
            elif place.startswith("the options of the command"):
                command += shlex.split(" ".join(fix["lines"]))
            elif ".env" in place:
                env.update(line.split("=", 1) for line in fix["lines"])
            elif not case.source:
                raise AssertionError(f"no place for {finding['id']}: {fix}\n{outcome.misconfigured.text}")
            else:
                marker = dict(case.places).get(finding["id"], "here")
                insert(work / case.source, marker, fix["lines"])
        return command, env


def insert(path, marker, lines):
    """Puts lines after the line with "doctor: MARKER", indented like it."""
    source = path.read_text().split("\n")
    at = [number for number, line in enumerate(source) if f"doctor: {marker}" in line]
    if len(at) != 1:
        raise AssertionError(f"{path.name} has {len(at)} places for {marker!r}: {lines}")
    indent = re.match(r"\s*", source[at[0]]).group()
    source[at[0] + 1:at[0] + 1] = [indent + line for line in lines]
    path.write_text("\n".join(source))


def replace(path, expression, lines):
    """Puts one line where an expression stands, everywhere in the file."""
    source = path.read_text()
    if expression not in source or len(lines) != 1:
        raise AssertionError(f"{path.name} has no place for {lines} instead of {expression!r}")
    path.write_text(source.replace(expression, lines[0]))


# ---- versions, for the table

@functools.cache
def python_version(module):
    code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    return subprocess.run([PYTHON, "-c", code, module], capture_output=True, text=True, check=True).stdout.strip()


def node_version(package):
    return json.loads((NODE_MODULES / package / "package.json").read_text())["version"]


def debian_version(package):
    done = subprocess.run(["dpkg-query", "-W", "-f=${Version}", package], capture_output=True, text=True, check=True)
    return re.sub(r"^\d+:|[-+~].*", "", done.stdout)


# ---- the table of docs/doctor.md

BEGIN, END = "<!-- table:begin -->", "<!-- table:end -->"
HEAD = ["App", "Version", "As written, the doctor finds", "The lines that it prints", "With them",
        "Nothing scheme-dependent"]


def span(line):
    return (f"`` {line} ``" if "`" in line else f"`{line}`").replace("|", "\\|")


def row(outcome, version):
    code = "<br>".join(span(line) for line in outcome.lines)
    return [outcome.case.title, version, ", ".join(f"`{name}`" for name in sorted(outcome.misconfigured.ids)), code,
            outcome.fixed.report["verdict"], outcome.plain.report["verdict"] if outcome.plain else ""]


def committed_rows():
    """The rows of the committed table by their first cell."""
    text = TABLE.read_text()
    lines = text[text.index(BEGIN):text.index(END)].splitlines()
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    return {one[0].strip(): [cell.strip() for cell in one] for one in cells[2:]}


def write_row(new):
    """Replaces this row of the table, or adds it at the end."""
    text = TABLE.read_text()
    kept = committed_rows()
    kept[new[0]] = new
    lines = ["| " + " | ".join(one) + " |" for one in [HEAD, ["---"] * len(HEAD), *kept.values()]]
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    TABLE.write_text(text[:begin] + "\n" + "\n".join(lines) + "\n" + text[end:])


class DoctorTestCase(unittest.TestCase):
    """One test for each of `cases`, and one for the table. The apps run in parallel from the first test on."""

    cases = ()

    @classmethod
    def register(cls):
        for case in cls.cases:
            name = "test_" + re.sub("[^a-z0-9]+", "_", case.title.lower()).strip("_")
            setattr(cls, name, lambda self, case=case: self.check(self.runner.outcome(case.title)))

    @classmethod
    def setUpClass(cls):
        cls.runner = Runner(cls.cases)
        cls.addClassCleanup(cls.runner.close)

    def test_table(self):
        """docs/doctor.md is what a run found, not what somebody remembers."""
        for case in self.cases:
            with self.subTest(case.title):
                outcome = self.runner.outcome(case.title)
                if os.environ.get("LINTEL_WRITE_TABLE") == "1":
                    write_row(row(outcome, case.version()))
                self.check_row(outcome)

    def check(self, outcome):
        case, first, second, plain = outcome.case, outcome.misconfigured, outcome.fixed, outcome.plain
        self.assertEqual((first.code, first.report["verdict"]), (1, "findings"), first.text)
        self.assertEqual(sorted(first.ids), sorted(case.finds), first.text)
        self.assertEqual(first.report["framework"]["name"], case.framework, first.text)
        for finding in first.report["findings"]:
            for key in ("symptom", "cause", "verify", "evidence"):
                self.assertTrue(finding[key], f"{finding['id']} has no {key}:\n{first.text}")
        self.assertEqual((second.code, second.report["verdict"], second.report["findings"]), (0, "healthy", []),
                         f"with {outcome.lines}:\n{second.text}\n{outcome.app.log()}")
        if plain:
            self.assertEqual((plain.code, plain.report["verdict"], plain.report["findings"]), (1, "unknown", []),
                             plain.text)
            self.assertTrue(plain.report["try"], f"no path to try next:\n{plain.text}")

    def check_row(self, outcome):
        """The committed table says what this run found; its versions are those of the machine that wrote it."""
        written = committed_rows().get(outcome.case.title)
        self.assertIsNotNone(written, f"docs/doctor.md has no row {outcome.case.title!r}; LINTEL_WRITE_TABLE=1 writes it")
        self.assertEqual(written[2:], row(outcome, "")[2:], "docs/doctor.md differs; LINTEL_WRITE_TABLE=1 writes it")
