/* The chat page; messages are rendered by chats.js. */
"use strict";

const KEEP = 500; // the maximum number of messages on the page
const TOGETHER = 120000; // milliseconds within which messages of one user share a heading

const find = (id) => document.getElementById(id);
const [messages, text, me, here, state, latest] = [
  "messages",
  "text",
  "me",
  "here",
  "state",
  "latest",
].map(find);

/* The user's name: one typed by the user is stored for the next visit, a random one for this tab
   only, so that two windows are two guests. If storage is not allowed, it lasts as long as the page. */

function recall(storage) {
  try {
    return window[storage].getItem("wsredis-chat-name");
  } catch {
    return null;
  }
}

function remember(name, ...storages) {
  for (const storage of storages) {
    try {
      window[storage].setItem("wsredis-chat-name", name);
    } catch {
      // The name is used but not stored.
    }
  }
}

const guest = () => `guest-${10 + Math.floor(Math.random() * 90)}`;

me.value = recall("sessionStorage") || recall("localStorage") || guest();
remember(me.value, "sessionStorage");

me.addEventListener("change", () => {
  me.value = me.value.trim() || guest();
  remember(me.value, "sessionStorage", "localStorage");
});

me.addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    event.preventDefault(); // Enter ends the input of the name and does not send the message
    me.blur();
    text.focus();
  }
});

/* The list of messages. */

/** Return the element of a message, with its sender and its time as data attributes. */
function lineOf(message) {
  const item = line(message);
  const { from, kind, at } = message;
  Object.assign(item.dataset, { from, kind, at });
  return item;
}

const atEnd = () => isAtEnd(messages);

function toEnd() {
  messages.scrollTop = messages.scrollHeight;
  latest.hidden = true;
}

/** Append `item`, under the heading of the message before it if both have the same sender. */
function append(item) {
  const follow = atEnd() || item.dataset.kind === "own";
  const last = messages.lastElementChild;
  const before = last === item ? item.previousElementSibling : last;
  item.classList.toggle(
    "follows",
    before !== null &&
      before.dataset.from === item.dataset.from &&
      before.dataset.kind === item.dataset.kind &&
      item.dataset.at - before.dataset.at < TOGETHER,
  );
  if (last !== item) {
    item.nextElementSibling?.classList.remove("follows");
    messages.append(item);
  }
  while (messages.childElementCount > KEEP) {
    messages.firstElementChild.remove();
  }
  messages.firstElementChild.classList.remove("follows");
  if (follow) {
    toEnd();
  } else {
    latest.hidden = false;
  }
}

let reading = true; // whether to stay at the end when the window or a keyboard resizes the list
latest.addEventListener("click", toEnd);
messages.addEventListener("scroll", () => {
  reading = atEnd();
  latest.hidden ||= reading;
});
new ResizeObserver(() => reading && toEnd()).observe(messages);

/* Incoming data: {"from", "text", "at"} is a user's message, {"here"} the number of users, anything
   else a message of the server. */

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}

const waiting = new Map(); // the exact text that was sent -> its element, until it is echoed

function receive(data) {
  const own = waiting.get(data);
  if (own) {
    waiting.delete(data);
    own.classList.remove("waiting");
    own.querySelector(".note").remove();
    append(own); // in the same order as for all other users
    return;
  }
  const value = parse(data);
  if (Number.isInteger(value?.here)) {
    here.textContent = value.here === 1 ? "only you online" : `${value.here} online`;
    here.hidden = false;
  } else if (typeof value?.text === "string") {
    const from = typeof value.from === "string" ? value.from.trim().slice(0, 24) : "";
    const kind = from ? "other" : "server";
    append(lineOf({ from: from || "server", text: value.text, at: readable(value.at), kind }));
  } else {
    const content = typeof data === "string" ? data : `${data.byteLength} bytes`;
    append(lineOf({ from: "server", text: content, at: Date.now(), kind: "server" }));
  }
}

/* The connection. */

const { uri, ticket } = document.body.dataset;
const ws = new WSRedis(uri, { ticket: ticket || null });

ws.on("message", receive);

let countdown = null;

function show(words) {
  state.textContent = words;
}

ws.on("state", (now) => {
  state.dataset.state = now;
  clearInterval(countdown);
  show(now === "open" ? "connected" : now);
  if (now !== "open") {
    here.hidden = true;
  }
  // The countdown below is visual; a screen reader announces the change once.
  const words = { open: "Connected", closed: "Disconnected", reconnecting: "Connection lost" };
  find("announce").textContent = words[now];
});

ws.on("reconnecting", ({ delay }) => {
  const due = Date.now() + delay;
  const tick = () => {
    const seconds = Math.ceil((due - Date.now()) / 1000);
    show(seconds > 0 ? `reconnecting in ${seconds} s` : "reconnecting");
  };
  clearInterval(countdown);
  countdown = setInterval(tick, 250);
  tick();
});

ws.on("close", ({ code, reason }) => {
  show(`disconnected (${reason || code}), reload to reconnect`);
  for (const item of waiting.values()) {
    item.querySelector(".note").textContent = "not confirmed";
  }
});

find("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const content = text.value.trim();
  if (!content) {
    return;
  }
  const message = { from: me.value.trim() || "guest", text: content, at: Date.now() };
  const data = JSON.stringify(message);
  try {
    ws.send(data);
  } catch {
    const ended = ws.state === "closed";
    text.setCustomValidity(
      ended ? "Not sent: reload the page to reconnect." : "Not sent: too many messages are waiting.",
    );
    text.reportValidity();
    return;
  }
  const item = lineOf({ ...message, kind: "own" });
  item.classList.add("waiting");
  item.querySelector(".meta").prepend(element("span", "note", "sending"));
  waiting.set(data, item);
  append(item);
  text.value = "";
  text.focus();
});

text.addEventListener("input", () => text.setCustomValidity(""));

/* The hint. */

if (navigator.clipboard) {
  const copy = find("copy");
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(find("hint").textContent);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Copy it manually";
    }
    setTimeout(() => (copy.textContent = "Copy"), 2000);
  });
}
