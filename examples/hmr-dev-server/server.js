// A dev server with hot updates over a WebSocket, on Node's core modules only.
"use strict";
const crypto = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");

const MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455 §1.3
const files = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/message.txt": ["message.txt", "text/plain; charset=utf-8"],
};
const message = path.join(process.env.HMR_FOLDER ?? __dirname, "message.txt");
const sockets = new Set();

// As dev servers do against DNS rebinding.
function allowed(host) {
  const name = (host ?? "").replace(/:\d+$/, "");
  return name === "localhost" || name === "127.0.0.1" || name.endsWith(".localhost");
}

const server = http.createServer((request, response) => {
  if (!allowed(request.headers.host)) {
    response.writeHead(403).end("Blocked request. This host is not allowed.\n");
    return;
  }
  const [file, type] = files[request.url.split("?")[0]] ?? [];
  if (!file) {
    response.writeHead(404).end("not found\n");
    return;
  }
  const place = file === "message.txt" ? message : path.join(__dirname, file);
  response.writeHead(200, { "Content-Type": type, "Cache-Control": "no-store" });
  fs.createReadStream(place).pipe(response);
});

// A text frame from the server: unmasked, in one piece (RFC 6455 §5.2).
function textFrame(text) {
  const payload = Buffer.from(text);
  const head = payload.length < 126 ? Buffer.from([0x81, payload.length])
    : Buffer.from([0x81, 126, payload.length >> 8, payload.length & 0xff]);
  return Buffer.concat([head, payload]);
}

server.on("upgrade", (request, socket) => {
  const key = request.headers["sec-websocket-key"];
  if (!key || request.headers["sec-websocket-protocol"] !== "hmr" || !allowed(request.headers.host)) {
    socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    return;
  }
  const accept = crypto.createHash("sha1").update(key + MAGIC).digest("base64");
  socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: hmr\r\n\r\n`);
  socket.write(textFrame(JSON.stringify({ type: "connected" })));
  sockets.add(socket);
  socket.on("close", () => sockets.delete(socket));
  socket.on("error", () => socket.destroy());
  // The page sends nothing but a close frame; its opcode is 8.
  socket.on("data", (frame) => { if ((frame[0] & 0x0f) === 8) socket.end(Buffer.from([0x88, 0])); });
});

// Polled: works on every file system, and editors that replace the file do not lose the watch.
fs.watchFile(message, { interval: 100 }, () => {
  fs.readFile(message, "utf8", (error, text) => {
    if (error) return; // between an editor's unlink and rename
    for (const socket of sockets) socket.write(textFrame(JSON.stringify({ type: "update", text: text.slice(0, 10000) })));
  });
});

server.listen(Number(process.env.PORT ?? 5173), process.env.HOST ?? "127.0.0.1");
