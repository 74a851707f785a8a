// The WHEP front of a Janus: `node srv.mjs JSON`, with {janus, id, mountpoint, token, counterOffer}.
// It says what happens in lines of JSON, and ends when its stdin does.
import express from 'express';
import { JanusWhepServer } from 'janus-whep-server';

const settings = JSON.parse(process.argv[2]);
const say = (event, more = {}) => process.stdout.write(JSON.stringify({ event, ...more }) + '\n');
for (const level of ['debug', 'error', 'info', 'log', 'warn'])
	console[level] = (...words) => process.stderr.write(words.join(' ') + '\n'); // stdout is for `say` alone

const app = express();
// what the client sent and what it got, seen from outside the library
app.use((request, response, next) => {
	response.on('finish', () =>
		say('request', { method: request.method, status: response.statusCode, type: request.headers['content-type'] ?? null }));
	next();
});

const server = new JanusWhepServer({ janus: { address: settings.janus }, rest: { app, basePath: '/whep' }, debug: 'info' });
await server.start();
// Client offers came to the Streaming plugin with Janus 1.1.4; the library asks for 1.0 only. An older Janus answers
// with an offer of its own: a counter-offer (406) if the library is told so, and labelled 201 if it is not.
if (settings.counterOffer) server.multistream = false;
server.on('new-subscriber', () => say('joined'));
server.on('subscriber-gone', () => say('left'));
server.createEndpoint({ id: settings.id, mountpoint: settings.mountpoint, token: settings.token });

const http = app.listen(0, '127.0.0.1', () => say('listening', { port: http.address().port }));
process.stdin.on('end', () => process.exit(0)).resume();
