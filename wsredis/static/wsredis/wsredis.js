// Generated from wsredis.esm.js by scripts/client.py: do not edit.
(() => {
  "use strict";

  /*
   * The browser client of wsredis: one websocket that reconnects automatically.
   *
   *     import { WSRedis } from "/static/wsredis/wsredis.esm.js";
   *
   *     const ws = new WSRedis("/ws/chat?subscribe-broadcast&publish-broadcast");
   *     ws.on("message", (data) => show(data));
   *     ws.send("hello");            // queued until the connection is open
   *     ws.close();                  // closes for good: no timer and no retry is left
   *
   * For pages, workers and Node. From wsredis.esm.js, scripts/client.py generates wsredis.js (a classic
   * script that defines the global `WSRedis`), wsredis.cjs and wsredis.mjs. All times are in
   * milliseconds. Delivery is at most once: messages passed to a connection that was then lost are
   * not sent again.
   *
   * States                                     Events (listener's arguments)
   *   connecting    first attempt                open          (event)        at each connection
   *   open          connected                    message       (data, event)  never the heartbeat
   *   reconnecting  lost: waiting or trying      reconnecting  ({attempt, delay, code, reason})
   *   closed        closed for good              close         ({code, reason, unsent})  once
   *                                              state         (state, previous)
   *                                              error         (error)
   *
   * wsredis.esm.d.ts lists the close codes after which it does not reconnect.
   */

  const FINAL = new Set([1002, 1003, 1007, 1008, 1009, 1010, 3003]);
  const SLOW = new Set([1013, 4408, 4429]);
  const COMES_BACK = new Set([4401, 4408, 4429]);
  const SLOW_ATTEMPT = 4; // the attempt to continue with after a code of SLOW
  const STABLE = 10000; // a connection that lasted this long (or maxDelay) resets the back-off
  const EVENTS = ["open", "message", "close", "reconnecting", "state", "error"];
  const HEARTBEAT = /^wsredis\.heartbeat (\S+)$/; // with the seconds until the next one
  const SILENT_TICKS = 4; // half intervals without traffic until the connection counts as lost
  const SILENT_INTERVALS = 3; // the same in intervals for a heartbeat text of the configuration
  const WAKING = ["online", "pageshow", "visibilitychange"];
  const EXAMPLE = "/ws/chat?subscribe-broadcast";
  const TICKET = "wsredis.ticket"; // the subprotocol offered directly before a ticket

  const DEFAULTS = Object.freeze({
    protocols: Object.freeze([]), // subprotocols to offer, or a function that returns them
    heartbeat: true, // ask the server; null: no heartbeat; or the text of the server's configuration
    heartbeatInterval: 5000, // only for such a text
    json: false, // whether to parse text messages as JSON
    minDelay: 250, // shortest pause before a retry
    maxDelay: 30000, // longest pause before a retry
    connectTimeout: 20000, // an attempt that takes longer is aborted and counts as failed
    maxQueue: 1000, // maximum messages queued by send() while not open
    binaryType: "arraybuffer",
    ticket: null, // URL that answers a POST with a one-time ticket, or a function that returns one
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

  /** Merge `options` with the defaults and refuse invalid ones. */
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
      'heartbeat must be true, null, or a text such as "--heartbeat--"':
        [true, false, null].includes(heartbeat) ||
        (typeof heartbeat === "string" && heartbeat !== ""),
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
      throw new Error("There is no global WebSocket: pass a class as the option WebSocket");
    }
    return merged;
  }

  /** Return a copy of a buffer: the caller may change the original while it is queued. */
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

  /** Request a ticket: it is valid once, so each attempt needs a new one. */
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

  /** Return where the events of a page are dispatched; workers and Node have no document. */
  const target = (type) => (type === "visibilitychange" ? globalThis.document : globalThis);

  /** Report an error thrown by a listener to the platform; it must not affect the connection. */
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
    #heartbeat = null; // the text of this connection's heartbeats
    #isFirst = false; // whether the next message may be the server's first heartbeat
    #silent = 0; // ticks without traffic
    #retryTimer = null;
    #connectTimer = null;
    #heartbeatTimer = null;
    #lost = { code: 1006, reason: "" };
    #wake = ({ type }) => {
      if (type !== "visibilitychange" || document.visibilityState === "visible") {
        this.#retryNow();
      }
    };

    /** The default values of all options. */
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
      for (const type of WAKING) {
        target(type)?.addEventListener?.(type, this.#wake);
      }
    }

    /** The absolute ws: or wss: address in use. */
    get uri() {
      return this.#uri;
    }

    /** One of "connecting", "open", "reconnecting", "closed". */
    get state() {
      return this.#state;
    }

    /** The number of queued messages. */
    get queued() {
      return this.#queue.length;
    }

    /** Call `listener` for each `event`; the returned function removes the listener. */
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
     * Call `listener(value, event)` for each text message, parsed as JSON.
     *
     * The returned function removes the listener. For a text that is not JSON, "error" is emitted.
     */
    onJSON(listener) {
      if (typeof listener !== "function") {
        throw new TypeError("WSRedis.onJSON(listener) needs a function");
      }
      return this.on("message", (data, event) => {
        if (this.#options.json && typeof event.data === "string") {
          listener(data, event); // it is parsed already
        } else if (typeof event.data === "string") {
          this.#parse(event.data, (value) => listener(value, event));
        }
      });
    }

    /**
     * Send text or binary data, or queue it in order while the connection is not open.
     *
     * Throws TypeError for anything else, Error when the queue is full or the client is closed.
     */
    send(data) {
      if (!isSendable(data)) {
        throw new TypeError(
          "WSRedis.send() takes a string, ArrayBuffer, typed array or Blob: " +
            "use sendJSON() for values",
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
        throw new Error(`WSRedis is not connected and its queue of ${waiting} is full (maxQueue)`);
      }
    }

    /** Send `value` as JSON text; throws as send() does. */
    sendJSON(value) {
      this.send(JSON.stringify(value));
    }

    /**
     * Close the connection for good; nothing is sent, received or retried afterwards.
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
      const asks = typeof protocols === "function" || ticket !== null;
      this.#clearTimers();
      if (!asks) {
        this.#dial([].concat(protocols));
      }
      const timer = setTimeout(() => this.#abandon("no answer to the handshake"), connectTimeout);
      this.#connectTimer = timer;
      if (asks) {
        let missing = "no subprotocols";
        const ask = async () => {
          const offers = typeof protocols === "function" ? await protocols() : protocols;
          if (ticket === null) {
            return [].concat(offers ?? []);
          }
          missing = "no ticket";
          return [].concat(offers ?? [], TICKET, await fetchTicket(ticket));
        };
        const current = (handle) => (value) => this.#connectTimer === timer && handle(value);
        ask()
          .then(current((offers) => this.#dial(offers)))
          .catch(
            current((error) => {
              this.#ended(1006, `${missing}: ${error}`);
              if (this.#state === "reconnecting") {
                this.#emit("error", error);
              }
            }),
          );
      }
    }

    #dial(offers) {
      const socket = new this.#options.WebSocket(this.#address(), offers);
      this.#socket = socket;
      this.#openedAt = null;
      socket.binaryType = this.#options.binaryType;
      const current = (handle) => (event) => this.#socket === socket && handle(event);
      socket.addEventListener("open", current((event) => this.#opened(event)));
      socket.addEventListener("message", current((event) => this.#received(event)));
      socket.addEventListener("close", current((event) => this.#ended(event.code, event.reason)));
      // In browsers "close" follows; some versions of Node omit it if the socket was never open.
      socket.addEventListener("error", current(() => this.#openedAt ?? this.#ended(1006, "")));
    }

    /** Return the address with the query key that asks the server for heartbeats. */
    #address() {
      if (this.#options.heartbeat !== true || new URL(this.#uri).searchParams.has("heartbeat")) {
        return this.#uri;
      }
      return `${this.#uri}${this.#uri.includes("?") ? "&" : "?"}heartbeat`;
    }

    #opened(event) {
      const { heartbeat, heartbeatInterval } = this.#options;
      this.#clearTimers();
      this.#openedAt = performance.now();
      this.#heartbeat = null;
      this.#isFirst = heartbeat === true;
      if (typeof heartbeat === "string") {
        this.#watch(heartbeat, heartbeatInterval, SILENT_INTERVALS);
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
      const { data } = event;
      this.#silent = 0;
      if (this.#isFirst) {
        this.#isFirst = false; // no later message can pass for the first heartbeat
        const seconds = Number(typeof data === "string" && HEARTBEAT.exec(data)?.[1]);
        if (seconds > 0) {
          this.#watch(data, Math.min(Math.max(seconds, 1), 86400) * 500, SILENT_TICKS);
        }
      }
      if (data === this.#heartbeat) {
        return;
      }
      if (this.#options.json && typeof data === "string") {
        this.#parse(data, (value) => this.#emit("message", value, event));
      } else {
        this.#emit("message", data, event);
      }
    }

    /** Call `handle` with the value of a JSON text, or emit "error" if it is none. */
    #parse(text, handle) {
      let value;
      try {
        value = JSON.parse(text);
      } catch (error) {
        if (this.#listeners.error.size > 0) {
          this.#emit("error", error);
        } else {
          globalThis.reportError?.(error); // not report(): a message must not end a program in Node
        }
        return;
      }
      handle(value);
    }

    /** Watch the connection: it counts as lost after `limit` ticks without traffic. */
    #watch(heartbeat, milliseconds, limit) {
      this.#heartbeat = heartbeat;
      this.#silent = 0;
      this.#heartbeatTimer = setInterval(() => this.#tick(limit), milliseconds);
    }

    // Ticks are counted instead of time: timers of a hidden or suspended page run late, and one late
    // tick must not end a connection whose messages are still to be handled.
    #tick(limit) {
      this.#silent += 1;
      if (this.#silent >= limit) {
        this.#abandon("no data from the server");
      } else if (this.#options.heartbeat === this.#heartbeat && this.#socket.readyState === 1) {
        this.#socket.send(this.#heartbeat); // a text of the configuration is sent by both sides
      }
    }

    // A dead connection does not answer the close handshake: do not wait for its "close" event.
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
      // Full jitter: clients that were disconnected together must not reconnect together.
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

    // Here and in #opened: a listener of "state" may have closed the client before.
    #announce(delay) {
      if (this.#state === "reconnecting") {
        this.#emit("reconnecting", { attempt: this.#attempt, delay, ...this.#lost });
      }
    }

    #finish(code, reason) {
      this.#clearTimers();
      this.#socket = null;
      for (const type of WAKING) {
        target(type)?.removeEventListener?.(type, this.#wake);
      }
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
