"""A Flask app that already speaks TLS, with a certificate that it makes up at each start."""
from flask import Flask, jsonify, request
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)


@app.route("/")
def index():
    return jsonify(scheme=request.scheme, url=request.url)


if __name__ == "__main__":
    app.run(port=5001, ssl_context="adhoc")
