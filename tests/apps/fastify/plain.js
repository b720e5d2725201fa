// Nothing here depends on the scheme.
const fastify = require('fastify')();

fastify.get('/', (request, reply) => reply.type('text/html')
  .send('<!doctype html><title>Clock</title><a href="/time">time</a>'));
fastify.get('/time', (request, reply) => reply.send({ time: 'noon' }));
fastify.listen({ port: Number(process.env.PORT || 3000), host: '127.0.0.1' });
