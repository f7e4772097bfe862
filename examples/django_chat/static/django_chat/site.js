/* What every page does: open websockets, and end them in all tabs when the login ends.

   A websocket keeps the identity of its handshake. So each page tells the other tabs of this
   browser as whom it was made; a tab that was made as somebody else ends its sockets at once and
   loads again: after a logout as nobody, whose socket has no channels of a user. */
"use strict";

const { user, heartbeat } = document.body.dataset;
const sockets = new Set();
const tabs = new BroadcastChannel("django-chat");

/** Open a websocket that ends with the login. */
function openSocket(uri) {
  const ws = new WSRedis(uri, { heartbeat: heartbeat || null });
  sockets.add(ws);
  return ws;
}

function leave() {
  for (const ws of sockets) {
    ws.close();
  }
  sockets.clear();
}

tabs.addEventListener("message", ({ data }) => {
  if (data.user !== user) {
    leave();
    location.reload();
  }
});
tabs.postMessage({ user });

document.getElementById("logout")?.form.addEventListener("submit", leave);

window.addEventListener("pageshow", ({ persisted }) => {
  if (persisted) {
    location.reload(); // a page of the past, perhaps of another login
  }
});
