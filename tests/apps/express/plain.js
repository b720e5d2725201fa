// Nothing here depends on the scheme.
const express = require('express');

const app = express();
app.get('/', (req, res) => res.send('<!doctype html><title>Clock</title><a href="/time">time</a>'));
app.get('/time', (req, res) => res.type('text').send('noon'));
app.listen(process.env.PORT || 3000, '127.0.0.1');
