// An HTTP server without dependencies.
"use strict";
const http = require("node:http");

const server = http.createServer((request, response) => {
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({
    scheme: request.headers["x-forwarded-proto"] ?? "http",
    host: request.headers.host,
    path: request.url,
  }) + "\n");
});
server.listen(Number(process.env.PORT ?? 3000), process.env.HOST);
