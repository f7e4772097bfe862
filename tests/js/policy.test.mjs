// The client's decisions without a network: back-off, codes, queue, options, listeners.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import test from "node:test";
import vm from "node:vm";

import byDefault from "../../wsredis/static/wsredis/wsredis.esm.js";
import { WSRedis, client, fakeWebSocket } from "./support.mjs";

const URI = "ws://example.test/ws/chat";

function fake(t, options = {}) {
  const Fake = fakeWebSocket();
  const ws = client(t, URI, { WebSocket: Fake, ...options });
  return { ws, Fake, last: () => Fake.made.at(-1) };
}

/** Fail `count` attempts in a row; gives the announced delays. */
function failures(t, count, options, code = 1006) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { ws, Fake, last } = fake(t, options);
  const delays = [];
  ws.on("reconnecting", ({ delay }) => delays.push(delay));
  for (let attempt = 0; attempt < count; attempt += 1) {
    last().end(code);
    t.mock.timers.tick(Math.ceil(delays.at(-1)));
    assert.equal(Fake.made.length, attempt + 2);
  }
  ws.close();
  t.mock.timers.reset();
  return delays;
}

test("the longest delays double from attempt to attempt up to maxDelay", (t) => {
  t.mock.method(Math, "random", () => 1);
  const delays = failures(t, 7, { minDelay: 100, maxDelay: 3000 });
  assert.deepEqual(delays, [200, 400, 800, 1600, 3000, 3000, 3000]);
});

test("the shortest delay is minDelay at every attempt", (t) => {
  t.mock.method(Math, "random", () => 0);
  const delays = failures(t, 5, { minDelay: 100, maxDelay: 3000 });
  assert.deepEqual(delays, [100, 100, 100, 100, 100]);
});

test("delays are spread between the bounds", (t) => {
  const delays = failures(t, 60, { minDelay: 100, maxDelay: 3000 });
  const late = delays.slice(5);
  assert.ok(late.every((delay) => delay >= 100 && delay <= 3000), String(late));
  assert.ok(new Set(late).size > 40);
});

test("a busy server is not asked again quickly", (t) => {
  t.mock.method(Math, "random", () => 1);
  for (const code of [1013, 4408, 4429]) {
    assert.deepEqual(failures(t, 1, { minDelay: 100, maxDelay: 3000 }, code), [1600]);
  }
});

test("only a connection that lasted starts the back-off anew", (t) => {
  let now = 0;
  t.mock.method(performance, "now", () => now);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { ws, last } = fake(t, { maxDelay: 100 });
  const attempts = [];
  ws.on("reconnecting", ({ attempt }) => attempts.push(attempt));
  for (const lasted of [0, 99, 99, 100, 99]) {
    last().open();
    now += lasted;
    last().end(1006);
    t.mock.timers.tick(100);
  }
  assert.deepEqual(attempts, [1, 2, 3, 1, 2]);
  ws.close();
});

test("codes decide whether it comes back", (t) => {
  const back = [1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015, 3000, 4000, 4401, 4408];
  const gone = [1002, 1003, 1007, 1008, 1009, 1010, 3003, 4400, 4402, 4403, 4404, 4410, 4499];
  for (const code of [...back, 4429, 4500, ...gone]) {
    const { ws, last } = fake(t);
    last().open();
    last().end(code);
    assert.equal(ws.state, gone.includes(code) ? "closed" : "reconnecting", String(code));
    ws.close();
  }
});

/** A target of events that knows its listeners. */
class Target extends EventTarget {
  listeners = new Set();

  addEventListener(type, listener) {
    super.addEventListener(type, listener);
    this.listeners.add(type);
  }

  removeEventListener(type, listener) {
    super.removeEventListener(type, listener);
    this.listeners.delete(type);
  }
}

/** Give the global scope the events of a page, with a document. */
function page(t) {
  const [scope, document] = [new Target(), new Target()];
  for (const name of ["addEventListener", "removeEventListener"]) {
    globalThis[name] = scope[name].bind(scope);
    t.after(() => delete globalThis[name]);
  }
  globalThis.document = document;
  t.after(() => delete globalThis.document);
  return { scope, document };
}

