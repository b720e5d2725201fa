// A small shop: @fastify/session (its cookie is secure by default), absolute URLs from request.protocol.
const fastify = require('fastify')({
  // doctor: here
});

fastify.register(require('@fastify/cookie'));
fastify.register(require('@fastify/session'), {
  secret: 'only-for-tests-and-longer-than-thirty-two',
  saveUninitialized: false,
});

const base = (request) => `${request.protocol}://${request.headers.host}`;

fastify.get('/', (request, reply) => {
  reply.type('text/html').send(`<!doctype html><title>Shop</title>
<script src="${base(request)}/shop.js"></script>
<a href="/login">Sign in</a>`);
});

fastify.get('/shop.js', (request, reply) => reply.type('text/javascript').send("console.log('shop')"));

fastify.get('/login', (request, reply) => {
  request.session.user = 'ada';
  reply.redirect(`${base(request)}/account`);
});

fastify.get('/account', (request, reply) => reply.send({ user: request.session.user, address: request.ip }));

fastify.listen({ port: Number(process.env.PORT || 3000), host: '127.0.0.1' });
