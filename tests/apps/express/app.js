// A small shop: express-session with a cookie that must be secure, absolute URLs from req.protocol.
const express = require('express');
const session = require('express-session');

const app = express();
// doctor: here

app.use(session({
  secret: 'only-for-tests',
  resave: false,
  saveUninitialized: false,
  cookie: { secure: true, httpOnly: true },
}));

const base = (req) => `${req.protocol}://${req.get('host')}`;

app.get('/', (req, res) => {
  res.send(`<!doctype html><title>Shop</title>
<link rel="stylesheet" href="${base(req)}/shop.css">
<a href="/login">Sign in</a>`);
});

app.get('/shop.css', (req, res) => res.type('css').send('h1 { color: teal }'));

app.get('/login', (req, res) => {
  req.session.user = 'ada';
  res.redirect(`${base(req)}/account`);
});

app.get('/account', (req, res) => res.json({ user: req.session.user, address: req.ip }));

app.listen(process.env.PORT || 3000, '127.0.0.1');
