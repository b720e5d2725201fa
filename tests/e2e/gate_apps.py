"""Apps that the tests of gates share: python3 gate_apps.py debug|plain|django|host PORT"""
import sys


def flask(port, debug):
    from flask import Flask, Response, jsonify, request

    app = Flask(__name__)

    @app.get("/")
    def index():
        return '<!doctype html><title>The app</title><h1 id="app">the app</h1>'

    @app.route("/headers", methods=["GET", "POST", "DELETE"])
    def headers():
        return jsonify(list(request.headers))

    @app.get("/crash")
    def crash():
        raise RuntimeError("on purpose")

    @app.get("/away")
    def away():
        return Response(status=302, headers={"Location": f"http://{request.host}/there"})

    if not debug:
        @app.get("/console")
        def console():
            return "a page of the app's own"

    app.run("127.0.0.1", port, debug=debug, use_reloader=False, threaded=True)


def django(port):
    from django.conf import settings
    from django.core.management import execute_from_command_line
    from django.urls import path

    # Without any it would show its welcome.
    urlpatterns.append(path("there", lambda request: None))
    settings.configure(DEBUG=True, SECRET_KEY="test", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__)
    execute_from_command_line(["manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"])


urlpatterns = []  # of Django


def host(port):
    """Checks Host as dev servers do."""
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            mine = self.headers["Host"] == f"localhost:{port}"
            same = self.headers.get("Origin", f"https://localhost:{port}") == f"https://localhost:{port}"
            body = f"forwarded {self.headers['X-Forwarded-Host']}".encode() if mine and same else b"Blocked request."
            self.send_response(200 if mine and same else 403)
            if self.path == "/away":
                self.send_header("X-Was", "away")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    number = int(sys.argv[2])
    {"debug": lambda: flask(number, True), "plain": lambda: flask(number, False), "django": lambda: django(number),
     "host": lambda: host(number)}[sys.argv[1]]()
