// A small shop: koa-session, absolute URLs from ctx.protocol and ctx.host.
const Koa = require('koa');
const { createSession } = require('koa-session');

const app = new Koa();
app.keys = ['only-for-tests'];
// doctor: here
app.use(createSession({}, app));

const base = (ctx) => `${ctx.protocol}://${ctx.host}`;

app.use((ctx) => {
  switch (ctx.path) {
    case '/':
      ctx.type = 'html';
      ctx.body = `<!doctype html><title>Shop</title>
<link rel="stylesheet" href="${base(ctx)}/shop.css">
<a href="/login">Sign in</a>`;
      break;
    case '/shop.css':
      ctx.type = 'css';
      ctx.body = 'h1 { color: teal }';
      break;
    case '/login':
      ctx.session.user = 'ada';
      ctx.redirect(`${base(ctx)}/account`);
      break;
    case '/account':
      ctx.body = { user: ctx.session.user, address: ctx.ip };
      break;
    default:
      ctx.status = 404;
  }
});

app.listen(process.env.PORT || 3000, '127.0.0.1');
