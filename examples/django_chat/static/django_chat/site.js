/* The script of all pages: it opens websockets, and closes them in all tabs when the login ends.

   A websocket keeps the identity of its handshake. So each page tells the other tabs of this
   browser the user it was made for. A tab of another user closes its websockets at once and
   reloads. After a logout the user is anonymous, and its websocket has no channels of a user. */
"use strict";

const { user } = document.body.dataset;
const sockets = new Set();
const tabs = new BroadcastChannel("django-chat");

/** Open a websocket that is closed when the login ends. */
function openSocket(uri) {
  const ws = new WSRedis(uri);
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
    location.reload(); // the page comes from the history, perhaps of another login
  }
});