for (const type of ["online", "pageshow", "visibilitychange"]) {
  test(`${type} retries at once, and is of no interest after close()`, (t) => {
    const { scope, document } = page(t);
    const target = type === "visibilitychange" ? document : scope;
    document.visibilityState = "visible";
    const { ws, Fake, last } = fake(t, { minDelay: 3_600_000, maxDelay: 3_600_000 });
    const delays = [];
    ws.on("reconnecting", ({ delay }) => delays.push(delay));
    target.dispatchEvent(new Event(type));
    assert.equal(Fake.made.length, 1); // the attempt is under way
    last().end(1006);
    target.dispatchEvent(new Event(type));
    assert.equal(Fake.made.length, 2);
    assert.deepEqual(delays, [3_600_000, 0]);
    last().end(1006);
    assert.ok(target.listeners.has(type));
    ws.close();
    assert.deepEqual([scope.listeners.size, document.listeners.size], [0, 0]);
  });
}

test("a page that becomes hidden does not retry", (t) => {
  const { document } = page(t);
  const { Fake, last } = fake(t, { minDelay: 3_600_000, maxDelay: 3_600_000 });
  last().end(1006);
  document.visibilityState = "hidden";
  document.dispatchEvent(new Event("visibilitychange"));
  assert.equal(Fake.made.length, 1);
});

/** Open a client with mocked timers; `receive` gives it a message, `tick` lets seconds pass. */
function open(t, options = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const { ws, Fake, last } = fake(t, options);
  const messages = [];
  const reasons = [];
  ws.on("message", (data) => messages.push(data));
  ws.on("reconnecting", ({ reason }) => reasons.push(reason));
  last().open();
  const receive = (data) => last().dispatchEvent(new MessageEvent("message", { data }));
  const tick = (seconds) => t.mock.timers.tick(seconds * 1000);
  return { ws, Fake, last, messages, reasons, receive, tick };
}

test("the handshake asks for heartbeats, except where the page has decided", (t) => {
  for (const [uri, options, url] of [
    [URI, {}, `${URI}?heartbeat`],
    [`${URI}?echo`, { heartbeat: true }, `${URI}?echo&heartbeat`],
    [`${URI}?heartbeat&echo`, {}, `${URI}?heartbeat&echo`],
    [URI, { heartbeat: null }, URI],
    [URI, { heartbeat: false }, URI],
    [URI, { heartbeat: "thump" }, URI],
  ]) {
    const WebSocket = fakeWebSocket();
    assert.equal(client(t, uri, { WebSocket, ...options }).uri, uri);
    assert.equal(WebSocket.made[0].url, url);
  }
});

test("after the first heartbeat, two intervals without traffic end the connection", (t) => {
  const { ws, last, messages, reasons, receive, tick } = open(t);
  receive("wsredis.heartbeat 25");
  tick(49.9);
  assert.equal(ws.state, "open");
  receive("wsredis.heartbeat 25");
  tick(37.5); // one and a half intervals are not too long at any time
  assert.equal(ws.state, "open");
  receive("hello"); // any message is a sign of life
  tick(37.5);
  assert.equal(ws.state, "open");
  const silent = last();
  tick(12.5);
  assert.deepEqual(reasons, ["no data from the server"]);
  assert.deepEqual(messages, ["hello"]);
  assert.deepEqual(silent.sent, []);
  assert.equal(silent.readyState, 2);
});

test("a server that sends no heartbeat first is never given up", (t) => {
  for (const first of ["hello", "wsredis.heartbeat", "wsredis.heartbeat x", "wsredis.heartbeat -1"]) {
    const { ws, messages, receive, tick } = open(t);
    tick(100);
    receive(first);
    receive("wsredis.heartbeat 1"); // of a user
    tick(100_000);
    assert.equal(ws.state, "open");
    assert.deepEqual(messages, [first, "wsredis.heartbeat 1"]);
    ws.close();
    t.mock.timers.reset();
  }
});

test("each connection has its own heartbeats", (t) => {
  const { ws, last, messages, receive, tick } = open(t);
  receive("wsredis.heartbeat 25");
  last().end(1012);
  tick(1);
  last().open();
  receive("hello");
  receive("wsredis.heartbeat 25");
  tick(100_000);
  assert.equal(ws.state, "open");
  assert.deepEqual(messages, ["hello", "wsredis.heartbeat 25"]);
});

test("a page that does not ask gets every message", (t) => {
  const { messages, receive } = open(t, { heartbeat: null });
  receive("wsredis.heartbeat 25");
  assert.deepEqual(messages, ["wsredis.heartbeat 25"]);
});

