// The browser client of django-websocket-redis' users, without a network: run by Node.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import vm from "node:vm";

const SCRIPT = await readFile(
  new URL("../../../../adapters/django/ws4redis/static/js/ws4redis.js", import.meta.url),
  "utf8",
);
const URI = "ws://example.test/ws/chat?subscribe-broadcast";

// What pages hand over; nothing of it is needed, so everything in it fails.
const jQuery = new Proxy(function () {}, {
  get() {
    throw new Error("jQuery was asked");
  },
});

/** A page: the script's global scope with a WebSocket without a network and our clock. */
function page(t, extra = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const running = new Set();
  const made = [];
  class WebSocket {
    readyState = 0;
    sent = [];

    constructor(url) {
      if (scope.broken) {
        throw new SyntaxError("no such address");
      }
      this.url = url;
      made.push(this);
    }

    open() {
      this.readyState = 1;
      this.onopen?.({ type: "open" });
    }

    say(data) {
      this.onmessage?.({ data });
    }

    end(code = 1006) {
      this.readyState = 3;
      this.onclose?.({ type: "close", code });
    }

    send(data) {
      if (this.readyState !== 1) {
        throw new Error("not open");
      }
      this.sent.push(data);
    }

    close() {
      if (this.readyState < 2) {
        this.readyState = 2;
      }
    }
  }
  const start = (set, clear) => [
    (callback, delay) => {
      const id = set(() => {
        if (clear === clearTimeout) {
          running.delete(id);
        }
        callback();
      }, delay);
      running.add(id);
      return id;
    },
    (id) => {
      running.delete(id);
      clear(id);
    },
  ];
  const [setTimer, clearTimer] = start(setTimeout, clearTimeout);
  const [setTicker, clearTicker] = start(setInterval, clearInterval);
  const scope = vm.createContext({
    WebSocket,
    Math,
    setTimeout: setTimer,
    clearTimeout: clearTimer,
    setInterval: setTicker,
    clearInterval: clearTicker,
    console: new Proxy({}, {
      get() {
        throw new Error("the console was used");
      },
    }),
    ...extra,
  });
  vm.runInContext(SCRIPT, scope);
  return { scope, made, running, last: () => made.at(-1), tick: (ms) => t.mock.timers.tick(ms) };
}

/** A client that writes down what it calls. */
function client(site, options = {}, ...rest) {
  const heard = [];
  const note = (name) => (value) => heard.push(value === undefined ? name : [name, value]);
  const ws = new site.scope.WS4Redis(
    {
      uri: URI,
      connecting: note("connecting"),
      connected: note("connected"),
      disconnected: (event) => heard.push(["disconnected", event.code]),
      receive_message: note("message"),
      ...options,
    },
    ...rest,
  );
  return { ws, heard };
}

for (const [name, rest, extra] of [
  ["without jQuery", [], {}],
  ["with jQuery in the page", [], { jQuery, $: jQuery }],
  ["with jQuery handed over", [jQuery], {}],
]) {
  test(`it connects and calls what it was given, ${name}`, (t) => {
    const site = page(t, extra);
    const { ws, heard } = client(site, {}, ...rest);
    assert.equal(site.last().url, URI);
    assert.deepEqual(heard, ["connecting"]);
    site.last().open();
    site.last().say("hello");
    site.last().end(1001);
    assert.deepEqual(heard, ["connecting", "connected", ["message", "hello"], ["disconnected", 1001]]);
    ws.close();
    assert.equal(site.running.size, 0);
  });
}

test("new may be left out", (t) => {
  const site = page(t);
  const made = vm.runInContext(`WS4Redis({uri: "${URI}"})`, site.scope);
  const member = vm.runInContext(`var page = {WS4Redis: WS4Redis}; page.WS4Redis({uri: "${URI}"})`, site.scope);
  for (const ws of [made, member]) {
    assert.ok(ws instanceof site.scope.WS4Redis);
    assert.equal(ws.is_connecting(), true);
  }
});

test("an address is needed", (t) => {
  const { WS4Redis } = page(t).scope;
  for (const options of [{}, undefined, null]) {
    assert.throws(() => new WS4Redis(options), /No Websocket URI in options/);
    assert.throws(() => WS4Redis(options), /No Websocket URI in options/);
  }
});

test("no callback is needed", (t) => {
  const site = page(t);
  const ws = site.scope.WS4Redis({ uri: URI, heartbeat_msg: null });
  site.last().open();
  site.last().say("hello");
  site.last().end();
  ws.close();
});

test("the state is the socket's", (t) => {
  const site = page(t);
  const { ws } = client(site);
  const states = () => [ws.is_connecting(), ws.is_connected(), ws.is_closing(), ws.is_closed()];
  for (const [at, change] of [
    [0, () => {}],
    [1, () => site.last().open()],
    [2, () => ws.close()],
    [3, () => site.last().end()],
  ]) {
    change();
    assert.equal(ws.get_state(), at);
    assert.deepEqual(states(), [0, 1, 2, 3].map((number) => number === at));
  }
});

