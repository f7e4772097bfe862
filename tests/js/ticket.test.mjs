// Tickets and tokens: a fresh one for every attempt, and no attempt without one.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import test from "node:test";

import { Server, client, fakeWebSocket, heard, opened } from "./support.mjs";

const URI = "ws://example.test/ws/chat";
const NEVER = { minDelay: 3_600_000, maxDelay: 3_600_000 };

/** Make a class that tells of its next instance. */
function watched() {
  const waiting = [];
  class Watched extends fakeWebSocket() {
    constructor(...args) {
      super(...args);
      (waiting.shift() ?? (() => {}))(this);
    }
  }
  Watched.next = () => new Promise((resolve) => waiting.push(resolve));
  return Watched;
}

/** Serve tickets on a free port; gives the address and what was asked. */
async function view(t, answer) {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers["cache-control"]}`);
    answer(response);
  });
  t.after(() => server.close());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}/ticket`, asked };
}

test("each attempt offers a fresh ticket behind the subprotocols of the page", async (t) => {
  const Watched = watched();
  let count = 0;
  const first = Watched.next();
  const ticket = async () => `ticket${(count += 1)}`;
  client(t, URI, { WebSocket: Watched, protocols: ["chat.v1"], ticket });
  let socket = await first;
  for (const number of [1, 2, 3]) {
    assert.deepEqual(socket.protocols, ["chat.v1", "wsredis.ticket", `ticket${number}`]);
    const next = Watched.next();
    socket.open();
    socket.end(1006);
    socket = await next;
  }
});

test("a view is asked by POST and no cache answers for it", async (t) => {
  const { url, asked } = await view(t, (response) => response.end("abc\n"));
  const Watched = watched();
  for (const ticket of [url, new URL(url)]) {
    const made = Watched.next();
    client(t, URI, { WebSocket: Watched, ticket });
    assert.deepEqual((await made).protocols, ["wsredis.ticket", "abc"]);
  }
  assert.deepEqual(asked, ["POST /ticket no-cache", "POST /ticket no-cache"]);
});

test("a server that answers with the marker is content, and so is the client", async (t) => {
  const server = await Server.start(t);
  const ws = client(t, server.url(), { ticket: () => "abc" });
  const [event] = await heard(ws, "open");
  assert.equal(event.target.protocol, "wsredis.ticket");
  assert.equal((await server.next(opened)).subprotocol, "wsredis.ticket");
});

for (const [what, ticket, reason] of [
  ["a function that throws", () => assert.fail("logged out"), /no ticket: .*logged out/],
  ["a promise that is rejected", async () => Promise.reject(new Error("away")), /no ticket: .*away/],
  ["a ticket that is no token", () => "not a token", /no ticket: .*/],
]) {
  test(`${what} is a failed attempt`, async (t) => {
    const ws = client(t, "ws://127.0.0.1:9/ws/chat", { ...NEVER, ticket });
    const [retry] = await heard(ws, "reconnecting");
    assert.match(retry.reason, reason);
    assert.deepEqual([retry.attempt, retry.code], [1, 1006]);
  });
}

test("a view that gives no ticket is a failed attempt, and is asked again", async (t) => {
  let status = 403;
  const { url, asked } = await view(t, (response) => {
    response.writeHead(status).end("abc");
    status = 200;
  });
  const Watched = watched();
  const made = Watched.next();
  const ws = client(t, URI, { WebSocket: Watched, ticket: url });
  const [retry] = await heard(ws, "reconnecting");
  assert.match(retry.reason, /no ticket: Error: 403 Forbidden/);
  await made;
  assert.equal(Watched.made.length, 1);
  assert.equal(asked.length, 2);
});

test("a ticket that comes too late is not used", async (t) => {
  const WebSocket = fakeWebSocket();
  let give;
  const ticket = () => new Promise((resolve) => (give = resolve));
  const ws = client(t, URI, { WebSocket, ticket, connectTimeout: 20, ...NEVER });
  assert.match((await heard(ws, "reconnecting"))[0].reason, /no answer/);
  give("late");
  await new Promise(setImmediate);
  assert.equal(WebSocket.made.length, 0);
});

