"""A small shop API with a page: url_for gives absolute URLs, a path without its slash is redirected absolutely."""
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse

app = FastAPI()


@app.get("/", response_class=HTMLResponse)
def index(request: Request):
    return f"""<!doctype html><title>Shop</title>
<script src="{request.url_for('script')}"></script>
<a href="/login">Sign in</a> <a href="/items">Items</a>"""


@app.get("/shop.js")
def script():
    return HTMLResponse("console.log('shop')", media_type="text/javascript")


@app.get("/login")
def login(request: Request):
    answer = RedirectResponse(request.url_for("account"), status_code=303)
    answer.set_cookie(
        "session", "ada", httponly=True,
        # doctor: cookie
    )
    return answer


@app.get("/account")
def account(request: Request):
    return {"user": "ada", "address": request.client.host}


@app.get("/items/")
def items():
    return ["teapot"]
