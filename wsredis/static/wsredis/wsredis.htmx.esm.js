/*
 * An extension for htmx 2 and 4: messages of a websocket are HTML, which htmx puts into the page.
 *
 *     <script src="htmx.js"></script>
 *     <script src="/static/wsredis/wsredis.js"></script>
 *     <script src="/static/wsredis/wsredis.htmx.js"></script>
 *
 *     <ol hx-ext="wsredis" wsredis-connect="/ws/news?subscribe-broadcast" hx-swap="beforeend"></ol>
 *
 * or, with a bundler, `import { register } from "wsredis/htmx"; register(htmx);`. Each text message
 * is swapped into the element itself, or where its hx-target leads, in the way of its hx-swap. An
 * element with `wsredis-ticket` gets its tickets from that address. From wsredis.htmx.esm.js,
 * scripts/client.py generates wsredis.htmx.js, a classic script.
 *
 * Events of the element, which bubble: "wsredis:open", "wsredis:reconnecting", "wsredis:close" and
 * "wsredis:error" with what the client's listeners get as `detail`, and "wsredis:message" with the
 * text; preventDefault() of the latter leaves the page as it is. An attribute that is not valid and
 * a failed swap are "wsredis:error" too, which the page reports without preventDefault().
 *
 * The HTML is trusted like that of a response of the server: do not use the extension with
 * channels to which browsers may publish.
 */

import { WSRedis } from "./wsredis.esm.js";

const CONNECT = "wsredis-connect";
const TICKET = "wsredis-ticket";

/** Add the extension "wsredis" to htmx. */
export function register(htmx) {
  const isFour = typeof htmx.registerExtension === "function";
  const ignored = isFour ? "[hx-ignore]" : "[hx-disable], [data-hx-disable]"; // untrusted HTML
  const clients = new Map(); // elements -> their clients
  let api;

  function emit(element, event, detail) {
    const options = { bubbles: true, cancelable: true, detail };
    return element.dispatchEvent(new CustomEvent(`wsredis:${event}`, options));
  }

  /** Dispatch an error; without preventDefault() it is reported to the platform too. */
  function fail(element, error) {
    if (emit(element, "error", error)) {
      globalThis.reportError?.(error);
    }
  }

  /** Return whether htmx uses this extension for `element`: htmx 2 asks for `hx-ext`. */
  function isEnabled(element) {
    if (isFour) {
      return api !== undefined; // htmx 4 may have refused to register the extension
    }
    let found = false;
    api.withExtensions(element, (each) => (found ||= each.init === init));
    return found;
  }

  /** Let htmx put HTML into the page, as it does with the response to a request of `element`. */
  function swap(element, html) {
    if (isFour) {
      const attribute = (name) => api.attributeValue(element, name);
      return htmx.swap({
        sourceElement: element,
        target: attribute("hx-target") || element,
        swap: attribute("hx-swap") || htmx.config.defaultSwap,
        text: html,
        transition: false,
      });
    }
    const target = api.getTarget(element) ?? element;
    return htmx.swap(target, html, api.getSwapSpecification(element));
  }

  function connect(element) {
    if (clients.has(element) || element.closest(ignored) !== null || !isEnabled(element)) {
      return;
    }
    let swapped = Promise.resolve(); // htmx 4 swaps asynchronously: messages keep their order
    const ticket = element.getAttribute(TICKET);
    let ws;
    try {
      ws = new WSRedis(element.getAttribute(CONNECT), { ticket });
    } catch (error) {
      fail(element, error); // the other elements of the page are connected nevertheless
      return;
    }
    clients.set(element, ws);
    if (isFour) {
      api.htmxProp(element); // only marked elements are cleaned up
    }
    ws.on("message", (data, event) => {
      if (!element.isConnected) {
        disconnect(element); // it was removed without htmx
      } else if (typeof data === "string" && emit(element, "message", data)) {
        swapped = swapped
          .then(() => swap(element, data))
          .catch((error) => fail(element, error));
      }
    });
    for (const event of ["open", "reconnecting", "close", "error"]) {
      ws.on(event, (detail) => emit(element, event, detail));
    }
  }

  function connectAll(root) {
    if (root.matches?.(`[${CONNECT}]`)) {
      connect(root);
    }
    root.querySelectorAll?.(`[${CONNECT}]`).forEach(connect);
  }

  function disconnect(root) {
    for (const [element, ws] of clients) {
      if (root.contains(element)) {
        clients.delete(element);
        ws.close();
      }
    }
  }

  const init = (internal) => {
    api = internal;
  };
  if (isFour) {
    htmx.registerExtension("wsredis", {
      init,
      htmx_after_process: connectAll,
      htmx_before_cleanup: disconnect,
    });
  } else {
    htmx.defineExtension("wsredis", {
      init,
      getSelectors: () => [`[${CONNECT}]`],
      onEvent(name, event) {
        if (name === "htmx:afterProcessNode") {
          connectAll(event.target);
        } else if (name === "htmx:beforeCleanupElement") {
          disconnect(event.target);
        }
      },
    });
  }
  if (document.readyState !== "loading") {
    connectAll(document.documentElement); // htmx may have processed the page already
  }
}
