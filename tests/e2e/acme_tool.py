"""Runs one call of the ACME client (build/…/tests/acme_client) against an issuer."""
import json
import os
import subprocess

from lintel_test import ROOT, SANITIZER_MARKS

TOOL = os.environ.get("ACME_CLIENT_BIN") or str(ROOT / "build/release/tests/acme_client")


def acme_call(pebble, folder, action="obtain", directory=None, ca_file=None, seconds=120, **options):
    """The tool's answer as a dictionary: "chain", "key", "requests", "log", or "problem"."""
    request = {"action": action, "directory": directory or pebble.directory, "ca_file": ca_file or pebble.ca_file,
               "management": pebble.management, "state": str(folder / "state"), "names": ["app.test"],
               "types": ["http-01"], "broken": [], "deadline_ms": seconds * 1000, **options}
    ran = subprocess.run([TOOL], input=json.dumps(request), text=True, capture_output=True, timeout=seconds + 60)
    for mark in SANITIZER_MARKS:
        if mark in ran.stderr:
            raise AssertionError(ran.stderr[:6000])
    if ran.returncode not in (0, 1):
        raise AssertionError(f"acme_client ended with {ran.returncode}: {ran.stderr[-3000:]}")
    return dict(json.loads(ran.stdout), stderr=ran.stderr)
