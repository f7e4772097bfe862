/* A chat page; messages are rendered by chats.js. */
"use strict";

const KEEP = 500; // the maximum number of messages on the page

const find = (id) => document.getElementById(id);
const [chat, messages, state, form, text, error] = [
  "chat",
  "messages",
  "state",
  "say",
  "text",
  "error",
].map(find);

/* The list of messages. */

const seen = new Set(); // ids of messages, because the last one is sent again after a reconnect

function receive(data) {
  let value = null;
  try {
    value = JSON.parse(data);
  } catch {
    // The message is plain text.
  }
  if (typeof value?.text !== "string") {
    value = { text: String(data) };
  }
  if (value.id && seen.has(value.id)) {
    return;
  }
  seen.add(value.id);
  const from = typeof value.from === "string" ? value.from : "";
  const to = typeof value.to === "string" ? value.to : "";
  const own = from !== "" && from === user;
  const follow = own || isAtEnd(messages);
  messages.append(
    line({
      from: from || "server",
      text: value.text,
      at: readable(value.at),
      kind: own ? "own" : from ? "other" : "server",
      to: to === user ? "you" : to,
    }),
  );
  while (messages.childElementCount > KEEP) {
    messages.firstElementChild.remove();
  }
  if (follow) {
    messages.scrollTop = messages.scrollHeight;
  }
}

/* The connection. */

const WORDS = {
  connecting: "connecting",
  open: "connected",
  reconnecting: "reconnecting",
  closed: "disconnected",
};
const ws = openSocket(chat.dataset.uri);

ws.on("message", receive);
ws.on("state", (now) => {
  state.dataset.state = now;
  state.textContent = WORDS[now];
  find("announce").textContent = WORDS[now];
});

/* Sending. */

async function post() {
  const body = new FormData(form);
  const headers = { Accept: "application/json" };
  const answer = await fetch(form.action, { method: "POST", body, headers });
  if (answer.status === 204) {
    return "";
  }
  const said = await answer.json().catch(() => null);
  return said?.error || "Not sent: reload the page.";
}

async function send() {
  if (chat.dataset.by === "socket") {
    ws.send(text.value);
    return "";
  }
  return post();
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!text.value.trim()) {
    return;
  }
  const sent = text.value;
  try {
    error.textContent = await send();
  } catch {
    error.textContent = "Not sent: the server does not answer.";
  }
  if (!error.textContent && text.value === sent) {
    text.value = "";
  }
  text.focus();
});
