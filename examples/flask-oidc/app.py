"""A Flask app that signs people in with OpenID Connect (authorization code with PKCE, through Authlib). Nothing in it
knows of Lintel, and the line that tells it about https is missing: README.md is the story of that line."""
import os

from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, render_template_string, session, url_for

app = Flask(__name__)
# The line that Lintel names goes here.

app.secret_key = os.environ.get("SECRET_KEY") or os.urandom(32)
app.config["SESSION_COOKIE_SECURE"] = True
oauth = OAuth(app)
provider = oauth.register(
    "provider",
    client_id="flask-oidc",
    client_secret=os.environ.get("CLIENT_SECRET", "a secret for this machine only"),
    server_metadata_url=os.environ.get("ISSUER", "http://localhost:9400") + "/.well-known/openid-configuration",
    client_kwargs={"scope": "openid profile", "code_challenge_method": "S256"},
)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Flask and OpenID Connect</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 36rem; margin: 3rem auto; padding: 0 1rem; }
  a.button { display: inline-block; padding: .5rem 1.2rem; border-radius: .4rem; background: #1f6feb; color: #fff; text-decoration: none; }
  dt { font-weight: 500; } dd { margin: 0 0 .6rem; font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
</style>
</head>
<body>
{% if user %}
<h1>Signed in as {{ user.name }}</h1>
<p><a href="{{ url_for('logout') }}">Sign out</a></p>
{% else %}
<h1>{{ error or "Not signed in" }}</h1>
<p><a class="button" id="sign-in" href="{{ url_for('login') }}">Sign in</a></p>
{% endif %}
<dl>
  <dt>This app thinks it is at</dt><dd id="base">{{ url_for('index', _external=True) }}</dd>
  <dt>and that you are</dt><dd id="client">{{ request.remote_addr }}</dd>
</dl>
</body>
</html>"""


@app.route("/")
def index():
    return render_template_string(PAGE, user=session.get("user"))


@app.route("/login")
def login():
    return provider.authorize_redirect(url_for("callback", _external=True))


@app.route("/callback")
def callback():
    try:
        token = provider.authorize_access_token()
    except OAuthError as error:
        return render_template_string(PAGE, error=f"Sign-in failed: {error.description or error.error}"), 400
    session["user"] = {"name": provider.userinfo(token=token)["name"]}
    return redirect(url_for("index"))


@app.route("/logout")
def logout():
    session.clear()
    return redirect(url_for("index"))


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", 5000)))
