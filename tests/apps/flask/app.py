"""A small shop: a page with absolute URLs of its assets, a sign-in that sends on to an absolute URL, a session."""
import os

from flask import Flask, redirect, render_template, request, session, url_for

app = Flask(__name__)
app.secret_key = "only-for-tests"
# doctor: here


@app.get("/")
def index():
    return render_template("index.html")


@app.get("/login")
def login():
    session["user"] = "ada"
    return redirect(url_for("account", _external=True))


@app.get("/account")
def account():
    return {"user": session.get("user"), "address": request.remote_addr}


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", 5000)))
