/*
 * The browser client of wsredis: one websocket that comes back by itself.
 *
 *     <script src="/static/wsredis/wsredis.js"></script>
 *
 *     const ws = new WSRedis("/ws/chat?subscribe-broadcast&publish-broadcast");
 *     ws.on("message", (data) => show(data));
 *     ws.send("hello");            // queued until the connection is open
 *     ws.close();                  // the end: no timer and no retry is left behind
 *
 * Classic script, defines the global `WSRedis`; pages, workers and Node (22, or any with an
 * injected WebSocket). As a module: `import { WSRedis } from "/static/wsredis/wsredis.mjs"`.
 * All times are milliseconds. Delivery is at most once: what was handed to a connection
 * that then broke is not sent again.
 *
 * States                                     Events (listener's arguments)
 *   connecting    first attempt                open          (event)        also after each return
 *   open          messages flow                message       (data, event)  never the heartbeat
 *   reconnecting  lost: waiting or trying      reconnecting  ({attempt, delay, code, reason})
 *   closed        the end, for good            close         ({code, reason, unsent})  once
 *                                              state         (state, previous)
 *
 * Which close codes end it, wsredis.d.ts tells.
 */
(() => {
  "use strict";

  const FINAL = new Set([1002, 1003, 1007, 1008, 1009, 1010, 3003]);
  const SLOW = new Set([1013, 4408, 4429]);
  const COMES_BACK = new Set([4401, 4408, 4429]);
  const SLOW_ATTEMPT = 4; // the attempt from which a busy server sees us again
  const STABLE = 10000; // a connection that lasted this long (or maxDelay) starts the back-off anew
  const SILENT_INTERVALS = 3; // heartbeat intervals without traffic until the link counts as dead
  const EVENTS = ["open", "message", "close", "reconnecting", "state"];
  const EXAMPLE = "/ws/chat?subscribe-broadcast";
  const TICKET = "wsredis.ticket"; // the sub-protocol behind which a ticket is offered

  const DEFAULTS = Object.freeze({
    protocols: Object.freeze([]), // sub-protocols to offer
    heartbeat: null, // text the server was configured with; null: none is sent or expected
    heartbeatInterval: 5000,
    minDelay: 250, // shortest pause before a retry
    maxDelay: 30000, // longest pause before a retry
    connectTimeout: 20000, // an attempt that takes longer is given up and counts as failed
    maxQueue: 1000, // messages kept by send() while not open
    binaryType: "arraybuffer",
    ticket: null, // address that answers a POST with a one-time ticket, or a function that gives one
    WebSocket: null, // the class to use instead of the global one
  });

  const isFinal = (code) =>
    FINAL.has(code) || (code >= 4400 && code <= 4499 && !COMES_BACK.has(code));

  /** Resolve `uri` against the page's location and turn http(s) into ws(s). */
  function resolve(uri) {
    if (uri === undefined || uri === null || String(uri).trim() === "") {
      throw new Error(`WSRedis needs a uri: write new WSRedis("${EXAMPLE}")`);
    }
    let url;
    try {
      url = new URL(String(uri).trim(), globalThis.location?.href);
    } catch {
      throw new Error(
        `WSRedis cannot use the uri "${uri}": without a page to resolve it against, ` +
          `write a full one such as "ws://127.0.0.1:8000${EXAMPLE}"`,
      );
    }
    url.protocol = url.protocol.replace(/^http/, "ws");
    url.hash = "";
    if (url.protocol !== "ws:" && url.protocol !== "wss:") {
      throw new Error(`WSRedis cannot use the uri "${uri}": write a path, ws:// or wss://`);
    }
    return url.href;
  }

  /** Merge `options` over the defaults and refuse what cannot be meant. */
  function check(options) {
    for (const name of Object.keys(options)) {
      if (!Object.hasOwn(DEFAULTS, name)) {
        const names = Object.keys(DEFAULTS).join(", ");
        throw new Error(`WSRedis has no option "${name}": write one of ${names}`);
      }
    }
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    const merged = { ...DEFAULTS, ...Object.fromEntries(given) };
    for (const name of ["heartbeatInterval", "minDelay", "maxDelay", "connectTimeout"]) {
      if (!(Number.isFinite(merged[name]) && merged[name] > 0)) {
        throw new Error(`WSRedis option ${name} must be milliseconds above 0`);
      }
    }
    const { heartbeat, maxQueue, minDelay, maxDelay, binaryType, ticket } = merged;
    const rules = {
      "maxDelay must not be below minDelay": maxDelay >= minDelay,
      "maxQueue must be a number of messages, 0 or more": maxQueue >= 0,
      'heartbeat must be a text such as "--heartbeat--", or null':
        heartbeat === null || (typeof heartbeat === "string" && heartbeat !== ""),
      'binaryType must be "arraybuffer" or "blob"': ["arraybuffer", "blob"].includes(binaryType),
      "ticket must be an address, a function, or null":
        ticket === null || (ticket !== "" && /String|URL|Function/.test(tag(ticket))),
    };
    for (const [rule, holds] of Object.entries(rules)) {
      if (!holds) {
        throw new Error(`WSRedis option ${rule}`);
      }
    }
    merged.WebSocket ??= globalThis.WebSocket;
    if (typeof merged.WebSocket !== "function") {
      throw new Error("WSRedis finds no WebSocket here: pass a class as the option WebSocket");
    }
    return merged;
  }

  /** Return `data` as it is now: a buffer that waits in the queue must not change under us. */
  function snapshot(data) {
    if (ArrayBuffer.isView(data)) {
      return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
    }
    return tag(data) === "ArrayBuffer" ? data.slice(0) : data;
  }

  const tag = (data) => Object.prototype.toString.call(data).slice(8, -1);

  const isSendable = (data) =>
    typeof data === "string" ||
    ArrayBuffer.isView(data) ||
    ["ArrayBuffer", "Blob", "File"].includes(tag(data));

  /** Ask for a ticket: it holds once, so each attempt needs its own. */
  async function fetchTicket(ticket) {
    if (typeof ticket === "function") {
      return ticket();
    }
    const answer = await fetch(ticket, { method: "POST", cache: "no-store" });
    if (!answer.ok) {
      throw new Error(`${answer.status} ${answer.statusText}`);
    }
    return (await answer.text()).trim();
  }

  /** Hand an error thrown by a listener to the platform; the connection must not suffer from it. */
  function report(error) {
    globalThis.reportError ? globalThis.reportError(error) : Promise.reject(error);
  }

  class WSRedis {
    #options;
    #uri;
    #listeners = Object.fromEntries(EVENTS.map((event) => [event, new Set()]));
    #state = "connecting";
    #queue = [];
    #socket = null;
    #attempt = 0; // failures since the last stable connection
    #openedAt = null;
    #silent = 0; // heartbeat intervals without traffic
    #retryTimer = null;
    #connectTimer = null;
    #heartbeatTimer = null;
    #lost = { code: 1006, reason: "" };
    #online = () => this.#retryNow();

    /** Default options, all of them. */
    static defaults = DEFAULTS;

    /**
     * Open a websocket to `uri`, relative to the page or absolute, and keep it open.
     *
     * Throws Error for a missing uri and for options that are unknown or are not valid.
     */
    constructor(uri, options = {}) {
      this.#uri = resolve(uri);
      this.#options = check(options ?? {});
      this.#connect();
      globalThis.addEventListener?.("online", this.#online);
    }

    /** The absolute ws: or wss: address in use. */
    get uri() {
      return this.#uri;
    }

    /** One of "connecting", "open", "reconnecting", "closed". */
    get state() {
      return this.#state;
    }

    /** How many messages wait for the connection. */
    get queued() {
      return this.#queue.length;
    }

    /** Call `listener` at each `event` from now on; the returned function ends that. */
    on(event, listener) {
      if (!EVENTS.includes(event)) {
        throw new Error(`WSRedis has no event "${event}": write one of ${EVENTS.join(", ")}`);
      }
      if (typeof listener !== "function") {
        throw new TypeError(`WSRedis.on("${event}", listener) needs a function`);
      }
      const entry = { listener };
      this.#listeners[event].add(entry);
      return () => {
        this.#listeners[event].delete(entry);
      };
    }

    /**
     * Send text or binary data, or queue it in order while the connection is not open.
     *
     * Throws TypeError for anything else, Error when the queue is full or the client is closed.
     */
    send(data) {
      if (!isSendable(data)) {
        throw new TypeError(
          "WSRedis.send() takes a string, ArrayBuffer, typed array or Blob: use sendJSON() for values",
        );
      }
      if (this.#state === "closed") {
        throw new Error("This WSRedis is closed: make a new one to send");
      }
      if (this.#state === "open" && this.#socket.readyState === 1) {
        this.#socket.send(data);
      } else if (this.#queue.length < this.#options.maxQueue) {
        this.#queue.push(snapshot(data));
      } else {
        const waiting = this.#queue.length;
        throw new Error(`WSRedis is not connected and ${waiting} messages wait already (maxQueue)`);
      }
    }

    /** Send `value` as JSON text; throws as send() does. */
    sendJSON(value) {
      this.send(JSON.stringify(value));
    }

    /**
     * End the connection for good; nothing is sent, received or retried afterwards.
     *
     * The "close" event is emitted before this returns. `code` is 1000 or 3000-4999, `reason` at
     * most 123 bytes (RFC 6455, 7.4). A second call does nothing.
     */
    close(code = 1000, reason = "") {
      if (this.#state === "closed") {
        return;
      }
      this.#socket?.close(code, reason); // throws for an invalid code before anything has changed
      this.#finish(code, reason);
    }

    #connect() {
      const { protocols, ticket, connectTimeout } = this.#options;
      const offers = [].concat(protocols);
      this.#clearTimers();
      if (ticket === null) {
        this.#dial(offers);
      }
      const timer = setTimeout(() => this.#abandon("no answer to the handshake"), connectTimeout);
      this.#connectTimer = timer;
      if (ticket !== null) {
        const current = (handle) => (value) => this.#connectTimer === timer && handle(value);
        fetchTicket(ticket)
          .then(current((text) => this.#dial([...offers, TICKET, text])))
          .catch(current((error) => this.#ended(1006, `no ticket: ${error}`)));
      }
    }

    #dial(offers) {
      const socket = new this.#options.WebSocket(this.#uri, offers);
      this.#socket = socket;
      this.#openedAt = null;
      socket.binaryType = this.#options.binaryType;
      const current = (handle) => (event) => this.#socket === socket && handle(event);
      socket.addEventListener("open", current((event) => this.#opened(event)));
      socket.addEventListener("message", current((event) => this.#received(event)));
      socket.addEventListener("close", current((event) => this.#ended(event.code, event.reason)));
      // In browsers "close" follows; some versions of Node leave it out when nothing was opened.
      socket.addEventListener("error", current(() => this.#openedAt ?? this.#ended(1006, "")));
    }

    #opened(event) {
      this.#clearTimers();
      this.#openedAt = performance.now();
      this.#silent = 0;
      if (this.#options.heartbeat !== null) {
        this.#heartbeatTimer = setInterval(() => this.#beat(), this.#options.heartbeatInterval);
      }
      for (const data of this.#queue.splice(0)) {
        this.#socket.send(data);
      }
      this.#enter("open");
      if (this.#state === "open") {
        this.#emit("open", event);
      }
    }

    #received(event) {
      this.#silent = 0;
      if (this.#options.heartbeat === null || event.data !== this.#options.heartbeat) {
        this.#emit("message", event.data, event);
      }
    }

    // Intervals are counted, not time: timers of a hidden or suspended page run late, and
    // one late tick must not condemn a connection whose messages are still to be handled.
    #beat() {
      this.#silent += 1;
      if (this.#silent >= SILENT_INTERVALS) {
        this.#abandon("no sign of life from the server");
      } else if (this.#socket.readyState === 1) {
        this.#socket.send(this.#options.heartbeat);
      }
    }

    // A dead link answers no close handshake either: leave the socket and do not wait for it.
    #abandon(reason) {
      const socket = this.#socket;
      this.#socket = null;
      socket?.close();
      this.#ended(1006, reason);
    }

    #ended(code, reason) {
      const { maxDelay, minDelay } = this.#options;
      if (isFinal(code)) {
        this.#finish(code, reason);
        return;
      }
      const lasted = this.#openedAt === null ? 0 : performance.now() - this.#openedAt;
      if (this.#openedAt !== null && lasted >= Math.min(STABLE, maxDelay)) {
        this.#attempt = 0;
      }
      this.#attempt += 1;
      if (SLOW.has(code)) {
        this.#attempt = Math.max(this.#attempt, SLOW_ATTEMPT);
      }
      this.#clearTimers();
      this.#socket = null;
      this.#openedAt = null;
      this.#lost = { code, reason };
      // Full jitter: a crowd that was disconnected together must not return together.
      const ceiling = Math.min(maxDelay, minDelay * 2 ** this.#attempt);
      const delay = minDelay + Math.random() * (ceiling - minDelay);
      this.#retryTimer = setTimeout(() => this.#connect(), delay);
      this.#enter("reconnecting");
      this.#announce(delay);
    }

    #retryNow() {
      if (this.#retryTimer !== null) {
        this.#connect();
        this.#announce(0);
      }
    }

    // Here and in #opened: the listeners of "state" ran before and may have closed the client.
    #announce(delay) {
      if (this.#state === "reconnecting") {
        this.#emit("reconnecting", { attempt: this.#attempt, delay, ...this.#lost });
      }
    }

    #finish(code, reason) {
      this.#clearTimers();
      this.#socket = null;
      globalThis.removeEventListener?.("online", this.#online);
      const unsent = this.#queue.splice(0).length;
      this.#enter("closed");
      this.#emit("close", { code, reason, unsent });
    }

    #clearTimers() {
      clearTimeout(this.#retryTimer);
      clearTimeout(this.#connectTimer);
      clearInterval(this.#heartbeatTimer);
      this.#retryTimer = this.#connectTimer = this.#heartbeatTimer = null;
    }

    #enter(state) {
      const previous = this.#state;
      if (state !== previous) {
        this.#state = state;
        this.#emit("state", state, previous);
      }
    }

    #emit(event, ...values) {
      const entries = this.#listeners[event];
      for (const entry of [...entries]) {
        try {
          if (entries.has(entry)) {
            entry.listener(...values);
          }
        } catch (error) {
          report(error);
        }
      }
    }
  }

  globalThis.WSRedis = WSRedis;
})();
