// An Express app with a sign-in. Its session cookie is Secure, as it should be, and the line that tells Express about
// https is missing: README.md is the story of that line.
"use strict";
const { randomBytes } = require("node:crypto");
const express = require("express");
const session = require("express-session");

const app = express();
// The line that Lintel names goes here.

app.use(session({
  secret: process.env.SECRET_KEY ?? randomBytes(32).toString("hex"),
  resave: false,
  saveUninitialized: false,
  cookie: { secure: true, httpOnly: true, sameSite: "lax" },
}));
app.use(express.urlencoded({ extended: false }));

const escaped = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const page = (request) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Express and its session</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 36rem; margin: 3rem auto; padding: 0 1rem; }
  dt { font-weight: 500; } dd { margin: 0; font-family: ui-monospace, monospace; }
</style>
</head>
<body>
<h1>${request.session.name ? `Signed in as ${escaped(request.session.name)}` : "Not signed in"}</h1>
<form method="post" action="/login">
<label>Your name <input name="name" value="Ada" required></label> <button id="sign-in">Sign in</button>
</form>
<dl><dt>This app thinks it is at</dt><dd id="base">${escaped(request.protocol)}://${escaped(request.headers.host)}/</dd></dl>
</body>
</html>`;

app.get("/", (request, response) => response.send(page(request)));

app.post("/login", (request, response, next) => {
  // A new session for a new identity: the old cookie, if somebody planted it, is worth nothing.
  request.session.regenerate((error) => {
    if (error) return next(error);
    request.session.name = String(request.body?.name ?? "").slice(0, 80);
    response.redirect("/");
  });
});

app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1");
