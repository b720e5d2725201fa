"""Apps that the tests of the tunnel share, each on PORT of its computer: python3 shared_apps.py flask|websocket|grpc PORT"""
import asyncio
import hashlib
import sys
import threading

MIB = 1 << 20
BLOCK = hashlib.sha256(b"block").digest() * (MIB // 32)  # 1 MiB that is not all the same


def flask(port):
    from flask import Flask, Response, jsonify, request

    app = Flask(__name__)
    may_send = threading.Semaphore(0)

    @app.get("/")
    def index():
        return f"""<!doctype html><title>Shared</title><h1 id="greeting">hello from the laptop</h1>
<p id="url">{request.url}</p><p id="client">{request.remote_addr}</p><p id="script">no script yet</p>
<link rel="stylesheet" href="/style.css"><script src="/script.js"></script>"""

    @app.get("/script.js")
    def script():
        return Response("document.getElementById('script').innerText = 'script ran'", mimetype="text/javascript")

    @app.get("/style.css")
    def style():
        return Response("h1 { color: rgb(1, 2, 3) }", mimetype="text/css")

    @app.get("/redirect")
    def redirect():
        return Response(status=302, headers={"Location": f"http://{request.host}/"})

    @app.get("/headers")
    def headers():
        return jsonify(list(request.headers))

    @app.post("/upload")
    def upload():
        digest, size = hashlib.sha256(), 0
        while part := request.stream.read(MIB):
            digest.update(part)
            size += len(part)
        return jsonify(size=size, sha256=digest.hexdigest())

    @app.get("/download/<int:mib>")
    def download(mib):
        return Response((BLOCK for _ in range(mib)), mimetype="application/octet-stream")

    @app.get("/events")
    def events():
        count = int(request.args["count"])

        def each():
            for number in range(count):
                yield f"data: {number}\n\n"
                if not may_send.acquire(timeout=30):  # the next one only when the one before has been seen
                    return
        return Response(each(), mimetype="text/event-stream")

    @app.post("/seen")
    def seen():
        may_send.release()
        return "", 204

    app.run("127.0.0.1", port, threaded=True)


def websocket(port):
    import websockets

    async def echo(socket, *_):
        async for message in socket:
            await socket.send(message)

    async def serve():
        async with websockets.serve(echo, "127.0.0.1", port, max_size=None):
            await asyncio.Future()
    asyncio.run(serve())


def grpc(port):
    from concurrent import futures

    import grpc as library

    def failing(_, context):
        context.set_trailing_metadata((("x-detail", "why"),))
        context.abort(library.StatusCode.FAILED_PRECONDITION, "not now: grüß")
    handlers = library.method_handlers_generic_handler("test.Echo", {
        "Unary": library.unary_unary_rpc_method_handler(lambda request, _: request),
        "Both": library.stream_stream_rpc_method_handler(lambda requests, _: (request * 2 for request in requests)),
        "Failing": library.unary_unary_rpc_method_handler(failing)})
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = library.server(futures.ThreadPoolExecutor(8), handlers=(handlers,), options=options)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    {"flask": flask, "websocket": websocket, "grpc": grpc}[sys.argv[1]](int(sys.argv[2]))
