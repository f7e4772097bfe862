/* The chat page. Text of other users is data: it is put into the page through textContent only. */
"use strict";

const { uri, user } = document.body.dataset;
const [list, form, text, state, error, how] = ["messages", "say", "text", "state", "error", "how"].map(
  (id) => document.getElementById(id),
);
const seen = new Set(); // ids of messages, because the last ones are sent again after a reconnect

/** Insert a message in the order of time. */
function show({ id, from = "", to = "", text: content, at }) {
  if (id && seen.has(id)) {
    return;
  }
  seen.add(id);
  const when = new Date((Number(at) || Date.now() / 1000) * 1000);
  const item = document.getElementById("message").content.firstElementChild.cloneNode(true);
  const [name, whom, time, line] = item.children;
  const own = from && (from === user || from === "you");
  item.className = own ? "own" : "";
  item.dataset.at = when.getTime();
  name.textContent = own ? "you" : from || "server";
  whom.textContent = to && `to ${to === user ? "you" : to}`;
  time.textContent = when.toLocaleTimeString([], { timeStyle: "short" });
  time.dateTime = when.toISOString();
  line.textContent = content;
  const before = [...list.children].findLast((other) => other.dataset.at <= item.dataset.at);
  before ? before.after(item) : list.prepend(item);
  item.scrollIntoView({ block: "nearest" });
}

/** Return the message in the data of a websocket, which is JSON or plain text. */
function read(data) {
  try {
    const message = JSON.parse(data);
    if (typeof message.text === "string") {
      return message;
    }
  } catch {
    // The message was published from a terminal.
  }
  return { text: String(data) };
}

const ws = new WSRedis(uri);
ws.on("message", (data) => show(read(data)));
ws.on("state", (now) => {
  state.dataset.state = now;
  state.textContent = now === "open" ? "connected" : now;
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const sent = text.value;
  const body = new FormData(form);
  const headers = { Accept: "application/json" };
  try {
    const answer = await fetch(form.action, { method: "POST", body, headers });
    error.textContent = answer.ok ? "" : await answer.text();
  } catch {
    error.textContent = "Not sent: the server does not answer.";
  }
  if (!error.textContent && text.value === sent) {
    text.value = "";
  }
  text.focus();
});

function explain() {
  how.textContent = form.querySelector("[name=to]:checked").dataset.how;
}
form.addEventListener("change", explain);
explain();

/* A websocket keeps the identity of its handshake. So each page tells the other tabs of this browser
   the user it was made for, and a tab of another user reloads. */
const tabs = new BroadcastChannel("flask-chat");
tabs.addEventListener("message", ({ data }) => {
  if (data !== user) {
    ws.close();
    location.reload();
  }
});
tabs.postMessage(user);
window.addEventListener("pageshow", ({ persisted }) => {
  if (persisted) {
    location.reload(); // the page comes from the history, perhaps of another login
  }
});
