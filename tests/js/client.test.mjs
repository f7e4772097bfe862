// The client over a real connection: queue, return, heartbeat, binary, the end.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { Server, client, heard, message, opened } from "./support.mjs";

const HEARTBEAT = "--heartbeat--";

test("what is sent while connecting arrives in order once open", async (t) => {
  const server = await Server.start(t);
  const ws = client(t, server.url());
  const bytes = new Uint8Array([9, 1, 2]).subarray(1);
  ws.send("first");
  ws.send(bytes);
  ws.sendJSON({ third: true });
  bytes[0] = 7; // too late to change what was sent
  assert.equal(ws.state, "connecting");
  assert.equal(ws.queued, 3);
  assert.equal((await server.next(message)).text, "first");
  assert.equal((await server.next(message)).hex, "0102");
  assert.equal((await server.next(message)).text, '{"third":true}');
  assert.equal(ws.queued, 0);
});

test("text and binary arrive as a string and an ArrayBuffer", async (t) => {
  const server = await Server.start(t);
  const ws = client(t, server.url());
  await heard(ws, "open");
  let arrived = heard(ws, "message");
  server.tell("say hello");
  assert.equal((await arrived)[0], "hello");
  arrived = heard(ws, "message");
  server.tell("bytes 00ff");
  assert.deepEqual(new Uint8Array((await arrived)[0]), new Uint8Array([0, 255]));
});

test("an offered subprotocol is negotiated", async (t) => {
  const server = await Server.start(t);
  const ws = client(t, server.url(), { protocols: "chat.v1" });
  const [event] = await heard(ws, "open");
  assert.equal(event.target.protocol, "chat.v1");
  assert.equal((await server.next(opened)).subprotocol, "chat.v1");
});

test("a relative uri is resolved against the page", async (t) => {
  const server = await Server.start(t);
  globalThis.location = { href: `http://127.0.0.1:${server.port}/room/page.html#top` };
  t.after(() => delete globalThis.location);
  const ws = client(t, "/ws/quiet?subscribe-broadcast&echo");
  assert.equal(ws.uri, server.url("/ws/quiet?subscribe-broadcast&echo"));
  const { path } = await server.next(opened);
  assert.equal(path, "/ws/quiet?subscribe-broadcast&echo&heartbeat");
});

test("it comes back after the server dropped it, and sends what was said meanwhile", async (t) => {
  const server = await Server.start(t);
  const ws = client(t, server.url());
  await heard(ws, "open");
  const retry = heard(ws, "reconnecting");
  server.tell("drop");
  const [{ attempt, code }] = await retry;
  assert.deepEqual([attempt, code, ws.state], [1, 1006, "reconnecting"]);
  ws.send("said while away");
  await heard(ws, "open");
  assert.equal((await server.next(message)).text, "said while away");
});

test("a restart and the end of a login bring it back, a refusal does not", async (t) => {
  const server = await Server.start(t);
  for (const code of [1001, 1011, 1012, 4000, 4401]) {
    const ws = client(t, server.url());
    await heard(ws, "open");
    const retry = heard(ws, "reconnecting");
    server.tell(`close ${code}`);
    assert.equal((await retry)[0].code, code);
    await heard(ws, "open");
    ws.close();
  }
  for (const code of [1008, 1009, 4400, 4403]) {
    const ws = client(t, server.url());
    await heard(ws, "open");
    const end = heard(ws, "close");
    server.tell(`close ${code}`);
    assert.deepEqual(await end, [{ code, reason: "as told", unsent: 0 }]);
    assert.equal(ws.state, "closed");
  }
});

test("a refused handshake is tried again", async (t) => {
  const server = await Server.start(t);
  client(t, server.url("/ws/refuse"));
  for (let attempt = 0; attempt < 3; attempt += 1) {
    await server.next((event) => event.event === "refused");
  }
});

test("a heartbeat text of the configuration is sent and swallowed", async (t) => {
  const server = await Server.start(t);
  const options = { heartbeat: HEARTBEAT, heartbeatInterval: 200 };
  const ws = client(t, server.url("/ws/echo"), options);
  const seen = [];
  ws.on("message", (data) => seen.push(data));
  ws.on("reconnecting", () => seen.push("lost"));
  for (let beat = 0; beat < 5; beat += 1) {
    assert.equal((await server.next(message)).text, HEARTBEAT);
  }
  const arrived = heard(ws, "message");
  server.tell("say hello");
  await arrived;
  assert.deepEqual(seen, ["hello"]);
});

test("a connection without data for three intervals is replaced by a new one", async (t) => {
  const server = await Server.start(t);
  const ws = client(t, server.url(), { heartbeat: HEARTBEAT, heartbeatInterval: 20 });
  await server.next(opened);
  const [{ reason }] = await heard(ws, "reconnecting");
  assert.match(reason, /no data from the server/);
  assert.equal((await server.next(message)).text, HEARTBEAT);
  assert.equal((await server.next(message)).text, HEARTBEAT);
  await server.next(opened);
});

test("an attempt that nobody answers is given up", async (t) => {
  const sockets = [];
  const deaf = createServer((socket) => sockets.push(socket)).listen(0, "127.0.0.1");
  t.after(() => {
    sockets.forEach((socket) => socket.destroy());
    deaf.close();
  });
  await once(deaf, "listening");
  const ws = client(t, `ws://127.0.0.1:${deaf.address().port}/ws/chat`, { connectTimeout: 30 });
  assert.match((await heard(ws, "reconnecting"))[0].reason, /no answer/);
});

for (const state of ["connecting", "open", "reconnecting"]) {
  test(`a program that calls close() while ${state} ends by itself`, async (t) => {
    const server = await Server.start(t);
    const script = fileURLToPath(new URL("exits.mjs", import.meta.url));
    const uri = server.url(state === "reconnecting" ? "/ws/refuse" : "/ws/quiet");
    const child = spawn(process.execPath, [...process.execArgv, script, uri, state], {
      stdio: ["ignore", "pipe", "inherit"],
      timeout: 20_000,
    });
    child.stdout.resume();
    assert.deepEqual(await once(child, "exit"), [0, null]);
  });
}
