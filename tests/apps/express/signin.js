// A sign-in form whose token lives in the session; every URL is relative, so only the cookie tells the scheme.
const crypto = require('node:crypto');
const express = require('express');
const session = require('express-session');

const app = express();
// doctor: here
app.use(session({ secret: 'only-for-tests', resave: false, saveUninitialized: false, cookie: { secure: true } }));
app.use(express.urlencoded({ extended: false }));

app.get('/', (req, res) => res.send('<!doctype html><a href="/login">Sign in</a>'));

app.get('/login', (req, res) => {
  req.session.token = crypto.randomUUID();
  res.send(`<!doctype html><form method="post"><input name="_csrf" type="hidden" value="${req.session.token}">
<input name="password" type="password"><button>Sign in</button></form>`);
});

app.post('/login', (req, res) => {
  if (req.body._csrf !== req.session.token) return res.status(403).send('invalid csrf token');
  req.session.user = 'ada';
  res.redirect('/');
});

app.listen(process.env.PORT || 3000, '127.0.0.1');
