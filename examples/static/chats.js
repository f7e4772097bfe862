/* The rendering of messages, for all chats. Text of other users is data: it is put into the page
   through textContent only. */
"use strict";

/** Return an element with a class and a text. */
function element(tag, className, content) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = content;
  return node;
}

/** Return the hue of a user's avatar, in degrees. */
function hue(name) {
  const sum = [...name].reduce((total, char) => (total * 31 + char.codePointAt(0)) % 65521, 7);
  return (sum * 137) % 360; // about the golden angle: close sums have different colours
}

/** Return `at` if it is a valid time of a Date, in milliseconds, else the current time. */
function readable(at) {
  return Number.isFinite(at) && Math.abs(at) < 8.64e15 ? at : Date.now();
}

/** Return the element of a message. `kind` is own, other or server; `to` is the recipient, if any. */
function line({ from, text, at, kind, to = "" }) {
  const item = element("li", `message ${kind}`, "");
  const when = new Date(at);
  const time = element("time", "", when.toLocaleTimeString([], { timeStyle: "short" }));
  time.dateTime = when.toISOString();
  const meta = element("div", "meta", "");
  meta.append(element("span", "from", kind === "own" ? "you" : from));
  if (to) {
    meta.append(element("span", "for", `to ${to}`));
  }
  meta.append(time);
  const avatar = element("span", "avatar", kind === "server" ? ">" : [...from][0].toUpperCase());
  avatar.ariaHidden = "true";
  avatar.style.setProperty("--hue", hue(from));
  item.append(avatar, meta, element("div", "text", text));
  return item;
}

/** Return whether a list is scrolled to its end, or nearly. */
function isAtEnd(list) {
  return list.scrollHeight - list.scrollTop - list.clientHeight < 60;
}
