"""One instance of an app as a process of its own, so that it can be killed: upstream_app.py NAME PORT"""
import sys
import threading

from origin import Origin, answer

name, port = sys.argv[1], int(sys.argv[2])
origin = Origin(respond=lambda request: answer(200, name, headers=[("X-App", name)]), port=port)
origin.record = False
threading.Event().wait()
