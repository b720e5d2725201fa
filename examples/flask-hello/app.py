"""An ordinary Flask app: nothing in it knows of Lintel. Its page shows what reached it."""
from flask import Flask, jsonify, redirect, render_template_string, request, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)
# The one line that a Flask app behind any proxy needs: take the client's address and scheme from the proxy's headers.
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Flask behind Lintel</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; }
  h1 { font-size: 1.6rem; margin-bottom: .2rem; }
  .scheme { display: inline-block; padding: .1rem .6rem; border-radius: 1rem; color: #fff; }
  .https { background: #1a7f37; } .http { background: #b42318; }
  table { border-collapse: collapse; width: 100%; margin: .5rem 0 2rem; }
  th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #8884; }
  th { font-weight: 500; width: 14rem; white-space: nowrap; } td { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>Flask says: <span class="scheme {{ scheme }}">{{ scheme }}</span></h1>
<p>What this app saw of your request.</p>
<table>
  {% for name, value in facts %}<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>
  {% endfor %}
</table>
<h2>Request headers</h2>
<table>
  {% for name, value in headers %}<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>
  {% endfor %}
</table>
<p><a href="{{ url_for('go') }}">A redirect</a> · <a href="{{ url_for('facts_as_json') }}">the same as JSON</a></p>
</body>
</html>"""


def facts():
    return {
        "wsgi.url_scheme": request.environ["wsgi.url_scheme"],
        "url_for(…, _external=True)": url_for("index", _external=True),
        "remote_addr": request.remote_addr,
        "host": request.host,
        "is_secure": request.is_secure,
    }


@app.route("/")
def index():
    return render_template_string(PAGE, scheme=request.scheme, facts=facts().items(),
                                  headers=sorted(request.headers.items()))


@app.route("/json")
def facts_as_json():
    return jsonify(facts=facts(), headers=dict(request.headers))


@app.route("/go")
def go():
    return redirect(url_for("index", _external=True))


if __name__ == "__main__":
    app.run()
