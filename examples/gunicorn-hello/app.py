"""A WSGI app without a framework."""
import json


def app(environ, start_response):
    body = json.dumps({"scheme": environ["wsgi.url_scheme"], "host": environ["HTTP_HOST"],
                       "client": environ["REMOTE_ADDR"]}).encode() + b"\n"
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
