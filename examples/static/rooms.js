/* The page of a room, with a plain WebSocket; messages are rendered by chats.js. */
"use strict";

const KEEP = 500; // the maximum number of messages on the page
const RETRY = 1000; // milliseconds from the end of a connection to the next attempt

const WORDS = { open: "connected", connecting: "connecting", reconnecting: "reconnecting" };

const find = (id) => document.getElementById(id);
const [chat, messages, form, text, me, error] = [
  "chat",
  "messages",
  "say",
  "text",
  "me",
  "error",
].map(find);
const { user } = document.body.dataset;

let socket = null;

function show(state) {
  find("state").dataset.state = state;
  find("state").textContent = WORDS[state];
  find("announce").textContent = WORDS[state];
}

function connect() {
  const url = new URL(chat.dataset.path, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  socket = new WebSocket(url);
  socket.addEventListener("open", () => show("open"));
  socket.addEventListener("message", ({ data }) => receive(JSON.parse(data)));
  socket.addEventListener("close", () => {
    show("reconnecting");
    setTimeout(connect, RETRY);
  });
}

function receive({ from, text, at }) {
  const own = from === name();
  const follow = own || isAtEnd(messages);
  messages.append(line({ from, text, at, kind: own ? "own" : "other" }));
  while (messages.childElementCount > KEEP) {
    messages.firstElementChild.remove();
  }
  if (follow) {
    messages.scrollTop = messages.scrollHeight;
  }
}

/* The name of a user who is not logged in; a reload keeps it. */

function name() {
  return user || me.value.trim() || "guest";
}

if (me) {
  me.value = sessionStorage.getItem("name") || `guest-${Math.floor(100 + Math.random() * 900)}`;
  me.addEventListener("change", () => sessionStorage.setItem("name", me.value));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket.readyState === WebSocket.OPEN) {
    socket.send(JSON.stringify({ from: name(), text: text.value }));
    text.value = "";
    error.textContent = "";
  } else {
    error.textContent = "Not sent: there is no connection.";
  }
  text.focus();
});

connect();
