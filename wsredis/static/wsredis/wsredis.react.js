/*
 * A hook for React 18 and newer: one websocket for as long as a component is mounted.
 *
 *     import { useWSRedis } from "wsredis/react";
 *
 *     const { state, data, sendJSON } = useWSRedis("/ws/news?subscribe-broadcast", { json: true });
 *
 * `data` is the last message. A component that needs each message passes `onMessage` instead, which
 * renders nothing by itself. `onOpen`, `onClose`, `onReconnecting` and `onError` are listeners too.
 * All other options are those of the client, as they were when the websocket was opened, except
 * that functions for `protocols` and `ticket` may change. Another uri opens another websocket, and
 * null none.
 */

import { useCallback, useEffect, useRef, useState } from "react";

import { WSRedis } from "./wsredis.esm.js";

const LISTENERS = {
  onMessage: "message",
  onOpen: "open",
  onClose: "close",
  onReconnecting: "reconnecting",
  onError: "error",
};

/** Open a websocket; returns `{ state, data, send, sendJSON }`. */
export function useWSRedis(uri, options = {}) {
  const latest = useRef(options);
  const client = useRef(null);
  const [state, setState] = useState(uri === null ? "closed" : "connecting");
  const [data, setData] = useState(undefined);

  useEffect(() => {
    latest.current = options; // listeners may change without another connection
  });

  useEffect(() => {
    setData(undefined);
    if (uri === null) {
      setState("closed");
      return undefined;
    }
    const ws = new WSRedis(uri, clientOptions(latest));
    client.current = ws;
    setState(ws.state);
    const listeners = Object.entries(LISTENERS).map(([name, event]) =>
      ws.on(event, (...values) => latest.current[name]?.(...values)),
    );
    listeners.push(ws.on("state", setState));
    listeners.push(
      ws.on("error", (error) => {
        // The client reports a text that is not JSON itself only if nothing listens to "error".
        if (latest.current.onError === undefined && error instanceof SyntaxError) {
          globalThis.reportError?.(error);
        }
      }),
    );
    listeners.push(
      ws.on("message", (value) => {
        if (latest.current.onMessage === undefined) {
          setData(() => value);
        }
      }),
    );
    return () => {
      listeners.forEach((off) => off());
      client.current = null;
      ws.close();
    };
  }, [uri]);

  const send = useCallback((message) => mounted(client).send(message), []);
  const sendJSON = useCallback((value) => mounted(client).sendJSON(value), []);
  return { state, data, send, sendJSON };
}

/** Return the options for the client; functions that it asks are those of the latest rendering. */
function clientOptions(latest) {
  const options = {};
  for (const [name, value] of Object.entries(latest.current)) {
    if (["protocols", "ticket"].includes(name) && typeof value === "function") {
      options[name] = () => latest.current[name]();
    } else if (!Object.hasOwn(LISTENERS, name)) {
      options[name] = value;
    }
  }
  return options;
}

/** Return the client of a mounted component. */
function mounted(client) {
  if (client.current === null) {
    throw new Error("useWSRedis has no websocket: send in event handlers or effects, with a uri");
  }
  return client.current;
}
