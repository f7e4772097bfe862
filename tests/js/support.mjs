// What the tests of the client share: the server process, waiting for events, a fake WebSocket.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { WSRedis } from "../../wsredis/static/wsredis/wsredis.esm.js";

export { WSRedis };

export const QUICK = { minDelay: 5, maxDelay: 40 };

export class Server {
  #child;
  #events = [];
  #waiting = [];

  static async start(t) {
    const server = new Server();
    const script = fileURLToPath(new URL("server.py", import.meta.url));
    server.#child = spawn(process.env.PYTHON || "python3", [script], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const lines = createInterface({ input: server.#child.stdout });
    lines.on("line", (line) => server.#take(JSON.parse(line)));
    t.after(() => server.stop());
    server.port = (await server.next((event) => "port" in event)).port;
    return server;
  }

  url(path = "/ws/quiet") {
    return `ws://127.0.0.1:${this.port}${path}`;
  }

  tell(command) {
    this.#child.stdin.write(`${command}\n`);
  }

  /** Wait for the next event that matches; those before it are passed over. */
  next(matches) {
    return new Promise((resolve) => {
      this.#waiting.push({ matches, resolve });
      this.#match();
    });
  }

  async stop() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.stdin.end();
      await once(this.#child, "exit");
    }
  }

  #take(event) {
    this.#events.push(event);
    this.#match();
  }

  #match() {
    while (this.#waiting.length) {
      const [{ matches, resolve }] = this.#waiting;
      const index = this.#events.findIndex(matches);
      if (index < 0) {
        return;
      }
      this.#waiting.shift();
      resolve(this.#events.splice(0, index + 1).at(-1));
    }
  }
}

export const opened = (event) => event.event === "open";
export const message = (event) => event.event === "message";

/** Wait for the next `event` of a client; gives its arguments. */
export function heard(ws, event) {
  return new Promise((resolve) => {
    const off = ws.on(event, (...values) => {
      off();
      resolve(values);
    });
  });
}

/** Make a client that is closed when the test ends, passed or not. */
export function client(t, uri, options = {}) {
  const ws = new WSRedis(uri, { ...QUICK, ...options });
  t.after(() => ws.close());
  return ws;
}

/** A WebSocket class without a network; `made` holds its instances. */
export function fakeWebSocket() {
  return class FakeWebSocket extends EventTarget {
    static made = [];
    readyState = 0;
    sent = [];

    constructor(url, protocols) {
      super();
      Object.assign(this, { url, protocols });
      FakeWebSocket.made.push(this);
    }

    open() {
      this.readyState = 1;
      this.dispatchEvent(new Event("open"));
    }

    end(code, reason = "") {
      this.readyState = 3;
      this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
    }

    send(data) {
      this.sent.push(data);
    }

    close() {
      this.readyState = 2;
    }
  };
}
