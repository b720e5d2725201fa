"""A Flask app for `flask run --debug`: edit GREETING while it runs and reload the page."""
from flask import Flask, request

app = Flask(__name__)
GREETING = "hello"


@app.route("/")
def index():
    return f"{GREETING} over {request.headers.get('X-Forwarded-Proto')}\n"