test("close() while the ticket is on its way is final", async (t) => {
  const WebSocket = fakeWebSocket();
  for (const ticket of [async () => "late", () => Promise.reject(new Error("late"))]) {
    const ws = client(t, URI, { WebSocket, ticket });
    ws.close();
    await new Promise(setImmediate);
    assert.equal(ws.state, "closed");
  }
  assert.equal(WebSocket.made.length, 0);
});

test("an option that cannot be meant is refused", () => {
  const WebSocket = fakeWebSocket();
  client({ after() {} }, URI, { WebSocket, ticket: null }).close();
  for (const ticket of ["", 5, true, {}]) {
    const make = () => client({ after() {} }, URI, { WebSocket, ticket });
    assert.throws(make, /ticket must be an address, a function, or null/);
  }
});

// A function for `protocols`

const FUNCTIONS = { sync: (value) => () => value(), async: (value) => async () => value() };

for (const [kind, make] of Object.entries(FUNCTIONS)) {
  test(`each attempt offers what the ${kind} function for protocols returns`, async (t) => {
    const Watched = watched();
    let count = 0;
    let made = Watched.next();
    const protocols = make(() => ["chat.v1", `token${(count += 1)}`]);
    client(t, URI, { WebSocket: Watched, protocols });
    for (const number of [1, 2, 3]) {
      const socket = await made;
      assert.deepEqual(socket.protocols, ["chat.v1", `token${number}`]);
      made = Watched.next();
      socket.open();
      socket.end(4401); // the token has expired
    }
  });
}

test("the function for protocols may return one, none, or be used with a ticket", async (t) => {
  const Watched = watched();
  for (const [value, ticket, offered] of [
    ["chat.v1", null, ["chat.v1"]],
    [null, null, []],
    [undefined, () => "abc", ["wsredis.ticket", "abc"]],
    [["chat.v1"], () => "abc", ["chat.v1", "wsredis.ticket", "abc"]],
  ]) {
    const made = Watched.next();
    client(t, URI, { WebSocket: Watched, protocols: () => value, ticket });
    assert.deepEqual((await made).protocols, offered);
  }
});

for (const [option, what] of [
  ["protocols", "no subprotocols"],
  ["ticket", "no ticket"],
]) {
  test(`an error of ${option} is reported and tried again with growing pauses`, async (t) => {
    t.mock.method(Math, "random", () => 1);
    const Watched = watched();
    let count = 0;
    const ask = async () => {
      count += 1;
      if (count < 4) {
        throw new Error(`logged out ${count}`);
      }
      return "token";
    };
    const made = Watched.next();
    const pauses = { minDelay: 1, maxDelay: 1000 };
    const ws = client(t, URI, { WebSocket: Watched, [option]: ask, ...pauses });
    const [errors, retries] = [[], []];
    ws.on("error", (error) => errors.push(error.message));
    ws.on("reconnecting", (retry) => retries.push([retry.attempt, retry.delay, retry.reason]));
    await made;
    assert.deepEqual(errors, ["logged out 1", "logged out 2", "logged out 3"]);
    assert.deepEqual(
      retries,
      [2, 4, 8].map((delay, index) => [
        index + 1,
        delay,
        `${what}: Error: logged out ${index + 1}`,
      ]),
    );
  });
}

test("a listener of reconnecting that closes the client gets no error", async (t) => {
  const WebSocket = fakeWebSocket();
  const ws = client(t, URI, { WebSocket, protocols: () => assert.fail("logged out") });
  ws.on("error", () => assert.fail("it is closed"));
  ws.on("reconnecting", () => ws.close());
  await heard(ws, "close");
  await new Promise(setImmediate);
  assert.equal(WebSocket.made.length, 0);
});