test("the interval of the heartbeats is at least a second and at most a day", (t) => {
  for (const [text, seconds] of [
    ["wsredis.heartbeat 0.001", 2],
    ["wsredis.heartbeat 1e+09", 2 * 86400],
  ]) {
    const { ws, receive, tick, reasons } = open(t);
    receive(text);
    tick(seconds - 0.001);
    assert.equal(ws.state, "open");
    tick(0.001);
    assert.equal(reasons.length, 1);
    ws.close();
    t.mock.timers.reset();
  }
});

test("with json, text messages are values and binary ones stay as they are", (t) => {
  const { ws, messages, receive } = open(t, { json: true });
  const values = [];
  ws.onJSON((value) => values.push(value));
  const bytes = new ArrayBuffer(1);
  receive('{"id":7}');
  receive(bytes);
  receive("null");
  assert.deepEqual(messages, [{ id: 7 }, bytes, null]);
  assert.deepEqual(values, [{ id: 7 }, null]);
});

test("onJSON gets values and message the text", (t) => {
  const { ws, messages, receive } = open(t);
  const values = [];
  const off = ws.onJSON((value, event) => values.push([value, event.data]));
  receive("[1, 2]");
  receive(new ArrayBuffer(1));
  off();
  receive("3");
  assert.deepEqual(values, [[[1, 2], "[1, 2]"]]);
  assert.deepEqual(messages.slice(0, 1).concat(messages.slice(2)), ["[1, 2]", "3"]);
  assert.throws(() => ws.onJSON(), TypeError);
});

for (const json of [true, false]) {
  test(`a text that is not JSON is an error, ${json ? "with json" : "for onJSON"}`, (t) => {
    const { ws, messages, receive } = open(t, { json });
    const [reported, errors] = [[], []];
    globalThis.reportError = (error) => reported.push(error);
    t.after(() => delete globalThis.reportError);
    ws.onJSON(() => assert.fail("there is no value"));
    receive("{");
    assert.deepEqual(messages, json ? [] : ["{"]);
    assert.ok(reported[0] instanceof SyntaxError); // like an error that a listener throws
    ws.on("error", (error) => errors.push(error));
    receive("{");
    assert.ok(errors[0] instanceof SyntaxError);
    assert.deepEqual([reported.length, errors.length], [1, 1]);
    assert.equal(ws.state, "open");
  });
}

for (const json of [true, false]) {
  const how = json ? "json" : "onJSON";
  test(`a text that is not JSON does not end a program without reportError, ${how}`, async (t) => {
    assert.equal(globalThis.reportError, undefined);
    const { ws, messages, receive } = open(t, { json });
    const [rejected, values] = [[], []];
    const record = (error) => rejected.push(error);
    process.on("unhandledRejection", record);
    t.after(() => process.off("unhandledRejection", record));
    ws.onJSON((value) => values.push(value));
    receive("{");
    receive("7");
    await new Promise(setImmediate); // rejections are emitted before it
    assert.deepEqual([rejected, values], [[], [7]]);
    assert.deepEqual(messages, json ? [7] : ["{", "7"]);
    assert.equal(ws.state, "open");
  });
}

test("close() is final, once, and says what was never sent", (t) => {
  const { ws, Fake, last } = fake(t);
  const ends = [];
  const states = [];
  ws.on("close", (end) => ends.push(end));
  ws.on("state", (now, before) => states.push(`${before} to ${now}`));
  ws.on("message", () => assert.fail("no message after close()"));
  ws.send("never");
  ws.close(4000, "enough");
  ws.close();
  last().open();
  last().dispatchEvent(new MessageEvent("message", { data: "late" }));
  last().end(1006);
  assert.deepEqual(ends, [{ code: 4000, reason: "enough", unsent: 1 }]);
  assert.deepEqual(states, ["connecting to closed"]);
  assert.equal(Fake.made.length, 1);
  assert.throws(() => ws.send("more"), /closed: make a new one/);
});

test("a listener of state may close the client", (t) => {
  for (const at of ["open", "reconnecting"]) {
    const { ws, last } = fake(t);
    const heard = [];
    ws.on("state", (now) => now === at && ws.close());
    ws.on("open", () => heard.push("open"));
    ws.on("reconnecting", () => heard.push("reconnecting"));
    last().open();
    last().end(1006);
    assert.deepEqual(heard, at === "open" ? [] : ["open"]);
    assert.equal(ws.state, "closed");
  }
});

