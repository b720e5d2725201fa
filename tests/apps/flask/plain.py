"""Nothing here depends on the scheme: relative links, no cookie."""
import os

from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return '<!doctype html><title>Clock</title><a href="/time">time</a>'


@app.get("/time")
def time():
    return "noon"


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", 5000)))
