/* What the chats share: how a message looks. What others send is data: it reaches the page through
   textContent only. */
"use strict";

/** Return an element with a class and a text. */
function element(tag, className, content) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = content;
  return node;
}

/** Return the colour of somebody's avatar. */
function hue(name) {
  const sum = [...name].reduce((total, char) => (total * 31 + char.codePointAt(0)) % 65521, 7);
  return (sum * 137) % 360; // about the golden angle: neighbours in number differ in colour
}

/** Return what came if it is a time that a date can have, else the present. */
function readable(at) {
  return Number.isFinite(at) && Math.abs(at) < 8.64e15 ? at : Date.now();
}

/** Return a line of the list. `kind` is own, other or server, `to` for whom it is, if not for all. */
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

/** Tell whether a list is scrolled to its end, or nearly so. */
function isAtEnd(list) {
  return list.scrollHeight - list.scrollTop - list.clientHeight < 60;
}
