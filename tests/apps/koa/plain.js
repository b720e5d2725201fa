// Nothing here depends on the scheme.
const Koa = require('koa');

const app = new Koa();
app.use((ctx) => {
  if (ctx.path === '/') {
    ctx.type = 'html';
    ctx.body = '<!doctype html><title>Clock</title><a href="/time">time</a>';
  } else if (ctx.path === '/time') {
    ctx.body = 'noon';
  }
});
app.listen(process.env.PORT || 3000, '127.0.0.1');