test("the queue is bounded and a full one says so", (t) => {
  const { ws, last } = fake(t, { maxQueue: 2 });
  ws.send("a");
  ws.send("b");
  assert.throws(() => ws.send("c"), /not connected and its queue of 2 is full/);
  last().open();
  assert.deepEqual(last().sent, ["a", "b"]);
  last().readyState = 2; // the server is closing: what is sent now would be lost
  ws.send("d");
  assert.equal(ws.queued, 1);
});

test("what is no message is refused", (t) => {
  const { ws } = fake(t);
  for (const data of [undefined, null, 7, {}, ["a"]]) {
    assert.throws(() => ws.send(data), /takes a string, ArrayBuffer, typed array or Blob/);
  }
  assert.throws(() => ws.sendJSON(undefined), TypeError);
  ws.send(new Blob(["a"]));
  assert.equal(ws.queued, 1);
});

test("listeners come and go, and one that throws disturbs nobody", (t) => {
  const { ws, last } = fake(t);
  const seen = [];
  const errors = [];
  globalThis.reportError = (error) => errors.push(error.message);
  t.after(() => delete globalThis.reportError);
  ws.on("open", () => {
    throw new Error("mine");
  });
  const off = ws.on("open", () => seen.push("first"));
  ws.on("open", () => {
    off();
    seen.push("second");
  });
  last().open();
  last().end(1006);
  assert.deepEqual(errors, ["mine"]);
  assert.deepEqual(seen, ["first", "second"]);
  off();
  assert.throws(() => ws.on("opened", () => {}), /no event "opened": write one of open, message/);
  assert.throws(() => ws.on("open"), TypeError);
});

test("a uri is resolved to ws or wss", (t) => {
  const WebSocket = fakeWebSocket();
  globalThis.location = { href: "https://example.test/a/b.html?c#d" };
  t.after(() => delete globalThis.location);
  for (const [given, used] of [
    ["/ws/chat?subscribe-broadcast", "wss://example.test/ws/chat?subscribe-broadcast"],
    ["ws/chat", "wss://example.test/a/ws/chat"],
    ["http://other.test/ws/chat#x", "ws://other.test/ws/chat"],
    [new URL("wss://other.test:8443/ws/a%20b"), "wss://other.test:8443/ws/a%20b"],
  ]) {
    assert.equal(client(t, given, { WebSocket }).uri, used);
  }
});

test("senseless arguments are refused with a sentence that says what to write", () => {
  const WebSocket = fakeWebSocket();
  for (const uri of [undefined, null, "", "  "]) {
    assert.throws(() => new WSRedis(uri, { WebSocket }), /needs a uri: write new WSRedis\("\/ws\//);
  }
  assert.throws(() => new WSRedis("/ws/chat", { WebSocket }), /write a full one such as "ws:/);
  assert.throws(() => new WSRedis("ftp://example.test/", { WebSocket }), /write a path, ws:/);
  for (const [options, words] of [
    [{ heartBeat: "x" }, /no option "heartBeat": write one of protocols, heartbeat/],
    [{ heartbeat: "" }, /heartbeat must be true, null, or a text/],
    [{ heartbeat: 5 }, /heartbeat must be true, null, or a text/],
    [{ heartbeatInterval: 0 }, /heartbeatInterval must be milliseconds above 0/],
    [{ minDelay: 10, maxDelay: 5 }, /maxDelay must not be below minDelay/],
    [{ maxQueue: -1 }, /maxQueue must be a number/],
    [{ binaryType: "text" }, /binaryType must be/],
    [{ WebSocket: "x" }, /pass a class as the option WebSocket/],
  ]) {
    assert.throws(() => new WSRedis(URI, { WebSocket, ...options }), words);
  }
  assert.equal(WebSocket.made.length, 0);
});

test("the classic script defines one global and the modules none", async () => {
  const path = new URL("../../wsredis/static/wsredis/wsredis.js", import.meta.url);
  const context = vm.createContext({});
  vm.runInContext(await readFile(path, "utf8"), context);
  assert.deepEqual(Object.keys(context), ["WSRedis"]);
  assert.equal((await import("../../wsredis/static/wsredis/wsredis.mjs")).WSRedis, WSRedis);
  assert.equal(byDefault, WSRedis);
  const common = createRequire(path)("./wsredis.cjs");
  assert.equal(common.default, common.WSRedis);
  assert.equal(common.WSRedis.name, "WSRedis");
  assert.equal(globalThis.WSRedis, undefined);
});
