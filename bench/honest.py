"""An honest client beside an attack: a new HTTPS connection and one GET every 50 ms, until stdin ends.
Prints a line when its first answer is there, and at the end a JSON object with what it saw."""

import json
import select
import sys
import time

from proxies import fetch


def main():
    port, answered, failed, slowest = int(sys.argv[1]), 0, [], 0.0
    total = 0.0
    while True:
        began = time.monotonic()
        try:
            answer = fetch(port, True, "/honest", timeout=10)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise OSError(f"answered {answer[:40]!r}")
            took = time.monotonic() - began
            if answered == 0 and not failed:
                print("ready", flush=True)
            answered += 1
            total += took
            slowest = max(slowest, took)
        except OSError as error:
            if not failed and answered == 0:
                print("ready", flush=True)
            failed.append(f"{type(error).__name__}: {error}")
        pause = max(0.0, 0.05 - (time.monotonic() - began))
        if select.select([sys.stdin], [], [], pause)[0]:
            break
    print(json.dumps({"answered": answered, "failed": len(failed), "why": sorted(set(failed))[:3],
                      "slowest_ms": slowest * 1000, "mean_ms": total * 1000 / max(1, answered)}))


main()
