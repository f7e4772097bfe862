/* A chat page. What others send is data: it reaches the page through textContent only. */
"use strict";

const KEEP = 500; // messages kept on the page

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

function element(tag, className, content) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = content;
  return node;
}

function hue(name) {
  const sum = [...name].reduce((total, char) => (total * 31 + char.codePointAt(0)) % 65521, 7);
  return (sum * 137) % 360; // about the golden angle: similar names differ in colour
}

function line({ from, text: content, at, to }) {
  const own = from !== "" && from === user;
  const kind = own ? "own" : from ? "other" : "server";
  const item = element("li", `message ${kind}`, "");
  const when = new Date(Number.isFinite(at) && Math.abs(at) < 8.64e15 ? at : Date.now());
  const time = element("time", "", when.toLocaleTimeString([], { timeStyle: "short" }));
  time.dateTime = when.toISOString();
  const meta = element("div", "meta", "");
  meta.append(element("span", "from", own ? "you" : from || "server"));
  if (to) {
    meta.append(element("span", "for", `to ${to === user ? "you" : to}`));
  }
  meta.append(time);
  const avatar = element("span", "avatar", from ? [...from][0].toUpperCase() : ">");
  avatar.ariaHidden = "true";
  avatar.style.setProperty("--hue", hue(from));
  item.append(avatar, meta, element("div", "text", content));
  return item;
}

const seen = new Set(); // ids: the last message is sent again after a reconnect

function receive(data) {
  let value = null;
  try {
    value = JSON.parse(data);
  } catch {
    // Somebody published plain text.
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
  const atEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 60;
  messages.append(line({ ...value, from, to }));
  while (messages.childElementCount > KEEP) {
    messages.firstElementChild.remove();
  }
  if (atEnd || from === user) {
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
  return said?.error || "It was not sent: load the page again.";
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
    error.textContent = "It was not sent: the server does not answer.";
  }
  if (!error.textContent && text.value === sent) {
    text.value = "";
  }
  text.focus();
});
