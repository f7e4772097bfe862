/* The page with the rooms. Text of other users is data: it is put into the page through textContent
   only. */
"use strict";

const find = (id) => document.getElementById(id);
const [list, form, text, to, me, error] = ["messages", "say", "text", "to", "me", "error"].map(find);
const rooms = [...document.querySelectorAll("#rooms input")];

const NOT_SENT = "Not sent: there is no connection.";

const ws = new WSRedis("/ws/rooms");
const answers = new Map(); // the functions that wait for an answer, by the number of the event
let last = 0;

/** Send an event and return a promise of the answer. */
function emit(name, data) {
  return new Promise((resolve) => {
    answers.set(++last, resolve);
    ws.sendJSON([name, data, last]);
  });
}

ws.onJSON(([name, data, number]) => {
  if (name === "ack") {
    answers.get(number)?.(data);
    answers.delete(number);
  } else if (name === "said") {
    fill(add(), data);
  }
});

/** Add an empty message at the end of the list. */
function add(className = "") {
  const item = find("message").content.firstElementChild.cloneNode(true);
  item.className = className;
  list.append(item);
  return item;
}

/** Write a message into its element. */
function fill(item, { room, from, text: content, at }) {
  const [name, where, time, line] = item.children;
  const when = new Date(at * 1000);
  name.textContent = item.classList.contains("own") ? "you" : from;
  where.textContent = `in ${room}`;
  time.textContent = when.toLocaleTimeString([], { timeStyle: "short" });
  time.dateTime = when.toISOString();
  line.textContent = content;
  item.scrollIntoView({ block: "nearest" });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (ws.state !== "open") {
    error.textContent = NOT_SENT;
    return;
  }
  const message = { room: to.value, from: me.value, text: text.value };
  const item = add("own pending"); // until the server has answered
  fill(item, { ...message, at: Date.now() / 1000 });
  text.value = "";
  text.focus();
  const answer = await emit("say", message);
  item.classList.remove("pending");
  error.textContent = answer.error ?? "";
  if (answer.error) {
    item.remove();
  } else {
    fill(item, answer);
  }
});

/** Offer the rooms that this page is in. */
function offer() {
  const { value } = to;
  const inside = rooms.filter((room) => room.checked).map((room) => room.value);
  to.replaceChildren(...inside.map((room) => new Option(room)));
  to.value = inside.includes(value) ? value : (inside[0] ?? "");
  form.querySelectorAll("select, input, button").forEach((each) => {
    each.disabled = inside.length === 0;
  });
}

for (const room of rooms) {
  room.addEventListener("change", async () => {
    await emit(room.checked ? "join" : "leave", room.value);
    offer();
  });
}

/* Nothing that was sent over a lost connection is answered, and a new one is in no room. */
ws.on("reconnecting", () => {
  answers.forEach((resolve) => resolve({ error: NOT_SENT }));
  answers.clear();
});
ws.on("open", () => {
  rooms.filter((room) => room.checked).forEach((room) => emit("join", room.value));
});

ws.on("state", (now) => {
  find("state").dataset.state = now;
  find("state").textContent = now === "open" ? "connected" : now;
});

me.value = sessionStorage.getItem("name") || `guest-${Math.floor(100 + Math.random() * 900)}`;
me.addEventListener("change", () => sessionStorage.setItem("name", me.value));

offer();