test("messages go to the server, and wait for a connection that is not there", (t) => {
  const site = page(t);
  const { ws } = client(site);
  ws.send_message("early");
  assert.deepEqual(site.last().sent, []);
  site.last().open();
  ws.send_message("now");
  assert.deepEqual(site.last().sent, ["early", "now"]);
  site.last().end();
  ws.send_message("later");
  site.tick(1000);
  site.last().open();
  assert.deepEqual(site.last().sent, ["later"]);
  ws.close();
  ws.send_message("too late");
});

test("of what waits only the last thousand are kept", (t) => {
  const site = page(t);
  const { ws } = client(site);
  for (let number = 0; number < 1005; number += 1) {
    ws.send_message(String(number));
  }
  site.last().open();
  assert.equal(site.last().sent.length, 1000);
  assert.equal(site.last().sent[0], "5");
});

test("it comes back after a random part of a growing time", (t) => {
  t.mock.method(Math, "random", () => 0.999999);
  const site = page(t);
  client(site);
  const most = [1, 3, 7, 15, 30, 30, 30];
  most.forEach((seconds, index) => {
    site.last().end();
    site.tick(seconds * 1000 - 100);
    assert.equal(site.made.length, index + 1, `after less than ${seconds} s`);
    site.tick(100);
    assert.equal(site.made.length, index + 2, `after ${seconds} s`);
    assert.equal(site.last().url, URI);
  });
});

test("it may come back at once", (t) => {
  t.mock.method(Math, "random", () => 0);
  const site = page(t);
  client(site);
  site.last().end();
  site.tick(1);
  assert.equal(site.made.length, 2);
});

test("a connection that opens starts the counting anew", (t) => {
  t.mock.method(Math, "random", () => 0.999999);
  const site = page(t);
  client(site);
  for (const open of [false, false, true]) {
    if (open) {
      site.last().open();
    }
    site.last().end();
    site.tick(open ? 1000 : 7000);
  }
  assert.equal(site.made.length, 4);
});

test("an address that the browser refuses is tried again", (t) => {
  const site = page(t);
  site.scope.broken = true;
  const { ws } = client(site);
  assert.equal(ws.is_closed(), true);
  ws.send_message("waits");
  site.scope.broken = false;
  site.tick(1000);
  site.last().open();
  assert.deepEqual(site.last().sent, ["waits"]);
});

test("it sends the heartbeat every five seconds and does not hand it on", (t) => {
  const site = page(t);
  const { ws, heard } = client(site, { heartbeat_msg: "--heartbeat--" });
  site.tick(20000);
  site.last().open();
  for (let count = 0; count < 10; count += 1) {
    site.tick(5000);
    assert.equal(site.last().sent.length, count + 1);
    site.last().say("--heartbeat--");
  }
  assert.deepEqual(new Set(site.last().sent), new Set(["--heartbeat--"]));
  assert.deepEqual(heard, ["connecting", "connected"]);
  assert.equal(ws.is_connected(), true);
});

test("after three missed heartbeats it closes and comes back", (t) => {
  t.mock.method(Math, "random", () => 0);
  const site = page(t);
  const { heard } = client(site, { heartbeat_msg: "--heartbeat--" });
  const first = site.last();
  first.open();
  site.tick(15000);
  assert.equal(first.sent.length, 3);
  assert.equal(first.readyState, 1);
  site.tick(5000);
  assert.equal(first.readyState, 2);
  site.tick(1);
  assert.equal(site.made.length, 2);
  assert.deepEqual(heard, ["connecting", "connected", ["disconnected", 1006], "connecting"]);
  first.end(1000);
  first.say("late");
  site.last().open();
  assert.equal(heard.at(-1), "connected");
  site.tick(15000);
  assert.equal(site.last().sent.length, 3);
  assert.equal(site.running.size, 1);
});

for (const [name, prepare] of [
  ["while it is open", (site) => site.last().open()],
  ["while it connects", () => {}],
  ["while it waits to come back", (site) => site.last().end()],
]) {
  test(`close ends everything for good, ${name}`, (t) => {
    const site = page(t);
    const { ws } = client(site, { heartbeat_msg: "--heartbeat--" });
    prepare(site);
    ws.close();
    ws.close();
    assert.equal(site.running.size, 0);
    if (site.last().readyState < 3) {
      assert.equal(ws.is_closing(), true);
      site.last().end(1000);
    }
    site.tick(100000);
    assert.equal(site.made.length, 1);
    assert.equal(ws.is_closed(), true);
    assert.equal(site.running.size, 0);
  });
}

test("a callback may close it", (t) => {
  for (const name of ["connecting", "connected", "disconnected"]) {
    const site = page(t);
    let ws = null;
    ws = new site.scope.WS4Redis({ uri: URI, [name]: () => ws?.close(), heartbeat_msg: "beat" });
    site.last().open();
    site.last().end();
    if (name === "connecting") {
      site.tick(1000);
    }
    site.last().end();
    assert.equal(site.running.size, 0, name);
    assert.ok(site.made.length <= 1 + (name === "connecting"), name);
    t.mock.timers.reset();
  }
});
