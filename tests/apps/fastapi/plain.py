"""Nothing here depends on the scheme: not even /time/ is redirected to /time, which would be absolute."""
from fastapi import FastAPI

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
app.router.redirect_slashes = False


@app.get("/")
def index():
    return {"links": ["/time"]}


@app.get("/time")
def time():
    return {"time": "noon"}
